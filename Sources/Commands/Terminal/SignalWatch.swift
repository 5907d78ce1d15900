internal import Basics

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// SIGINT and SIGTERM, received by a thread that waits for them; SIGPIPE does nothing.
///
/// A signal that was ignored when the process began stays so: a shell does that for what it runs in the background.
struct SignalWatch: Sendable {
    private let watched: [CInt]

    /// Blocks the signals in this thread and all that it starts: make it in the first lines of `main`.
    init() {
        watched = Self.endingSignals.filter { !Self.isIgnored($0) }
        var signals = Self.set(watched)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        signal(SIGPIPE, SIG_IGN)
    }

    /// Tells `interruption` of each signal, for as long as the process lives.
    func start(_ interruption: Interruption) {
        guard !watched.isEmpty else { return }
        WorkerThreads(count: 1, name: "becalm-signals", stackBytes: 256 << 10) { _ in
            var signals = Self.set(watched)
            while true {
                var number: CInt = 0
                guard sigwait(&signals, &number) == 0 else { continue }
                interruption.arrived(number)
            }
        }.detach()
    }

    /// Those that ask a process to end.
    static let endingSignals = [SIGINT, SIGTERM]

    static func set(_ signals: [CInt]) -> sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in signals { sigaddset(&set, signal) }
        return set
    }

    private static func isIgnored(_ signal: CInt) -> Bool {
        var action = sigaction()
        guard sigaction(signal, nil, &action) == 0, let handler = action.__sigaction_handler.sa_handler else {
            return false
        }
        // SIG_IGN is the address 1; a function pointer compares by its bits only.
        return unsafeBitCast(handler, to: Int.self) == 1
    }
}
