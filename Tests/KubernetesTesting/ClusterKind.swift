/// A kind of objects that a `FakeCluster` serves.
package struct ClusterKind: Sendable {
    package var group: String
    package var version: String
    package var kind: String
    package var plural: String
    package var isNamespaced: Bool

    package init(
        _ group: String, _ version: String, _ kind: String, _ plural: String, isNamespaced: Bool = true
    ) {
        self.group = group
        self.version = version
        self.kind = kind
        self.plural = plural
        self.isNamespaced = isNamespaced
    }

    /// What paths of objects of its group and version begin with.
    var prefix: String { group.isEmpty ? "/api/\(version)" : "/apis/\(group)/\(version)" }

    /// Workloads, what holds them, and what they run in.
    package static let workloads = [
        ClusterKind("", "v1", "Pod", "pods"),
        ClusterKind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
        ClusterKind("batch", "v1", "Job", "jobs"), ClusterKind("batch", "v1", "CronJob", "cronjobs"),
        ClusterKind("apps", "v1", "StatefulSet", "statefulsets"),
        ClusterKind("apps", "v1", "Deployment", "deployments"),
        ClusterKind("apps", "v1", "ReplicaSet", "replicasets"),
        ClusterKind("coordination.k8s.io", "v1", "Lease", "leases"),
        ClusterKind("jobset.x-k8s.io", "v1alpha2", "JobSet", "jobsets"),
        ClusterKind("kubeflow.org", "v1", "PyTorchJob", "pytorchjobs"),
        ClusterKind("batch.volcano.sh", "v1alpha1", "Job", "jobs"),
        ClusterKind("bus.volcano.sh", "v1alpha1", "Command", "commands"),
        ClusterKind("kueue.x-k8s.io", "v1beta1", "Workload", "workloads"),
        ClusterKind("kaito.sh", "v1beta1", "Workspace", "workspaces"),
        ClusterKind("ray.io", "v1", "RayJob", "rayjobs"),
        ClusterKind("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects"),
        ClusterKind("inference.networking.k8s.io", "v1", "InferencePool", "inferencepools"),
        ClusterKind("inference.networking.x-k8s.io", "v1alpha2", "InferencePool", "inferencepools"),
        ClusterKind("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
        ClusterKind(snapshotGroup, "v1", "VolumeSnapshot", "volumesnapshots"),
    ]

    /// What movers make and ask for, and one workload.
    package static let movers = [
        ClusterKind("", "v1", "Namespace", "namespaces", isNamespaced: false),
        ClusterKind("", "v1", "Pod", "pods"),
        ClusterKind("", "v1", "Secret", "secrets"), ClusterKind("", "v1", "Event", "events"),
        ClusterKind("", "v1", "ServiceAccount", "serviceaccounts"),
        ClusterKind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
        ClusterKind("", "v1", "PersistentVolume", "persistentvolumes", isNamespaced: false),
        ClusterKind("batch", "v1", "Job", "jobs"),
        ClusterKind("apps", "v1", "StatefulSet", "statefulsets"),
        ClusterKind("apps", "v1", "ReplicaSet", "replicasets"),
        ClusterKind("coordination.k8s.io", "v1", "Lease", "leases"),
        ClusterKind("inference.networking.k8s.io", "v1", "InferencePool", "inferencepools"),
        ClusterKind("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
        ClusterKind("storage.k8s.io", "v1", "StorageClass", "storageclasses", isNamespaced: false),
        ClusterKind(
            "storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments", isNamespaced: false),
    ]

    private static let snapshotGroup = "snapshot.storage.k8s.io"

    /// Snapshots of volumes, which not every cluster has.
    package static let snapshots = [
        ClusterKind(snapshotGroup, "v1", "VolumeSnapshot", "volumesnapshots"),
        ClusterKind(snapshotGroup, "v1", "VolumeSnapshotClass", "volumesnapshotclasses", isNamespaced: false),
        ClusterKind(
            snapshotGroup, "v1", "VolumeSnapshotContent", "volumesnapshotcontents", isNamespaced: false),
    ]

    /// What Velero's movement of data takes.
    package static let velero = [
        ClusterKind("", "v1", "Pod", "pods"), ClusterKind("", "v1", "Secret", "secrets"),
        ClusterKind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
        ClusterKind("", "v1", "PersistentVolume", "persistentvolumes", isNamespaced: false),
        ClusterKind("batch", "v1", "Job", "jobs"),
        ClusterKind("coordination.k8s.io", "v1", "Lease", "leases"),
        ClusterKind("storage.k8s.io", "v1", "StorageClass", "storageclasses", isNamespaced: false),
        ClusterKind(snapshotGroup, "v1", "VolumeSnapshot", "volumesnapshots"),
        ClusterKind(
            snapshotGroup, "v1", "VolumeSnapshotContent", "volumesnapshotcontents", isNamespaced: false),
        ClusterKind("velero.io", "v2alpha1", "DataUpload", "datauploads"),
        ClusterKind("velero.io", "v2alpha1", "DataDownload", "datadownloads"),
    ]
}
