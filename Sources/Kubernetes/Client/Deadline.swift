/// Bounds the time that something takes.
package enum Deadline {
    /// What `body` answers. After `seconds` it is cancelled and `error` is thrown, once `body` has ended.
    package static func run<R: Sendable>(
        seconds: Double, or error: KubernetesError, _ body: @escaping @Sendable () async throws -> R
    ) async throws -> R {
        try await withThrowingTaskGroup(of: R?.self) { group in
            group.addTask { try await body() }
            group.addTask {
                do {
                    // A Duration has an end, which a caller's "for ever" may lie beyond.
                    try await Task.sleep(for: .seconds(max(0, min(seconds, 1e9))))
                    return nil
                } catch {
                    throw KubernetesError(.cancelled, "waiting was cancelled")
                }
            }
            defer { group.cancelAll() }
            guard let first = try await group.next(), let result = first else { throw error }
            return result
        }
    }
}
