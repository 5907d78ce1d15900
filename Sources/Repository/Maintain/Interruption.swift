internal import Basics
internal import Synchronization

/// Tells blocking work on a thread of ours that the task which waits for it was cancelled.
final class Interruption: Sendable {
    private let isSet = Atomic<Bool>(false)

    /// Throws `.cancelled` once the waiting task is cancelled.
    func check() throws(RepositoryError) {
        if isSet.load(ordering: .relaxed) { throw RepositoryError(.cancelled, "cancelled") }
    }

    /// Runs blocking `body` on a thread of its own; a cancelled task waits until `body` has noticed.
    static func offload<R: Sendable>(
        name: String, _ body: @escaping @Sendable (Interruption) throws -> R
    ) async throws(RepositoryError) -> R {
        let interruption = Interruption()
        do {
            return try await withTaskCancellationHandler {
                try await BlockingBridge.offload(name: name) {
                    Result {
                        try interruption.check()
                        return try body(interruption)
                    }
                }
            } onCancel: {
                interruption.isSet.store(true, ordering: .relaxed)
            }
        } catch {
            throw RepositoryError(error)
        }
    }
}
