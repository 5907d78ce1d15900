package import Kubernetes

/// StatefulSets: stopped by no replicas. Their claims stay, and come again under the same names.
package struct StatefulSet: WorkloadAdapter {
    package let kind = ResourceKind(group: "apps", kind: "StatefulSet", resource: "statefulsets")
    package let runsToCompletion = false

    package init() {}

    package func stop(_ object: KubernetesObject) -> StopMethod {
        .fields([FieldSetting(FieldPath("spec", "replicas"), 0)])
    }

    package func standing(_ object: KubernetesObject) -> Standing? {
        object.standing(
            isAsked: object["spec", "replicas"]?.int64 == 0, ("replicas", object.count("status", "replicas")))
    }

    package func podTemplates(_ object: KubernetesObject) -> [PodTemplate] {
        object.podTemplate(at: ["spec", "template"]).map { [$0] } ?? []
    }

    package func podSelectors(_ object: KubernetesObject) throws(WorkloadError) -> [LabelSelector] {
        try object.selectors("spec", "selector")
    }

    /// Those of the replicas that are wanted. Claims of replicas that it had once are found by its labels only.
    package func claims(_ object: KubernetesObject) -> [ClaimReference] {
        let start = max(0, min(object["spec", "ordinals", "start"]?.int64 ?? 0, Int64(Int32.max)))
        let pods = (0..<ClaimTemplates.replicas(object)).map { "\(object.name)-\(start + Int64($0))" }
        return ClaimTemplates.claims(object["spec", "volumeClaimTemplates"]?.array ?? [], pods)
    }

    package func findings(_ object: KubernetesObject) -> [WorkloadFinding] {
        ClaimTemplates.findings(
            object, object["spec", "persistentVolumeClaimRetentionPolicy"], object["spec", "volumeClaimTemplates"])
    }
}
