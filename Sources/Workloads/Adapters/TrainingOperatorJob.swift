package import Kubernetes

/// The job kinds of Kubeflow's training operator (v1) and of the MPI operator (v2beta1), which share their run policy,
/// their conditions and their labels.
package struct TrainingOperatorJob: WorkloadAdapter {
    package let kind: ResourceKind
    /// The member of `spec` that describes the replicas.
    private let replicaSpecs: String

    private init(_ kind: String, _ resource: String, version: String = "v1", _ replicaSpecs: String) {
        self.kind = ResourceKind(group: "kubeflow.org", version: version, kind: kind, resource: resource)
        self.replicaSpecs = replicaSpecs
    }

    /// Each of the kinds.
    package static let all = [
        TrainingOperatorJob("PyTorchJob", "pytorchjobs", "pytorchReplicaSpecs"),
        TrainingOperatorJob("TFJob", "tfjobs", "tfReplicaSpecs"),
        TrainingOperatorJob("XGBoostJob", "xgboostjobs", "xgbReplicaSpecs"),
        TrainingOperatorJob("PaddleJob", "paddlejobs", "paddleReplicaSpecs"),
        TrainingOperatorJob("JAXJob", "jaxjobs", "jaxReplicaSpecs"),
        TrainingOperatorJob("MPIJob", "mpijobs", version: "v2beta1", "mpiReplicaSpecs"),
    ]

    package func stop(_ object: KubernetesObject) -> StopMethod {
        .fields([FieldSetting(FieldPath("spec", "runPolicy", "suspend"), true)])
    }

    package func standing(_ object: KubernetesObject) -> Standing? {
        let replicas = object["status", "replicaStatuses"]?.object?.members ?? []
        let active = replicas.reduce(0) { $0 + ($1.value["active"]?.int64 ?? 0) }
        return object.standing(
            isAsked: object.isTrue("Suspended") && !object.isTrue("Running"), ("active", active))
    }

    package func completion(_ object: KubernetesObject) -> Completion? {
        if object.isTrue("Failed") { return .failed }
        return object.isTrue("Succeeded") ? .succeeded : nil
    }

    package func podTemplates(_ object: KubernetesObject) -> [PodTemplate] {
        (object["spec", .key(replicaSpecs)]?.object?.keys ?? []).compactMap { role in
            object.podTemplate(at: ["spec", .key(replicaSpecs), .key(role), "template"])
        }
    }

    package func podSelectors(_ object: KubernetesObject) throws(WorkloadError) -> [LabelSelector] {
        [LabelSelector(matching: ["training.kubeflow.org/job-name": object.name])]
    }

    package func findings(_ object: KubernetesObject) -> [WorkloadFinding] {
        var findings: [WorkloadFinding] = []
        if let seconds = object["spec", "runPolicy", "ttlSecondsAfterFinished"]?.int64 {
            findings.append(.deletesItself(object, seconds))
        }
        let own: Set = ["kubeflow.org/training-operator", "kubeflow.org/mpi-operator"]
        if let manager = object.text("spec", "runPolicy", "managedBy"), !own.contains(manager) {
            findings.append(.managedElsewhere(object, manager))
        }
        if object["spec", "elasticPolicy"]?.object != nil {
            findings.append(
                WorkloadFinding(
                    .warning, "rendezvous-is-lost",
                    "\(object.label) is elastic: the rendezvous of its pods is in their memory, so it goes on as a new run"
                ))
        }
        return findings
    }
}
