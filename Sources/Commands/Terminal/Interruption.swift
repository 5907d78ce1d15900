package import Snapshots
internal import Synchronization

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// What a signal does to the command under way: the first one asks it to end cleanly, the second ends the process.
///
/// An operation that runs `cancelling` its progress is told through that, and its task goes on, so that it can publish
/// what it has; anything else has its task cancelled.
package final class Interruption: Sendable {
    private struct State {
        var signal: CInt?
        var progress: OperationProgress?
        /// Undoes what must not stay, when the process ends at once.
        var restore: (@Sendable () -> Void)?
        var waiter: CheckedContinuation<Void, Never>?
        var isOver = false
    }

    private let state = Mutex(State())

    package init() {}

    /// The first signal that came; nil when none has.
    package var signal: CInt? { state.withLock { $0.signal } }

    /// Runs `body`, whose progress a signal cancels.
    package func cancelling<R, E: Error>(_ progress: OperationProgress, _ body: () async throws(E) -> R) async throws(E)
        -> R
    {
        let isInterrupted = state.withLock { state in
            state.progress = progress
            return state.signal != nil
        }
        if isInterrupted { progress.cancel() }
        defer { state.withLock { $0.progress = nil } }
        return try await body()
    }

    /// Runs blocking `body`, during which the first signal ends the process already, after `restore`.
    func endingAtOnce<R>(restore: @escaping @Sendable () -> Void, _ body: () throws -> R) rethrows -> R {
        state.withLock { $0.restore = restore }
        defer { state.withLock { $0.restore = nil } }
        return try body()
    }

    /// Takes note of a signal; called by the thread that waits for them.
    package func arrived(_ signal: CInt) {
        let (isLast, restore, progress, waiter) = state.withLock { state in
            let isLast = state.signal != nil || state.restore != nil
            state.signal = state.signal ?? signal
            let waiter = state.progress == nil ? state.waiter : nil
            if waiter != nil { state.waiter = nil }
            return (isLast, state.restore, state.progress, waiter)
        }
        if isLast {
            restore?()
            _exit(128 + signal)
        }
        progress?.cancel()
        waiter?.resume()
    }

    /// Returns when the running task is to be cancelled, or the command is over.
    func wait() async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let isNow = state.withLock { state in
                if state.isOver || (state.signal != nil && state.progress == nil) { return true }
                state.waiter = continuation
                return false
            }
            if isNow { continuation.resume() }
        }
    }

    /// The command is over.
    func end() {
        let waiter = state.withLock { state in
            state.isOver = true
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }
}
