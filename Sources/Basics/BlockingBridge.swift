internal import Synchronization

/// The one door from threads of our own into `async` code: the data plane's threads call the object store through it.
package enum BlockingBridge {
    /// Runs `body` on the cooperative pool and blocks the calling thread until it has ended.
    ///
    /// Never call it from the cooperative pool itself. Beside `OwnedTask`'s this is the only unstructured `Task` outside
    /// `main` and tests: the blocked thread owns it, so it cannot outlive its caller.
    package static func run<R: Sendable, E: Error>(_ body: @escaping @Sendable () async throws(E) -> R) throws(E) -> R {
        let outcome = Monitor<Result<R, E>?>(nil)
        Task {
            let result: Result<R, E>
            do throws(E) {
                result = .success(try await body())
            } catch {
                result = .failure(error)
            }
            outcome.signal { $0 = result }
        }
        return try outcome.wait { $0 }.get()
    }

    /// Runs blocking `body` on a thread of its own and suspends the calling task until it has ended.
    package static func offload<R: Sendable>(
        name: String, _ body: @escaping @Sendable () -> Result<R, any Error>
    ) async throws -> R {
        let result = await withCheckedContinuation { (continuation: CheckedContinuation<Result<R, any Error>, Never>) in
            WorkerThreads(count: 1, name: name, stackBytes: 64 << 20) { _ in continuation.resume(returning: body()) }
                .detach()
        }
        return try result.get()
    }
}
