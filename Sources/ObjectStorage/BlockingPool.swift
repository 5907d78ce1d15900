internal import Basics
internal import Synchronization

/// A few threads for system calls that block, behind an `async` door.
///
/// Threads start when there is work for them, up to a limit, and end with the pool. Callers are served in the order in
/// which they came. Each caller waits for its own job, so the queue is never longer than there are callers.
final class BlockingPool: Sendable {
    /// Whether the caller of a running job has given up; a long job looks now and then.
    final class Cancellation: Sendable {
        private let flag = Atomic<Bool>(false)

        /// True once the calling task was cancelled.
        var isCancelled: Bool { flag.load(ordering: .relaxed) }

        fileprivate func cancel() { flag.store(true, ordering: .relaxed) }
    }

    /// One call: whoever takes the continuation out, the worker or the cancellation, resumes it.
    private final class Ticket<R: Sendable>: Sendable {
        typealias Continuation = CheckedContinuation<Result<R, ObjectStorageError>, Never>
        private enum Phase {
            case new
            case waiting(Continuation)
            case taken
        }
        let cancellation = Cancellation()
        private let phase = Mutex(Phase.new)

        /// Leaves the continuation for `take`; false when the call was cancelled before.
        func wait(_ continuation: Continuation) -> Bool {
            phase.withLock { phase in
                guard case .new = phase else { return false }
                phase = .waiting(continuation)
                return true
            }
        }

        /// The continuation, for the first that asks.
        func take() -> Continuation? {
            phase.withLock { phase in
                defer { phase = .taken }
                guard case .waiting(let continuation) = phase else { return nil }
                return continuation
            }
        }
    }

    private struct State {
        var jobs: [@Sendable () -> Void] = []
        /// Index of the oldest job in `jobs`; what is before it is done.
        var head = 0
        var idle = 0
        var threads = 0
        var isClosed = false
    }

    private let state = Monitor(State())
    private let limit: Int
    private let name: String

    /// A pool of at most `limit` threads.
    init(limit: Int, name: String) {
        precondition(limit > 0)
        self.limit = limit
        self.name = name
    }

    deinit { state.signal { $0.isClosed = true } }

    /// Runs `body` on a thread of the pool. Throws `.cancelled`, in the words of `request`, when the task is cancelled
    /// before the job has begun; a job that has begun runs to its end, so that what it was lent stays valid.
    func run<R: Sendable>(
        _ request: RequestContext,
        _ body: @escaping @Sendable (Cancellation) throws(ObjectStorageError) -> R
    ) async throws(ObjectStorageError) -> R {
        let ticket = Ticket<R>()
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                guard ticket.wait(continuation) else {
                    continuation.resume(returning: .failure(request.cancelled()))
                    return
                }
                submit {
                    guard let continuation = ticket.take() else { return }
                    let result: Result<R, ObjectStorageError>
                    do throws(ObjectStorageError) {
                        result = .success(try body(ticket.cancellation))
                    } catch {
                        result = .failure(error)
                    }
                    continuation.resume(returning: result)
                }
            }
        } onCancel: {
            ticket.cancellation.cancel()
            ticket.take()?.resume(returning: .failure(request.cancelled()))
        }
        return try result.get()
    }

    private func submit(_ job: @escaping @Sendable () -> Void) {
        let startsThread = state.signal { state in
            state.jobs.append(job)
            guard state.jobs.count - state.head > state.idle, state.threads < limit else { return false }
            state.threads += 1
            return true
        }
        guard startsThread else { return }
        // The threads hold the state only, not the pool: it goes with its owner, and they end.
        WorkerThreads(count: 1, name: name, stackBytes: 512 << 10) { [state] _ in
            while let job = Self.next(state) { job() }
        }.detach()
    }

    /// The oldest job, waiting for one; nil when the pool is gone.
    private static func next(_ state: Monitor<State>) -> (@Sendable () -> Void)? {
        var isIdle = false
        return state.wait { state -> (@Sendable () -> Void)?? in
            if state.head < state.jobs.count {
                if isIdle { state.idle -= 1 }
                let job = state.jobs[state.head]
                state.jobs[state.head] = {}
                state.head += 1
                if state.head > 64 && state.head * 2 > state.jobs.count {
                    state.jobs.removeFirst(state.head)
                    state.head = 0
                }
                return .some(job)
            }
            if state.isClosed { return .some(nil) }
            if !isIdle {
                isIdle = true
                state.idle += 1
            }
            return nil
        }
    }
}
