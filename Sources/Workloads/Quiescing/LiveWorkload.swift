package import Kubernetes

/// A workload in a cluster, as it was when it was read.
package struct LiveWorkload: Sendable {
    package let client: KubernetesClient
    /// How the server serves its kind.
    package let resource: APIResource
    package private(set) var workload: Workload

    init(client: KubernetesClient, resource: APIResource, workload: Workload) {
        self.client = client
        self.resource = resource
        self.workload = workload
    }

    /// The object.
    package var object: KubernetesObject { workload.object }
    /// Its namespace.
    package var namespace: String { workload.object.namespace }
    /// `train/jobs.batch/run42`: the way to it that means the same everywhere.
    package var reference: WorkloadReference {
        WorkloadReference(namespace: namespace, kind: "\(resource)", name: object.name)
    }

    /// Reads it again. Answers whether it is still there as the same object.
    package mutating func refresh() async throws(KubernetesError) -> Bool {
        guard let now = try await client.find(resource, namespace: namespace, name: object.name),
            now.uid == object.uid
        else { return false }
        workload = Workload(now, workload.adapter)
        return true
    }

    /// The objects that are between it and its pods.
    package func descendants() async throws(KubernetesError) -> [KubernetesObject] {
        try await Descendants.list(below: [(workload.kind, object.uid)], namespace: namespace, client)
    }

    /// Its pods, found by its labels and by who owns them, those that end included.
    package func pods() async throws -> [KubernetesObject] {
        try await ownership().pods(of: client.list(.pods, namespace: namespace).items)
    }

    /// What tells its pods from others, as of now.
    func ownership() async throws -> PodOwnership { try ownership(over: try await descendants()) }

    /// What tells its pods from others, where `descendants` are between it and them.
    func ownership(over descendants: [KubernetesObject]) throws -> PodOwnership {
        PodOwnership(
            name: workload.kind == Pod().kind ? object.name : nil,
            selectors: try workload.podSelectors(),
            owners: Set([object.uid] + descendants.map(\.uid)))
    }

    /// The claims in its namespace that its templates name, or those of what is made of it, or that its pods mount, each once,
    /// in the order of their names. Once it is stopped, those that only pods or what is deleted with them told of are missing.
    package func claims() async throws -> [String] {
        let descendants = try await descendants()
        let parts = descendants.compactMap { WorkloadCatalog.standard.workload($0) }.filter { $0.completion == nil }
        var names = Set(([workload] + parts).flatMap(\.claims).filter { $0.origin != .ephemeral }.map(\.name))
        for pod in try ownership(over: descendants).pods(of: try await client.list(.pods, namespace: namespace).items) {
            for template in Pod().podTemplates(pod) { names.formUnion(template.claimNames) }
        }
        return names.sorted()
    }
}

/// What tells the pods of a workload from others in its namespace.
struct PodOwnership: Sendable {
    /// For a pod that is a workload itself.
    var name: String?
    var selectors: [LabelSelector]
    /// Uids of the workload and of what is between it and its pods.
    var owners: Set<String>

    /// Takes up what another look has told.
    mutating func add(_ other: PodOwnership) {
        owners.formUnion(other.owners)
        selectors += other.selectors.filter { !selectors.contains($0) }
    }

    /// Those of `pods` that are the workload's.
    func pods(of pods: [KubernetesObject]) -> [KubernetesObject] {
        pods.filter { pod in
            if pod.labels[BecalmAnnotation.run] != nil { return false }
            if let name { return pod.name == name }
            return pod.ownerReferences.contains { owners.contains($0.uid) }
                || selectors.contains { !$0.requirements.isEmpty && $0.matches(pod.labels) }
        }
    }
}

extension KubernetesObject {
    /// Whether a pod has, or may get, a container that runs. One that is being deleted counts until the kubelet has seen
    /// its containers end: it is saving.
    package var mayRun: Bool {
        switch text("status", "phase") {
        case "Succeeded", "Failed":
            // An evicted pod has a verdict before its containers have ended.
            return containerStatuses.contains { $0["state", "running"]?.object != nil }
        case "Pending" where isBeingDeleted:
            return text("spec", "nodeName") != nil
        default: return true
        }
    }

    private var containerStatuses: [JSONValue] {
        ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"].flatMap {
            self["status", .key($0)]?.array ?? []
        }
    }
}
