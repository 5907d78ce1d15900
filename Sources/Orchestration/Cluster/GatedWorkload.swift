internal import Kubernetes
package import Workloads

/// A workload that a restore holds, and what it waits for.
package struct GatedWorkload: Hashable, Sendable {
    package var workload: WorkloadReference
    /// Claims of it that are being restored, or whose restore did not come to a good end.
    package var unfilled: [String]
    /// Claims of it that are not there.
    package var missing: [String]
    /// Those of the missing that its controller makes anew of a template, empty.
    package var templated: [String]
    /// Whether nothing but a user lets it go.
    package var isByHand: Bool

    /// From the claims of its namespace; `names` are those of its claims that only what it is made from tells of. A claim that
    /// is made for a pod and goes with it is never waited for.
    init(_ reference: WorkloadReference, _ workload: Workload, names: [String] = [], claims: [KubernetesObject]) {
        self.workload = reference
        let own = workload.claims.filter { $0.origin != .ephemeral }
        let names = Set(own.map(\.name) + names).sorted()
        let there = Set(claims.map(\.name))
        let marked = claims.filter {
            $0.annotations[RestoredObject.restoring] != nil || $0.annotations[RestoredObject.incomplete] != nil
        }
        let partial = Set(marked.map(\.name))
        unfilled = names.filter(partial.contains)
        missing = names.filter { !there.contains($0) }
        templated = missing.filter { name in own.contains { $0.name == name && $0.origin == .template } }
        isByHand = workload.object.annotations[BecalmAnnotation.release] != nil
    }

    /// Whether all of its data is there.
    package var isWhole: Bool { unfilled.isEmpty && missing.isEmpty }

    /// `the data of its claim ckpt, and its claim logs, which is not there`; whom it waits for when nothing is missing.
    package var words: String {
        var words: [String] = []
        if !unfilled.isEmpty { words.append("the data of \(Self.claims(unfilled))") }
        if !missing.isEmpty {
            words.append("\(Self.claims(missing)), which \(missing.count == 1 ? "is" : "are") not there")
        }
        return words.isEmpty ? "somebody to let it go" : words.joined(separator: ", and ")
    }

    private static func claims(_ names: [String]) -> String {
        "its claim\(names.count == 1 ? "" : "s") \(names.joined(separator: ", "))"
    }
}
