internal import Synchronization

/// Lets one call at a time work on a workload: Velero's workers may meet its pods, claims and itself at once.
package final class HoldTurnstiles: Sendable {
    private let turnstiles = Mutex<[String: Turnstile]>([:])

    /// Turnstiles kept at most; those of old backups go first, all of them.
    private static let most = 1024

    package init() {}

    /// Runs `body` when no other call with `key` is at work in this process. Throws `CancellationError` when the task is
    /// cancelled before.
    func alone<R>(_ key: String, _ body: () async throws -> R) async throws -> R {
        let turnstile = turnstiles.withLock { turnstiles -> Turnstile in
            if let known = turnstiles[key] { return known }
            if turnstiles.count >= Self.most { turnstiles = [:] }
            let made = Turnstile(places: 1)
            turnstiles[key] = made
            return made
        }
        return try await turnstile.pass(body)
    }
}
