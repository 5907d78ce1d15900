/// Work that goes on beside its owner, who fetches the outcome or lets go of it: then it is cancelled.
///
/// For owners whose calls come one by one from elsewhere, such as an upload that is written to: no call of theirs lasts
/// as long as the work, so no task group can hold it. Where a task group can, use that.
package final class OwnedTask<Success: Sendable, Failure: Error>: Sendable {
    private let task: Task<Result<Success, Failure>, Never>

    /// Starts `body` on the cooperative pool; the caller's cancellation does not reach it.
    package init(_ body: @escaping @Sendable () async throws(Failure) -> Success) {
        task = Task {
            do throws(Failure) {
                return .success(try await body())
            } catch {
                return .failure(error)
            }
        }
    }

    deinit { task.cancel() }

    /// The outcome, waited for even by a caller that is cancelled meanwhile.
    package func outcome() async -> Result<Success, Failure> { await task.value }

    /// What the body returned; throws what it threw. A caller that is cancelled cancels the work, and still waits for it.
    package func value() async throws(Failure) -> Success {
        let task = task
        return try await withTaskCancellationHandler {
            await task.value
        } onCancel: {
            task.cancel()
        }.get()
    }

    /// Asks the work to end soon.
    package func cancel() { task.cancel() }
}
