internal import Basics

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// SIGTERM ends a plugin in order; SIGINT does nothing: whoever presses Ctrl-C at a Velero server means the server, which then
/// ends its plugins (go-plugin, `Serve`).
package enum EndingSignals {
    /// Blocks SIGTERM in this thread and all that it starts, and ignores SIGINT: call it in the first lines of `main`.
    package static func block() {
        signal(SIGINT, SIG_IGN)
        var signals = terminating
        pthread_sigmask(SIG_BLOCK, &signals, nil)
    }

    /// Starts a thread that calls `arrived` when SIGTERM comes.
    package static func start(arrived: @escaping @Sendable () -> Void) {
        WorkerThreads(count: 1, name: "becalm-signals", stackBytes: 256 << 10) { _ in
            var signals = terminating
            var number: CInt = 0
            while sigwait(&signals, &number) != 0 {}
            arrived()
        }.detach()
    }

    private static var terminating: sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        sigaddset(&set, SIGTERM)
        return set
    }
}
