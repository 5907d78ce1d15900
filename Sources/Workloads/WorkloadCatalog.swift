package import Kubernetes

/// Every kind of workload that we know.
package struct WorkloadCatalog: Sendable {
    /// In the order in which they are listed to users.
    package let adapters: [any WorkloadAdapter]

    private let byKind: [String: Int]

    /// The given adapters, one a kind; of two for a kind, the later one counts.
    package init(_ adapters: [any WorkloadAdapter]) {
        self.adapters = adapters
        byKind = Dictionary(
            adapters.enumerated().map { (Self.key($1.kind.group, $1.kind.kind), $0) }, uniquingKeysWith: { $1 })
    }

    /// All of ours.
    package static let standard = WorkloadCatalog(
        [BatchJob(), CronJob(), JobSet(), TrainJob()] + TrainingOperatorJob.all
            + [RayJob(), RayCluster(), RayService(), VolcanoJob(), LeaderWorkerSet(), DisaggregatedSet()]
            + [StatefulSet(), Deployment(), KaitoWorkspace(), KaitoInferenceSet(), KaitoRAGEngine()]
            + [Pod(), KueueWorkload()] + KueueQueue.all)

    private static func key(_ group: String, _ kind: String) -> String { "\(group)/\(kind)" }

    /// The adapter of a kind, whatever the version; nil for what is no workload.
    package func adapter(group: String, kind: String) -> (any WorkloadAdapter)? {
        byKind[Self.key(group, kind)].map { adapters[$0] }
    }

    /// The workload that an object is; nil when it is none.
    package func workload(_ object: KubernetesObject) -> Workload? {
        adapter(group: object.group, kind: object.kind).map { Workload(object, $0) }
    }

    /// The kind that an owner reference names, if it is one of ours or a ReplicaSet.
    package func kind(of owner: OwnerReference) -> ResourceKind? {
        let kind = GroupVersionKind(apiVersion: owner.apiVersion, kind: owner.kind)
        if kind.group == ResourceKind.replicaSet.group, kind.kind == ResourceKind.replicaSet.kind { return .replicaSet }
        return adapter(group: kind.group, kind: kind.kind)?.kind
    }
}
