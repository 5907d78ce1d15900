internal import Kubernetes
package import Workloads

/// A workload that a restore holds, and what it waits for.
package struct GatedWorkload: Hashable, Sendable {
    package var workload: WorkloadReference
    /// Claims of it that are being restored, or whose restore did not come to a good end.
    package var unfilled: [String]
    /// Claims of it that are not there. Its controller would make empty ones of a template.
    package var missing: [String]

    /// From the claims of its namespace. A claim that is made for a pod and goes with it is never waited for.
    init(_ reference: WorkloadReference, _ workload: Workload, claims: [KubernetesObject]) {
        self.workload = reference
        let names = Set(workload.claims.filter { $0.origin != .ephemeral }.map(\.name)).sorted()
        let there = Set(claims.map(\.name))
        let restoring = Set(claims.filter { $0.annotations[RestoredObject.restoring] != nil }.map(\.name))
        unfilled = names.filter(restoring.contains)
        missing = names.filter { !there.contains($0) }
    }

    /// Whether all of its data is there: nothing but its gate holds it.
    package var isWhole: Bool { unfilled.isEmpty && missing.isEmpty }

    /// `the data of its claim ckpt, and its claim logs, which is not there`; what it waits for when nothing is missing.
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
