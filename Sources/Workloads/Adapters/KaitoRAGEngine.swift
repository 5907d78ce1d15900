package import Kubernetes

/// KAITO's retrieval engines (0.12): a Deployment of the same name, whose pod stores its index when it ends.
package struct KaitoRAGEngine: WorkloadAdapter {
    package let kind = ResourceKind(group: "kaito.sh", version: "v1beta1", kind: "RAGEngine", resource: "ragengines")
    package let runsToCompletion = false

    package init() {}

    package func stop(_ object: KubernetesObject) -> StopMethod {
        .objects([
            ObjectReference(Deployment().kind, namespace: object.namespace, name: object.name, role: .child)
        ])
    }

    package func standing(_ object: KubernetesObject) -> Standing? { nil }

    package func podTemplates(_ object: KubernetesObject) -> [PodTemplate] { [] }

    package func podSelectors(_ object: KubernetesObject) throws(WorkloadError) -> [LabelSelector] {
        [LabelSelector(matching: ["kaito.sh/ragengine": object.name])]
    }

    package func claims(_ object: KubernetesObject) -> [ClaimReference] {
        guard let name = object.text("spec", "storage", "persistentVolume", "persistentVolumeClaim") else { return [] }
        return [ClaimReference(name, .named)]
    }

    package func references(_ object: KubernetesObject) -> [ObjectReference] {
        let local = object["spec", "embedding", "local"]
        let secrets = [
            object["spec", "storage", "vectorDB", "accessSecret"], local?["imagePullSecret"],
            local?["modelAccessSecret"], object["spec", "embedding", "remote", "accessSecret"],
            object["spec", "inferenceService", "accessSecret"],
        ]
        let maps = [object["spec", "guardrails", "configMapRef", "name"]]
        return KaitoReferences.named(object, .secret, .secret, secrets)
            + KaitoReferences.named(object, .configMap, .configuration, maps)
    }

    package func strip(_ object: inout KubernetesObject) {
        object.removeAnnotation("ragengine.kaito.io/revision")
        object.finalizers.removeAll { $0 == "ragengine.finalizer.kaito.sh" }
    }
}
