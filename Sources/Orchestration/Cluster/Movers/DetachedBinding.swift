package import Kubernetes
internal import Workloads

/// Has the volumes of claims that one pod has made where one node reaches all of them, by a pod that is scheduled with them
/// all and mounts none, and that no process stays with: whoever comes next sees how far it is.
package struct DetachedBinding: Sendable {
    private let client: KubernetesClient
    private let job: MoverJob
    private let claims: [String]

    /// How it stands.
    package enum Standing: Sendable, Equatable {
        /// Every volume is there.
        case bound
        /// Not yet, and what keeps it, empty for nothing.
        case waiting(String)
        /// It cannot be done, and why: each is made for the first pod that wants it.
        case apart(String)
    }

    /// For the claims of `plan`, which are several, of this namespace. `run` is the same for all who want these.
    package init(
        _ client: KubernetesClient, namespace: String, run: String, _ plan: ClaimBinding.Plan, settings: MoverSettings
    ) {
        self.client = client
        claims = plan.together
        var placement = plan.placement
        placement.node = nil
        placement.companions = Array(claims.dropFirst())
        var settings = settings
        settings.deadlineSeconds = settings.startSeconds
        var job = MoverJob(
            run: DetachedMover.run(for: ["bind", run] + claims), namespace: namespace, claim: claims.first ?? "",
            action: .inspect(newerThan: nil, seconds: 0), placement: placement, settings: settings)
        job.mountsClaim = false
        self.job = job
    }

    /// Begins it where nobody has, and says how it stands. A pod that has done its work goes. Throws `KubernetesError`.
    package func advance() async throws(KubernetesError) -> Standing {
        let there = try await client.list(.persistentVolumeClaims, namespace: job.namespace).items
        let unbound = there.filter {
            claims.contains($0.name) && ($0["spec", "volumeName"]?.string ?? "").isEmpty
        }
        if unbound.isEmpty {
            try await remove()
            return .bound
        }
        guard let found = try await client.find(.jobs, namespace: job.namespace, name: job.name) else {
            do throws(KubernetesError) {
                _ = try await client.create(.jobs, job.job())
            } catch {
                // By somebody else, or the answer was lost.
                guard error.isAmbiguous || error.code == .alreadyExists else { throw error }
            }
            return .waiting("")
        }
        let labels = LabelSelector(matching: ["job-name": job.name])
        let listed = try await client.list(.pods, namespace: job.namespace, ListOptions(labels: labels)).items
        let pods = MoverStanding.pods(listed, ofJob: found.uid)
        switch MoverStanding(job: found, pods: pods, claim: "") {
        case .running: return .waiting("")
        case .ended: return .apart("a pod had all of them, and \(unbound[0].label) is not bound")
        case .failed(let reason): return .apart(reason)
        case .waiting(let reason):
            if !reason.isEmpty { return .waiting(reason) }
            let events = MoverEvents(client: client, namespace: job.namespace)
            return .waiting(await events.obstacle(job: found.uid, pods: pods))
        }
    }

    /// Takes its pod away. One that is gone is no error.
    package func remove() async throws(KubernetesError) {
        try await client.delete(
            .jobs, namespace: job.namespace, name: job.name, DeleteOptions(propagation: .background))
    }
}
