internal import Basics
internal import Kubernetes
internal import Orchestration
internal import Synchronization

/// What a process knows of the workloads of the backups at work, so that calls about thousands of items do not ask the
/// cluster the same again. Nothing depends on it: what must not be forgotten is in the cluster.
package final class HoldMemory: Sendable {
    private struct State {
        /// With how many calls use or wait for each.
        var turnstiles: [String: (turnstile: Turnstile, users: Int)] = [:]
        /// What manages items of which none is to be held, by backup and uid.
        var unmarked: Set<String> = []
        /// Pods that mount claims, by backup and namespace, as of a time.
        var pods: [String: (time: Timestamp, pods: [KubernetesObject])] = [:]
    }

    private let state = Mutex(State())

    /// Entries kept at most, of each kind; all are forgotten then.
    private static let most = 10_000
    private static let mostNamespaces = 16
    /// Seconds that a list of pods holds.
    private static let podSeconds = 30.0

    package init() {}

    /// Runs `body` when no other call with `key` is at work in this process: Velero's workers may meet the pods, the claims
    /// and the object of a workload at once. Throws `CancellationError` when the task is cancelled before.
    func alone<R>(_ key: String, _ body: () async throws -> R) async throws -> R {
        let turnstile = state.withLock { state -> Turnstile in
            let known = state.turnstiles[key] ?? (Turnstile(places: 1), 0)
            state.turnstiles[key] = (known.turnstile, known.users + 1)
            return known.turnstile
        }
        defer {
            state.withLock { state in
                guard let known = state.turnstiles[key] else { return }
                state.turnstiles[key] = known.users > 1 ? (known.turnstile, known.users - 1) : nil
            }
        }
        return try await turnstile.pass(body)
    }

    /// Whether what manages an item was found to ask for nothing, for this backup.
    func isUnmarked(_ uid: String, _ backup: VeleroBackup) -> Bool {
        state.withLock { $0.unmarked.contains("\(backup.uid)/\(uid)") }
    }

    func setUnmarked(_ uid: String, _ backup: VeleroBackup) {
        state.withLock { state in
            if state.unmarked.count >= Self.most { state.unmarked = [] }
            state.unmarked.insert("\(backup.uid)/\(uid)")
        }
    }

    /// What `list` says of a namespace, as of half a minute ago at most.
    func pods(
        _ namespace: String, _ backup: VeleroBackup, _ now: Timestamp,
        _ list: () async throws(KubernetesError) -> [KubernetesObject]
    ) async throws(KubernetesError) -> [KubernetesObject] {
        let key = "\(backup.uid)/\(namespace)"
        if let known = state.withLock({ $0.pods[key] }), now >= known.time, now - known.time < Self.podSeconds {
            return known.pods
        }
        let pods = try await list()
        state.withLock { state in
            if state.pods.count >= Self.mostNamespaces { state.pods = [:] }
            state.pods[key] = (now, pods)
        }
        return pods
    }
}
