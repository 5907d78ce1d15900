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
    /// What pods mount.
    package static let persistentVolumeClaim = ResourceKind(
        kind: "PersistentVolumeClaim", resource: "persistentvolumeclaims")
    /// What claims are bound to.
    package static let persistentVolume = ResourceKind(
        kind: "PersistentVolume", resource: "persistentvolumes", isNamespaced: false)
    /// Configuration.
    package static let configMap = ResourceKind(kind: "ConfigMap", resource: "configmaps")
    /// Secrets.
    package static let secret = ResourceKind(kind: "Secret", resource: "secrets")
    /// Whom pods act as.
    package static let serviceAccount = ResourceKind(kind: "ServiceAccount", resource: "serviceaccounts")
    /// Owners of a Deployment's pods.
    package static let replicaSet = ResourceKind(group: "apps", kind: "ReplicaSet", resource: "replicasets")
    /// Devices that are claimed.
    package static let resourceClaim = ResourceKind(
        group: "resource.k8s.io", kind: "ResourceClaim", resource: "resourceclaims")
    /// What claims of devices are made from.
    package static let resourceClaimTemplate = ResourceKind(
        group: "resource.k8s.io", kind: "ResourceClaimTemplate", resource: "resourceclaimtemplates")
    /// What TrainJobs are made from, in a namespace.
    package static let trainingRuntime = ResourceKind(
        group: "trainer.kubeflow.org", version: "v1alpha1", kind: "TrainingRuntime", resource: "trainingruntimes")
    /// What TrainJobs are made from, in the whole cluster.
    package static let clusterTrainingRuntime = ResourceKind(
        group: "trainer.kubeflow.org", version: "v1alpha1", kind: "ClusterTrainingRuntime",
        resource: "clustertrainingruntimes", isNamespaced: false)
    /// Kueue's queues of namespaces.
    package static let localQueue = ResourceKind(
        group: "kueue.x-k8s.io", version: "v1beta1", kind: "LocalQueue", resource: "localqueues")
    /// Kueue's queues of the cluster.
    package static let clusterQueue = ResourceKind(
        group: "kueue.x-k8s.io", version: "v1beta1", kind: "ClusterQueue", resource: "clusterqueues",
        isNamespaced: false)
    /// Volcano's queues.
    package static let volcanoQueue = ResourceKind(
        group: "scheduling.volcano.sh", version: "v1beta1", kind: "Queue", resource: "queues", isNamespaced: false)
    /// Pods that Volcano schedules together.
    package static let volcanoPodGroup = ResourceKind(
        group: "scheduling.volcano.sh", version: "v1beta1", kind: "PodGroup", resource: "podgroups")
    /// What stops and starts Volcano jobs.
    package static let volcanoCommand = ResourceKind(
        group: "bus.volcano.sh", version: "v1alpha1", kind: "Command", resource: "commands")
    /// Pools of model servers, as gateways see them (Gateway API Inference Extension).
    package static let inferencePool = ResourceKind(
        group: "inference.networking.k8s.io", kind: "InferencePool", resource: "inferencepools")
    /// The same before it was called stable: v1alpha2, with fields of other names.
    package static let experimentalInferencePool = ResourceKind(
        group: "inference.networking.x-k8s.io", version: "v1alpha2", kind: "InferencePool", resource: "inferencepools")
    /// Which requests gateways send where.
    package static let httpRoute = ResourceKind(
        group: "gateway.networking.k8s.io", kind: "HTTPRoute", resource: "httproutes")
    /// Nodes that Karpenter buys.
    package static let nodeClaim = ResourceKind(
        group: "karpenter.sh", kind: "NodeClaim", resource: "nodeclaims", isNamespaced: false)
}
