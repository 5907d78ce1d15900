internal import Kubernetes
internal import Workloads

/// Which claims of a workload a pod of it has mounted together, and what such pods are like. Pure.
struct ClaimUsers: Sendable {
    /// A pod, or pods that mount the same claims.
    struct User: Sendable {
        let template: JSONValue
        /// In the order of the pod's volumes, those that a controller makes for it last.
        var claims: [String]
    }

    private(set) var users: [User] = []
    private let fallback: JSONValue?

    init(_ workload: Workload) {
        fallback = workload.podTemplates.first?.json
        let made = Self.claims(madeFor: workload)
        for template in workload.podTemplates {
            if made.isEmpty {
                users.append(User(template: template.json, claims: template.claimNames))
            } else {
                // Each pod has its own, and what all of them name.
                users += made.map { User(template: template.json, claims: template.claimNames + $0) }
            }
        }
    }

    /// The claims that a controller makes from templates, pod by pod: they are called `TEMPLATE-POD`.
    private static func claims(madeFor workload: Workload) -> [[String]] {
        let object = workload.object
        let lists = [
            object["spec", "volumeClaimTemplates"], object["spec", "leaderWorkerTemplate", "volumeClaimTemplates"],
        ]
        let templates = lists.flatMap { $0?.array ?? [] }.compactMap { $0["metadata", "name"]?.string }
        guard !templates.isEmpty else { return [] }
        var pods: [String] = []
        var claims: [String: [String]] = [:]
        for claim in workload.claims where claim.origin == .template {
            // The longest one: `data` and `data-log` may both fit.
            let fits = templates.filter { claim.name.hasPrefix("\($0)-\(object.name)-") }
            guard let template = fits.max(by: { $0.utf8.count < $1.utf8.count }) else { continue }
            let pod = String(claim.name.dropFirst(template.count + 1))
            if claims[pod] == nil { pods.append(pod) }
            claims[pod, default: []].append(claim.name)
        }
        return pods.compactMap { claims[$0] }
    }

    /// A pod that mounts the claim; where none is known to, the workload's first one.
    func template(of claim: String) -> JSONValue? {
        users.first { $0.claims.contains(claim) }?.template ?? fallback
    }

    /// Where a mover of the claim may run.
    func placement(of claim: String) -> MoverPlacement {
        template(of: claim).map { MoverPlacement(like: $0) } ?? MoverPlacement()
    }
}
