/// Bounds the time that something takes.
package enum Deadline {
    /// What `body` answers. After `seconds` it is cancelled and `error` is thrown, once `body` has ended.
    package static func run<R: Sendable>(
        seconds: Double, or error: KubernetesError, _ body: @escaping @Sendable () async throws -> R
    ) async throws -> R {
        try await withThrowingTaskGroup(of: R?.self) { group in
            group.addTask { try await body() }
            group.addTask {
                try await Task.sleep(for: .seconds(max(0, seconds)))
                return nil
            }
            defer { group.cancelAll() }
            guard let first = try await group.next(), let result = first else { throw error }
            return result
        }
    }
}
