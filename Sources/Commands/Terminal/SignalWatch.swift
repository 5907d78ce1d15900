internal import Basics

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// SIGINT and SIGTERM, received by a thread that waits for them; SIGPIPE does nothing.
package enum SignalWatch {
    /// Blocks the signals in this thread and all that it starts. Call it in the first lines of `main`.
    package static func prepare() {
        var signals = watched
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        signal(SIGPIPE, SIG_IGN)
    }

    /// Tells `interruption` of each signal, for as long as the process lives.
    package static func start(_ interruption: Interruption) {
        WorkerThreads(count: 1, name: "becalm-signals", stackBytes: 256 << 10) { _ in
            var signals = watched
            while true {
                var number: CInt = 0
                guard sigwait(&signals, &number) == 0 else { continue }
                interruption.arrived(number)
            }
        }.detach()
    }

    static var watched: sigset_t {
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGINT)
        sigaddset(&signals, SIGTERM)
        return signals
    }
}
