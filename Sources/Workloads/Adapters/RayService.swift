package import Kubernetes

/// Ray Serve (KubeRay 1.7): one RayCluster, or two while it is upgraded.
package struct RayService: WorkloadAdapter {
    package let kind = ResourceKind(group: "ray.io", kind: "RayService", resource: "rayservices")
    package let runsToCompletion = false

    package init() {}

    package func stop(_ object: KubernetesObject) -> StopMethod {
        .fields([FieldSetting(FieldPath("spec", "suspend"), true)])
    }

    package func standing(_ object: KubernetesObject) -> Standing? {
        if object.isTrue("Suspended") { return .stopped }
        return object.isTrue("Suspending") ? .stopping("Ray clusters are being deleted") : .running
    }

    package func podTemplates(_ object: KubernetesObject) -> [PodTemplate] {
        RayTemplates.podTemplates(object, ["spec", "rayClusterConfig"])
    }

    package func podSelectors(_ object: KubernetesObject) throws(WorkloadError) -> [LabelSelector] {
        RayTemplates.selectors([
            object.text("status", "activeServiceStatus", "rayClusterName"),
            object.text("status", "pendingServiceStatus", "rayClusterName"),
        ])
    }

    package func claims(_ object: KubernetesObject) -> [ClaimReference] {
        RayTemplates.claims(object, ["spec", "rayClusterConfig"])
    }

    package func references(_ object: KubernetesObject) -> [ObjectReference] {
        RayTemplates.references(object, ["spec", "rayClusterConfig"])
    }

    package func findings(_ object: KubernetesObject) -> [WorkloadFinding] {
        RayTemplates.findings(object, ["spec", "rayClusterConfig"], manager: ["spec", "managedBy"])
    }

    package func restoreRemarks(_ object: KubernetesObject) -> [String] {
        RayTemplates.restoreRemarks(object, ["spec", "rayClusterConfig"])
    }

    package func strip(_ object: inout KubernetesObject) {
        object.finalizers.removeAll { $0 == "ray.io/rayservice-finalizer" }
    }
}
