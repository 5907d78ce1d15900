internal import Basics
internal import Kubernetes

/// Pods of a workload that still end when it is let go. Most controllers start new ones beside them at once, and then two write to
/// one volume.
struct EndingPods: Sendable {
    let client: KubernetesClient
    let live: LiveWorkload

    /// Seconds from the end of a pod's grace until it is gone, on a node that works.
    private static let slackSeconds = 5.0

    /// Those whose place may be taken while they end. A StatefulSet waits for its own: the new one has the same name.
    private func list() async throws -> [KubernetesObject] {
        try await live.pods().filter { pod in
            pod.isBeingDeleted && pod.mayRun && pod.controller?.kind != StatefulSet().kind.kind
        }
    }

    /// Waits until they have ended, for `seconds` at most and no longer than their own grace lasts: one that is there after that
    /// does not end by itself. `now` is the server's time. `report` is told before it waits.
    func wait(seconds: Double, now: Timestamp, report: (String) -> Void) async throws {
        let ending = try await list()
        // A pod that is being deleted has the end of its grace for the time of that.
        let grace = ending.compactMap(\.deletionTimestamp).map { $0 - now + Self.slackSeconds }.max() ?? 0
        let seconds = min(seconds, grace)
        guard seconds > 0 else { return }
        report("waits up to \(Int(seconds.rounded(.up))) s for \(Self.names(ending)) to end before it is let go")
        let look = RepeatedLook([client.watch(.pods, namespace: live.namespace)])
        _ = try await look.lasts(until: ContinuousClock().now.advanced(by: .seconds(seconds))) {
            try await list().isEmpty
        }
    }

    /// What is to be said when it is let go now; nil where none is left. That they cannot be seen is said as well: it keeps nobody from
    /// letting it go.
    func warning() async -> String? {
        do {
            let left = try await list()
            guard !left.isEmpty else { return nil }
            let what =
                left.count == 1
                ? "still ends and may write beside its successor"
                : "still end and may write beside their successors"
            return "\(Self.names(left)) \(what)"
        } catch {
            return "whether pods of it still end beside their successors cannot be told: \(error)"
        }
    }

    private static func names(_ pods: [KubernetesObject]) -> String {
        let shown = pods.prefix(3).map { pod in
            pod.label + (pod.text("spec", "nodeName").map { " on \($0)" } ?? "")
        }.joined(separator: ", ")
        return pods.count > 3 ? "\(shown) and \(pods.count - 3) more" : shown
    }
}
