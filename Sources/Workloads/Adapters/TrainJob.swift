package import Kubernetes

/// Training jobs of Kubeflow Trainer (2.3): a JobSet of the same name, made from a runtime. Its condition only mirrors
/// its spec.
package struct TrainJob: WorkloadAdapter {
    package let kind = ResourceKind(
        group: "trainer.kubeflow.org", version: "v1alpha1", kind: "TrainJob", resource: "trainjobs")

    package init() {}

    package func stop(_ object: KubernetesObject) -> StopMethod {
        .fields([FieldSetting(FieldPath("spec", "suspend"), true)])
    }

    package func standing(_ object: KubernetesObject) -> Standing? {
        let active = (object["status", "jobsStatus"]?.array ?? []).reduce(0) { $0 + ($1["active"]?.int64 ?? 0) }
        return object.standing(isAsked: object.isTrue("Suspended"), ("jobs active", active))
    }

    package func completion(_ object: KubernetesObject) -> Completion? {
        if object.isTrue("Failed") { return .failed }
        return object.isTrue("Complete") ? .succeeded : nil
    }

    /// Only what the job changes about its runtime's templates stands in the job.
    package func podTemplates(_ object: KubernetesObject) -> [PodTemplate] {
        let jobs: JSONPath = ["trainingRuntimeSpec", "template", "spec", "replicatedJobs"]
        let patches = object["spec", "runtimePatches"]?.array ?? []
        return patches.indices.flatMap { index in
            object.podTemplates(
                in: JSONPath(["spec", "runtimePatches", .index(index)] + jobs.elements),
                ["template", "spec", "template"])
        } + object.podTemplates(in: ["spec", "podTemplateOverrides"], [])
    }

    /// The templates of a runtime, namespaced or not.
    package static func podTemplates(ofRuntime runtime: KubernetesObject) -> [PodTemplate] {
        runtime.podTemplates(
            in: ["spec", "template", "spec", "replicatedJobs"], ["template", "spec", "template"])
    }

    package func podSelectors(_ object: KubernetesObject) throws(WorkloadError) -> [LabelSelector] {
        [LabelSelector(matching: ["jobset.sigs.k8s.io/jobset-name": object.name])]
    }

    package func references(_ object: KubernetesObject) -> [ObjectReference] {
        var references: [ObjectReference] = []
        if let name = object.text("spec", "runtimeRef", "name") {
            let isLocal = object.text("spec", "runtimeRef", "kind") == ResourceKind.trainingRuntime.kind
            references.append(
                ObjectReference(
                    isLocal ? .trainingRuntime : .clusterTrainingRuntime, namespace: object.namespace, name: name,
                    role: .runtime))
        }
        for part in ["dataset", "model"] {
            guard let name = object.text("spec", "initializer", .key(part), "secretRef", "name") else { continue }
            references.append(ObjectReference(.secret, namespace: object.namespace, name: name, role: .secret))
        }
        return references
    }

    package func findings(_ object: KubernetesObject) -> [WorkloadFinding] {
        guard let manager = object.text("spec", "managedBy"), manager != "trainer.kubeflow.org/trainjob-controller"
        else {
            return []
        }
        return [.managedElsewhere(object, manager)]
    }

    package func strip(_ object: inout KubernetesObject) {
        // What Kueue wrote when it admitted the job in the other cluster.
        object.removeElements(of: ["spec", "runtimePatches"]) { $0["manager"]?.string == "kueue.x-k8s.io/manager" }
    }
}
