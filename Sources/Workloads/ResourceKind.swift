package import Kubernetes

/// A kind of object with every word that the API has for it.
package struct ResourceKind: Hashable, Sendable, CustomStringConvertible {
    /// Empty for the core group.
    package var group: String
    /// The version that is written where one must be named; objects are read in whatever version they come.
    package var version: String
    /// `Job`
    package var kind: String
    /// Plural, lower case: `jobs`.
    package var resource: String
    /// Whether its objects are in namespaces.
    package var isNamespaced: Bool

    package init(
        group: String = "", version: String = "v1", kind: String, resource: String, isNamespaced: Bool = true
    ) {
        self.group = group
        self.version = version
        self.kind = kind
        self.resource = resource
        self.isNamespaced = isNamespaced
    }

    /// `jobs.batch`, `pods`: as selectors of resources and paths of backups name it.
    package var groupResource: String { group.isEmpty ? resource : "\(resource).\(group)" }
    /// With the version that is written.
    package var groupVersionKind: GroupVersionKind { GroupVersionKind(group: group, version: version, kind: kind) }

    /// Whether an object is of this kind, in whatever version.
    package func matches(_ object: KubernetesObject) -> Bool { object.kind == kind && object.group == group }

    package var description: String { groupResource }
}

/// Kinds that workloads refer to or are followed by, and that are none themselves.
extension ResourceKind {
    package static let persistentVolumeClaim = ResourceKind(
        kind: "PersistentVolumeClaim", resource: "persistentvolumeclaims")
    package static let persistentVolume = ResourceKind(
        kind: "PersistentVolume", resource: "persistentvolumes", isNamespaced: false)
    package static let configMap = ResourceKind(kind: "ConfigMap", resource: "configmaps")
    package static let secret = ResourceKind(kind: "Secret", resource: "secrets")
    package static let serviceAccount = ResourceKind(kind: "ServiceAccount", resource: "serviceaccounts")
    package static let replicaSet = ResourceKind(group: "apps", kind: "ReplicaSet", resource: "replicasets")
    package static let resourceClaim = ResourceKind(
        group: "resource.k8s.io", kind: "ResourceClaim", resource: "resourceclaims")
    package static let resourceClaimTemplate = ResourceKind(
        group: "resource.k8s.io", kind: "ResourceClaimTemplate", resource: "resourceclaimtemplates")
    package static let trainingRuntime = ResourceKind(
        group: "trainer.kubeflow.org", version: "v1alpha1", kind: "TrainingRuntime", resource: "trainingruntimes")
    package static let clusterTrainingRuntime = ResourceKind(
        group: "trainer.kubeflow.org", version: "v1alpha1", kind: "ClusterTrainingRuntime",
        resource: "clustertrainingruntimes", isNamespaced: false)
    package static let localQueue = ResourceKind(
        group: "kueue.x-k8s.io", version: "v1beta1", kind: "LocalQueue", resource: "localqueues")
    package static let clusterQueue = ResourceKind(
        group: "kueue.x-k8s.io", version: "v1beta1", kind: "ClusterQueue", resource: "clusterqueues",
        isNamespaced: false)
    package static let volcanoQueue = ResourceKind(
        group: "scheduling.volcano.sh", version: "v1beta1", kind: "Queue", resource: "queues", isNamespaced: false)
    package static let volcanoPodGroup = ResourceKind(
        group: "scheduling.volcano.sh", version: "v1beta1", kind: "PodGroup", resource: "podgroups")
    package static let volcanoCommand = ResourceKind(
        group: "bus.volcano.sh", version: "v1alpha1", kind: "Command", resource: "commands")
    package static let nodeClaim = ResourceKind(
        group: "karpenter.sh", kind: "NodeClaim", resource: "nodeclaims", isNamespaced: false)
}
