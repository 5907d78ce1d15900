package import Kubernetes

/// Deployments: stopped by no replicas.
package struct Deployment: WorkloadAdapter {
    package let kind = ResourceKind(group: "apps", kind: "Deployment", resource: "deployments")
    package let runsToCompletion = false

    package init() {}

    package func stop(_ object: KubernetesObject) -> StopMethod {
        .fields([FieldSetting(FieldPath("spec", "replicas"), 0)])
    }

    package func standing(_ object: KubernetesObject) -> Standing? {
        object.standing(
            isAsked: object["spec", "replicas"]?.int64 == 0, ("replicas", object.count("status", "replicas")),
            ("terminating", object.count("status", "terminatingReplicas")))
    }

    package func podTemplates(_ object: KubernetesObject) -> [PodTemplate] {
        object.podTemplate(at: ["spec", "template"]).map { [$0] } ?? []
    }

    package func podSelectors(_ object: KubernetesObject) throws(WorkloadError) -> [LabelSelector] {
        try object.selectors("spec", "selector")
    }

    package func strip(_ object: inout KubernetesObject) {
        // Counts ReplicaSets of the cluster it comes from.
        object.removeAnnotation("deployment.kubernetes.io/revision")
    }
}
