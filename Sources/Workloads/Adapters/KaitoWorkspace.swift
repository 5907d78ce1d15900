package import Kubernetes

/// KAITO workspaces (0.12): a StatefulSet of the same name for inference, a Job of the same name for tuning. They have no
/// `spec` and no field that stops them; KAITO leaves the number of replicas alone until the workspace itself changes.
package struct KaitoWorkspace: WorkloadAdapter {
    package let kind = ResourceKind(group: "kaito.sh", version: "v1beta1", kind: "Workspace", resource: "workspaces")

    package init() {}

    package func stop(_ object: KubernetesObject) -> StopMethod {
        let child = object["tuning"]?.object == nil ? StatefulSet().kind : BatchJob().kind
        return .objects([ObjectReference(child, namespace: object.namespace, name: object.name, role: .child)])
    }

    /// `InferenceReady` stays true with none of no replicas ready.
    package func standing(_ object: KubernetesObject) -> Standing? { nil }

    package func completion(_ object: KubernetesObject) -> Completion? {
        object["tuning"]?.object != nil && object.isTrue("WorkspaceSucceeded") ? .succeeded : nil
    }

    package func podTemplates(_ object: KubernetesObject) -> [PodTemplate] {
        object.podTemplate(at: ["inference", "template"]).map { [$0] } ?? []
    }

    package func podSelectors(_ object: KubernetesObject) throws(WorkloadError) -> [LabelSelector] {
        [LabelSelector(matching: ["kaito.sh/workspace": object.name])]
    }

    package func claims(_ object: KubernetesObject) -> [ClaimReference] {
        let tuning = [object["tuning", "input", "volumeSource"], object["tuning", "output", "volumeSource"]]
        return KaitoReferences.claims(tuning + KaitoReferences.adapterVolumes(object["inference"]))
    }

    package func references(_ object: KubernetesObject) -> [ObjectReference] {
        KaitoReferences.references(object, inference: object["inference"])
            + KaitoReferences.references(object, tuning: object["tuning"])
    }

    package func strip(_ object: inout KubernetesObject) {
        object.removeAnnotation("workspace.kaito.io/revision")
        object.finalizers.removeAll { $0 == "workspace.finalizer.kaito.sh" }
    }
}

/// What KAITO's kinds name beside pod templates.
enum KaitoReferences {
    /// Volumes of the adapters of an inference.
    static func adapterVolumes(_ inference: JSONValue?) -> [JSONValue?] {
        (inference?["adapters"]?.array ?? []).map { $0["source", "volumeSource"] }
    }

    /// The claims among volumes.
    static func claims(_ volumes: [JSONValue?]) -> [ClaimReference] {
        volumes.compactMap { $0?["persistentVolumeClaim", "claimName"]?.string }.filter { !$0.isEmpty }
            .map { ClaimReference($0, .named) }
    }

    /// Configuration and secrets of an inference.
    static func references(_ object: KubernetesObject, inference: JSONValue?) -> [ObjectReference] {
        let options = inference?["preset", "presetOptions"]
        let adapters = (inference?["adapters"]?.array ?? []).flatMap { $0["source", "imagePullSecrets"]?.array ?? [] }
        return named(object, .configMap, .configuration, [inference?["config"]])
            + named(object, .secret, .secret, [options?["modelAccessSecret"]])
            + named(object, .secret, .secret, (options?["imagePullSecrets"]?.array ?? []) + adapters)
    }

    /// Configuration and secrets of a tuning.
    static func references(_ object: KubernetesObject, tuning: JSONValue?) -> [ObjectReference] {
        named(object, .configMap, .configuration, [tuning?["config"]])
            + named(object, .secret, .secret, [tuning?["preset", "presetOptions", "modelAccessSecret"]])
            + named(object, .secret, .secret, (tuning?["input", "imagePullSecrets"]?.array ?? []).map { $0 })
            + named(object, .secret, .secret, [tuning?["output", "imagePushSecret"]])
    }

    /// One reference for each name.
    static func named(
        _ object: KubernetesObject, _ kind: ResourceKind, _ role: ObjectReference.Role, _ names: [JSONValue?]
    ) -> [ObjectReference] {
        names.compactMap { $0?.string }.filter { !$0.isEmpty }
            .map { ObjectReference(kind, namespace: object.namespace, name: $0, role: role) }
    }
}
