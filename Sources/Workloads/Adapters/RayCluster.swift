package import Kubernetes

/// Ray clusters of their own (KubeRay 1.7). The condition of a suspended one comes when its pods are gone.
package struct RayCluster: WorkloadAdapter {
    package let kind = ResourceKind(group: "ray.io", kind: "RayCluster", resource: "rayclusters")
    package let runsToCompletion = false

    package init() {}

    package func stop(_ object: KubernetesObject) -> StopMethod {
        .fields([FieldSetting(FieldPath("spec", "suspend"), true)])
    }

    package func standing(_ object: KubernetesObject) -> Standing? {
        if object.isTrue("RayClusterSuspended") || object.text("status", "state") == "suspended" { return .stopped }
        return object.isTrue("RayClusterSuspending") ? .stopping("pods are being deleted") : .running
    }

    package func podTemplates(_ object: KubernetesObject) -> [PodTemplate] {
        RayTemplates.podTemplates(object, ["spec"])
    }

    package func podSelectors(_ object: KubernetesObject) throws(WorkloadError) -> [LabelSelector] {
        RayTemplates.selectors([object.name])
    }

    package func claims(_ object: KubernetesObject) -> [ClaimReference] { RayTemplates.claims(object, ["spec"]) }

    package func references(_ object: KubernetesObject) -> [ObjectReference] {
        RayTemplates.references(object, ["spec"])
    }

    package func findings(_ object: KubernetesObject) -> [WorkloadFinding] {
        RayTemplates.findings(object, ["spec"], manager: ["spec", "managedBy"])
    }

    package func restoreRemarks(_ object: KubernetesObject) -> [String] {
        RayTemplates.restoreRemarks(object, ["spec"])
    }

    package func strip(_ object: inout KubernetesObject) {
        // With a store of its own, the operator cleans up in it; it sets the finalizer again where it still does.
        object.finalizers.removeAll { $0 == "ray.io/gcs-ft-redis-cleanup-finalizer" }
    }
}
