package import Kubernetes

/// A pod on its own. It cannot be stopped and go on; a restored one is kept from being scheduled by a gate (1.27).
package struct Pod: WorkloadAdapter {
    package let kind = ResourceKind(kind: "Pod", resource: "pods")

    package init() {}

    package func stop(_ object: KubernetesObject) -> StopMethod {
        .impossible("a Pod cannot be stopped and started again; stop what made it, or ask it for a checkpoint")
    }

    package func gate(_ object: KubernetesObject) -> GateMethod { .schedulingGate }

    package func standing(_ object: KubernetesObject) -> Standing? {
        switch object.text("status", "phase") {
        case "Succeeded", "Failed": return .stopped
        case _ where object.isBeingDeleted: return .stopping("it is being deleted")
        default: return .running
        }
    }

    package func completion(_ object: KubernetesObject) -> Completion? {
        switch object.text("status", "phase") {
        case "Succeeded": .succeeded
        case "Failed": .failed
        default: nil
        }
    }

    package func podTemplates(_ object: KubernetesObject) -> [PodTemplate] {
        object.podTemplate(at: []).map { [$0] } ?? []
    }

    package func podSelectors(_ object: KubernetesObject) throws(WorkloadError) -> [LabelSelector] { [] }

    package func claims(_ object: KubernetesObject) -> [ClaimReference] {
        podTemplates(object).flatMap(\.ephemeralVolumes).map { ClaimReference("\(object.name)-\($0)", .ephemeral) }
    }

    package func strip(_ object: inout KubernetesObject) {
        object.finalizers.removeAll { $0 == "batch.kubernetes.io/job-tracking" }
        object.removeLabels(at: ["metadata"], ["controller-uid", "batch.kubernetes.io/controller-uid"])
    }
}
