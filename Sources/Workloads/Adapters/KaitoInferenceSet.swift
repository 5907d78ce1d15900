package import Kubernetes

/// KAITO's sets of workspaces (0.12): with no replicas, its workspaces go, and with them the nodes that were made for them.
package struct KaitoInferenceSet: WorkloadAdapter {
    package let kind = ResourceKind(
        group: "kaito.sh", version: "v1beta1", kind: "InferenceSet", resource: "inferencesets")
    package let runsToCompletion = false

    package init() {}

    package func stop(_ object: KubernetesObject) -> StopMethod {
        .fields([FieldSetting(FieldPath("spec", "replicas"), 0)])
    }

    package func standing(_ object: KubernetesObject) -> Standing? {
        object.standing(
            isAsked: object["spec", "replicas"]?.int64 == 0, ("workspaces", object.count("status", "replicas")))
    }

    package func podTemplates(_ object: KubernetesObject) -> [PodTemplate] {
        object.podTemplate(at: ["spec", "template", "inference", "template"]).map { [$0] } ?? []
    }

    /// Its pods bear the names of its workspaces, which are found by their owner.
    package func podSelectors(_ object: KubernetesObject) throws(WorkloadError) -> [LabelSelector] { [] }

    package func claims(_ object: KubernetesObject) -> [ClaimReference] {
        KaitoReferences.claims(KaitoReferences.adapterVolumes(object["spec", "template", "inference"]))
    }

    package func references(_ object: KubernetesObject) -> [ObjectReference] {
        KaitoReferences.references(object, inference: object["spec", "template", "inference"])
    }

    package func findings(_ object: KubernetesObject) -> [WorkloadFinding] {
        var findings = [
            // KAITO deletes a Workspace's nodes with it (`garbageCollectWorkspace`), and has its StatefulSet's claims go with
            // that (`GenerateStatefulSetManifest`: whenDeleted Delete).
            WorkloadFinding(
                .refusal, "workspaces-deleted-on-scale",
                "\(object.label) is stopped by deleting its Workspaces, and with them go the nodes that were made for them (NodeClaims) "
                    + "and the claims that cache their weights; have it backed up while it runs (consistency checkpoint)"
            )
        ]
        if let autoscaled = object.annotations.keys.filter({ $0.hasPrefix("scaledobject.kaito.sh/") }).min() {
            findings.append(
                WorkloadFinding(
                    .warning, "autoscaler",
                    "\(object.label) is scaled by KEDA (\(autoscaled)): pause its ScaledObject before it is stopped"))
        }
        return findings
    }

    package func strip(_ object: inout KubernetesObject) {
        object.removeAnnotation("inferenceset.kaito.io/revision")
        object.finalizers.removeAll { $0 == "inferenceset.finalizer.kaito.sh" }
    }
}
