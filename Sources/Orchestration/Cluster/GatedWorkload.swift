internal import Kubernetes
package import Workloads

/// A workload that a restore holds, and what it waits for.
package struct GatedWorkload: Hashable, Sendable {
    package var workload: WorkloadReference
    /// Claims of it that are being restored, or whose restore did not come to a good end.
    package var unfilled: [String]
    /// Those of them that no mover makes whole.
    let incomplete: [String]
    /// Claims of it that are not there.
    package var missing: [String]
    /// Those of the missing that its controller makes anew of a template, empty.
    package var templated: [String]
    /// All claims of it that are known.
    let claims: [String]
    /// Why it may have others, on one line.
    package var obstacle: String?
    /// Whether nothing but a user lets it go.
    package var isByHand: Bool

    /// From the claims of its namespace; `names` are those of its claims that only what is made of it tells of, `runtime` what it
    /// is made from tells. A claim that is made for a pod and goes with it is never waited for.
    init(
        _ reference: WorkloadReference, _ workload: Workload, names: [String] = [], runtime: RuntimeClaims.Look,
        claims: [KubernetesObject]
    ) {
        self.workload = reference
        let own = workload.claims.filter { $0.origin != .ephemeral }
        let names = Set(own.map(\.name) + names + runtime.names).sorted()
        self.claims = names
        obstacle = runtime.obstacle
        let there = Set(claims.map(\.name))
        let partial = Set(claims.filter(RestoredObject.isPartial).map(\.name))
        unfilled = names.filter(partial.contains)
        incomplete = claims.filter { $0.annotations[RestoredObject.incomplete] != nil }.map(\.name)
            .filter(names.contains)
        missing = names.filter { !there.contains($0) }
        templated = missing.filter { name in own.contains { $0.name == name && $0.origin == .template } }
        isByHand = workload.object.annotations[BecalmAnnotation.release] != nil
    }

    /// Whether all of its data is there.
    package var isWhole: Bool { unfilled.isEmpty && missing.isEmpty && obstacle == nil }

    /// `the data of its claim ckpt, and its claim logs, which is not there`; whom it waits for when nothing is missing.
    package var words: String {
        var words: [String] = []
        if !unfilled.isEmpty { words.append("the data of \(Self.claims(unfilled))") }
        if !missing.isEmpty {
            words.append("\(Self.claims(missing)), which \(missing.count == 1 ? "is" : "are") not there")
        }
        if let obstacle { words.append("claims that cannot be seen (\(obstacle))") }
        return words.isEmpty ? "somebody to let it go" : words.joined(separator: ", and ")
    }

    private static func claims(_ names: [String]) -> String {
        "its claim\(names.count == 1 ? "" : "s") \(names.joined(separator: ", "))"
    }
}
