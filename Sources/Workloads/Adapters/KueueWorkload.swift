package import Kubernetes

/// What Kueue (0.19) admits in the place of a job: the only way to stop what it manages, for it puts back what is changed
/// in the job itself. Never restored: its name is made of the job's uid, and it is rebuilt.
package struct KueueWorkload: WorkloadAdapter {
    package let kind = ResourceKind(
        group: "kueue.x-k8s.io", version: "v1beta1", kind: "Workload", resource: "workloads")

    package init() {}

    package func stop(_ object: KubernetesObject) -> StopMethod {
        let owners = object.ownerReferences
        if !owners.isEmpty, owners.allSatisfy({ $0.apiVersion == "v1" && $0.kind == Pod().kind.kind }) {
            return .impossible("Kueue stops pods by deleting them; stop what made \(owners[0].name), if anything did")
        }
        return .fields([FieldSetting(FieldPath("spec", "active"), false)])
    }

    package func standing(_ object: KubernetesObject) -> Standing? {
        guard object["spec", "active"]?.bool == false else { return .running }
        // Terminating pods are not waited for: the job's own counters and pods are to be looked at as well.
        return object.isTrue("QuotaReserved") ? .stopping("its quota is still reserved") : .stopped
    }

    package func completion(_ object: KubernetesObject) -> Completion? {
        guard object.isTrue("Finished") else { return nil }
        let condition = (object["status", "conditions"]?.array ?? []).first { $0["type"]?.string == "Finished" }
        return condition?["reason"]?.string == "Failed" ? .failed : .succeeded
    }

    package func podTemplates(_ object: KubernetesObject) -> [PodTemplate] {
        object.podTemplates(in: ["spec", "podSets"], ["template"])
    }

    package func podSelectors(_ object: KubernetesObject) throws(WorkloadError) -> [LabelSelector] { [] }

    package func references(_ object: KubernetesObject) -> [ObjectReference] {
        guard let name = object.text("spec", "queueName") else { return [] }
        return [ObjectReference(.localQueue, namespace: object.namespace, name: name, role: .queue)]
    }
}

/// Queues of Kueue: one that holds admits nothing, and drains what it has admitted if asked to.
package struct KueueQueue: WorkloadAdapter {
    package let kind: ResourceKind
    package let runsToCompletion = false
    package let recreatesChildren = false

    private init(_ kind: ResourceKind) { self.kind = kind }

    /// Queues of namespaces, and of the cluster.
    package static let all = [KueueQueue(.localQueue), KueueQueue(.clusterQueue)]

    package func stop(_ object: KubernetesObject) -> StopMethod {
        .fields([FieldSetting(FieldPath("spec", "stopPolicy"), "HoldAndDrain")])
    }

    package func gate(_ object: KubernetesObject) -> GateMethod {
        .fields([FieldSetting(FieldPath("spec", "stopPolicy"), "Hold")])
    }

    package func standing(_ object: KubernetesObject) -> Standing? {
        object.standing(
            isAsked: object.text("spec", "stopPolicy") == "HoldAndDrain",
            ("workloads admitted", object.count("status", "admittedWorkloads")),
            ("workloads with quota", object.count("status", "reservingWorkloads")))
    }

    package func podTemplates(_ object: KubernetesObject) -> [PodTemplate] { [] }

    package func podSelectors(_ object: KubernetesObject) throws(WorkloadError) -> [LabelSelector] { [] }

    package func references(_ object: KubernetesObject) -> [ObjectReference] {
        guard kind == .localQueue, let name = object.text("spec", "clusterQueue") else { return [] }
        return [ObjectReference(.clusterQueue, namespace: "", name: name, role: .queue)]
    }
}
