internal import Kubernetes
internal import Workloads

/// What is asked of a cluster's API for one of the things that are done there. `plugin/examples/workload-role.yaml` grants what is
/// required, and a test holds the two together.
struct ClusterNeed: Hashable, Sendable {
    /// What it is for.
    enum Task: String, Sendable, CaseIterable {
        case hold
        case ask
        case backup
        case restore

        /// What cannot be done without it, for people.
        var words: String {
            switch self {
            case .hold: "workloads are not brought to a standstill and let go (quiesce, resume, backup --workload)"
            case .ask: "pods are not asked for a checkpoint (becalm.io/checkpoint-command, -signal, -file and -http)"
            case .backup: "workloads are not backed up (backup --workload)"
            case .restore: "workloads are not restored (restore --to-cluster)"
            }
        }
    }

    var task: Task
    var kind: ResourceKind
    /// `log`, `exec`; empty for the object itself.
    var subresource = ""
    /// As the API calls them.
    var verbs: [String]
    /// What is lost without it, where the task is done all the same; empty where it is not.
    var otherwise = ""

    /// `jobs.batch`, `pods/exec`
    var name: String { subresource.isEmpty ? "\(kind)" : "\(kind)/\(subresource)" }

    private init(_ task: Task, _ kind: ResourceKind, _ verbs: [String], otherwise: String = "") {
        (self.task, self.kind, self.verbs, self.otherwise) = (task, kind, verbs, otherwise)
    }

    private init(_ task: Task, _ kind: ResourceKind, subresource: String, _ verbs: [String]) {
        self.init(task, kind, verbs)
        self.subresource = subresource
    }

    /// Everything, for workloads of any kind that we know: those in namespaces first, then what is the cluster's own.
    static let all: [ClusterNeed] = hold + ask + backup + restore + whole

    private static let pod = ResourceKind(kind: "Pod", resource: "pods")
    private static let lease = ResourceKind(group: "coordination.k8s.io", kind: "Lease", resource: "leases")
    private static let job = BatchJob().kind
    private static let namespace = ResourceKind(kind: "Namespace", resource: "namespaces", isNamespaced: false)
    private static let service = ResourceKind(kind: "Service", resource: "services")
    private static func csi(_ kind: String, _ resource: String, isNamespaced: Bool = true) -> ResourceKind {
        ResourceKind(group: ClaimSnapshots.group, kind: kind, resource: resource, isNamespaced: isNamespaced)
    }

    private static let undrained = "model servers are stopped while requests still reach them"
    private static let unreached =
        "gateways send no requests to a model server that is restored, until somebody makes its pools and routes"

    /// Every kind that can be stopped; pods are read by all of them and stopped by none.
    private static var workloads: [ResourceKind] {
        WorkloadCatalog.standard.adapters.map(\.kind).filter { $0 != pod && $0.isNamespaced }
    }

    private static var hold: [ClusterNeed] {
        [
            ClusterNeed(.hold, lease, ["get", "list", "create", "update", "delete"]),
            ClusterNeed(.hold, pod, ["get", "list", "watch"]),
            ClusterNeed(
                .hold, pod, ["update"], otherwise: "a pod that a restore holds is not let go (resume --restored)"),
            ClusterNeed(
                .hold, .persistentVolumeClaim, ["get", "list", "patch"],
                otherwise: "what a restore holds is not told, nor let go (status, resume --restored)"),
            ClusterNeed(
                .hold, job, ["list"],
                otherwise: "what a restore holds is not let go while data is missing (resume --restored)"),
            ClusterNeed(.hold, .replicaSet, ["get", "list"]),
            ClusterNeed(.hold, .volcanoCommand, ["create", "delete"]),
            // What would start it again.
            ClusterNeed(
                .hold, ResourceKind(group: "keda.sh", kind: "ScaledObject", resource: "scaledobjects"), ["list"]),
            ClusterNeed(.hold, .httpRoute, ["get", "list", "update"], otherwise: undrained),
        ] + InferencePool.kinds.map { ClusterNeed(.hold, $0, ["list"], otherwise: undrained) }
            + workloads.map { ClusterNeed(.hold, $0, ["get", "list", "watch", "update"]) }
    }

    private static var ask: [ClusterNeed] {
        [
            ClusterNeed(.ask, pod, subresource: "exec", ["get", "create"]),
            ClusterNeed(.ask, pod, subresource: "proxy", ["get", "create", "update"]),
        ]
    }

    /// What movers are made of, whichever way they move.
    private static func movers(_ task: Task) -> [ClusterNeed] {
        [
            ClusterNeed(task, job, ["get", "list", "watch", "create", "patch", "delete"]),
            ClusterNeed(task, .secret, ["get", "list", "create", "delete"]),
            ClusterNeed(task, lease, ["get", "list", "create", "update", "delete"]),
            ClusterNeed(task, pod, ["get", "list", "watch"]),
            ClusterNeed(task, pod, subresource: "log", ["get"]),
            ClusterNeed(
                task, ResourceKind(kind: "Event", resource: "events"), ["list"],
                otherwise: "why a mover's pod does not begin is not told"),
        ]
    }

    private static var backup: [ClusterNeed] {
        movers(.backup) + [
            ClusterNeed(.backup, .persistentVolumeClaim, ["get", "list", "create", "delete"]),
            ClusterNeed(
                .backup, csi("VolumeSnapshot", "volumesnapshots"), ["get", "list", "watch", "create", "delete"]),
            ClusterNeed(.backup, .configMap, ["get"]),
            ClusterNeed(.backup, .serviceAccount, ["get"]),
            ClusterNeed(.backup, service, ["get"]),
        ]
    }

    private static var restore: [ClusterNeed] {
        movers(.restore) + [
            ClusterNeed(.restore, .persistentVolumeClaim, ["get", "list", "watch", "create", "patch"]),
            ClusterNeed(.restore, .serviceAccount, ["get", "list", "watch", "create"]),
            ClusterNeed(.restore, .configMap, ["create"]),
            ClusterNeed(.restore, service, ["create"]),
            ClusterNeed(.restore, .httpRoute, ["create"], otherwise: unreached),
        ] + InferencePool.kinds.map { ClusterNeed(.restore, $0, ["create"], otherwise: unreached) }
            + workloads.map { ClusterNeed(.restore, $0, ["get", "create"]) }
    }

    /// What a role of one namespace cannot grant, and nothing depends on.
    private static var whole: [ClusterNeed] {
        [
            ClusterNeed(
                .backup, .persistentVolume, ["get"],
                otherwise: "whether a volume's driver makes snapshots is not known, and volumes are read live"),
            ClusterNeed(
                .backup, csi("VolumeSnapshotClass", "volumesnapshotclasses", isNamespaced: false), ["get", "list"],
                otherwise: "volumes are read live"),
            ClusterNeed(
                .backup, ResourceKind(kind: "Node", resource: "nodes", isNamespaced: false), ["get"],
                otherwise: "what ran where is stored without the nodes' devices and drivers"),
            ClusterNeed(
                .backup,
                ResourceKind(
                    group: "storage.k8s.io", kind: "VolumeAttachment", resource: "volumeattachments",
                    isNamespaced: false), ["list"],
                otherwise: "a mover may wait for a volume that is still attached elsewhere"),
            ClusterNeed(
                .restore,
                ResourceKind(
                    group: "storage.k8s.io", kind: "StorageClass", resource: "storageclasses", isNamespaced: false),
                ["get"],
                otherwise: "a storage class that is not there shows late, and claims of one pod are not bound together"),
            ClusterNeed(
                .restore, .clusterTrainingRuntime, ["get"],
                otherwise:
                    "what a TrainJob's runtime names is not backed up, and whether its data is whole is not known"),
            ClusterNeed(
                .restore, namespace, ["create"],
                otherwise: "only namespaces that are there already can be restored into"),
        ]
    }
}
