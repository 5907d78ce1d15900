package import Kubernetes

/// Ray jobs (KubeRay 1.7): a RayCluster that is made for the job and goes with it. Suspending deletes the cluster;
/// resuming starts the entrypoint from its beginning in a new one.
package struct RayJob: WorkloadAdapter {
    package let kind = ResourceKind(group: "ray.io", kind: "RayJob", resource: "rayjobs")

    package init() {}

    package func stop(_ object: KubernetesObject) -> StopMethod {
        if object["spec", "clusterSelector"]?.object?.isEmpty == false {
            return .impossible(
                "it runs on a RayCluster that it did not make (clusterSelector), and KubeRay cannot suspend that; suspend "
                    + "the RayCluster")
        }
        // KubeRay takes the one only with the other.
        if let strategy = forbidsShutdown(object) {
            return .impossible(
                "KubeRay suspends only what has shutdownAfterJobFinishes, which it does not take beside \(strategy): set "
                    + "shutdownAfterJobFinishes in its place")
        }
        return .fields([
            FieldSetting(FieldPath("spec", "suspend"), true),
            FieldSetting(FieldPath("spec", "shutdownAfterJobFinishes"), true),
        ])
    }

    /// What KubeRay (1.6, `validateDeletionConfiguration`) refuses beside `shutdownAfterJobFinishes`; nil for nothing. It sets
    /// the status ValidationFailed then, which a RayJob never leaves.
    private func forbidsShutdown(_ object: KubernetesObject) -> String? {
        let strategy = object["spec", "deletionStrategy"]
        if strategy?["deletionRules"]?.array?.isEmpty == false { return "deletionStrategy.deletionRules" }
        let legacy = ["onSuccess", "onFailure"].first { strategy?[.key($0), "policy"]?.string == "DeleteNone" }
        return legacy.map { "deletionStrategy.\($0) DeleteNone" }
    }

    package func standing(_ object: KubernetesObject) -> Standing? {
        switch object.text("status", "jobDeploymentStatus") {
        // Comes when the cluster and the submitter are gone.
        case "Suspended", "Complete", "Failed": .stopped
        case "Suspending": .stopping("the Ray cluster is being deleted")
        default: .running
        }
    }

    package func completion(_ object: KubernetesObject) -> Completion? {
        switch object.text("status", "jobDeploymentStatus") {
        case "Failed": .failed
        case "Complete": object.text("status", "jobStatus") == "SUCCEEDED" ? .succeeded : .failed
        default: nil
        }
    }

    package func podTemplates(_ object: KubernetesObject) -> [PodTemplate] {
        RayTemplates.podTemplates(object, ["spec", "rayClusterSpec"])
            + (object.podTemplate(at: ["spec", "submitterPodTemplate"]).map { [$0] } ?? [])
    }

    package func podSelectors(_ object: KubernetesObject) throws(WorkloadError) -> [LabelSelector] {
        // The submitter is a Job of the same name.
        [LabelSelector(matching: ["job-name": object.name])]
            + RayTemplates.selectors([object.text("status", "rayClusterName")])
    }

    package func claims(_ object: KubernetesObject) -> [ClaimReference] {
        RayTemplates.claims(object, ["spec", "rayClusterSpec"])
    }

    package func references(_ object: KubernetesObject) -> [ObjectReference] {
        RayTemplates.references(object, ["spec", "rayClusterSpec"])
    }

    package func findings(_ object: KubernetesObject) -> [WorkloadFinding] {
        var findings = RayTemplates.findings(object, ["spec", "rayClusterSpec"], manager: ["spec", "managedBy"])
        if case .impossible(let reason) = stop(object) {
            findings.append(WorkloadFinding(.refusal, "cannot-be-stopped", "\(object.label): \(reason)"))
        }
        findings.append(
            WorkloadFinding(
                .warning, "resumes-from-its-beginning",
                "\(object.label) starts its entrypoint anew when it goes on: only its own checkpoints carry it further")
        )
        if let seconds = object["spec", "ttlSecondsAfterFinished"]?.int64,
            object.isOn("spec", "shutdownAfterJobFinishes")
        {
            findings.append(.deletesItself(object, seconds))
        }
        return findings
    }

    package func restoreRemarks(_ object: KubernetesObject) -> [String] {
        RayTemplates.restoreRemarks(object, ["spec", "rayClusterSpec"])
    }

    package func strip(_ object: inout KubernetesObject) {
        object.finalizers.removeAll { $0 == "ray.io/rayjob-finalizer" }
    }
}

/// What the three kinds of Ray share: a cluster's description.
enum RayTemplates {
    /// The templates of the cluster described at `path`.
    static func podTemplates(_ object: KubernetesObject, _ path: JSONPath) -> [PodTemplate] {
        let head = object.podTemplate(at: JSONPath(path.elements + ["headGroupSpec", "template"]))
        return (head.map { [$0] } ?? []) + object.podTemplates(in: path.appending("workerGroupSpecs"), ["template"])
    }

    /// The pods of clusters of these names.
    static func selectors(_ names: [String?]) -> [LabelSelector] {
        names.compactMap { $0 }.map { LabelSelector(matching: ["ray.io/cluster": $0]) }
    }

    /// The claim of the head's own store.
    static func claims(_ object: KubernetesObject, _ path: JSONPath) -> [ClaimReference] {
        let way: JSONPath = ["gcsFaultToleranceOptions", "storage", "claimName"]
        guard let name = object[JSONPath(path.elements + way.elements)]?.string, !name.isEmpty else { return [] }
        return [ClaimReference(name, .named)]
    }

    /// The secrets of its token and of its store.
    static func references(_ object: KubernetesObject, _ path: JSONPath) -> [ObjectReference] {
        let store = object[path.appending("gcsFaultToleranceOptions")]
        let credentials = ["redisUsername", "redisPassword"].map { store?[.key($0), "valueFrom", "secretKeyRef"] }
        let token = object[JSONPath(path.elements + ["authOptions", "secretName"])]
        var references: [ObjectReference] = []
        for (name, source) in [(token, nil)] + credentials.map({ ($0?["name"], $0) }) {
            guard let name = name?.string, !name.isEmpty else { continue }
            references.append(
                ObjectReference(
                    .secret, namespace: object.namespace, name: name, role: .secret,
                    isOptional: source?["optional"]?.bool == true))
        }
        return references
    }

    /// What a copy shares with the cluster that it was made of: a store outside of it, by a name that the user gave (without
    /// one it is the cluster's uid).
    static func restoreRemarks(_ object: KubernetesObject, _ path: JSONPath) -> [String] {
        let field: JSONPath = ["gcsFaultToleranceOptions", "externalStorageNamespace"]
        let name =
            object[JSONPath(path.elements + field.elements)]?.string
            ?? object.annotations["ray.io/external-storage-namespace"]
        guard let name, !name.isEmpty else { return [] }
        return [
            "\(object.label) keeps its state in Redis under the name \(name) (externalStorageNamespace), as the one that was backed up does: give it another one before both run"
        ]
    }

    /// What acts on the cluster beside its owner.
    static func findings(_ object: KubernetesObject, _ path: JSONPath, manager: JSONPath) -> [WorkloadFinding] {
        var findings: [WorkloadFinding] = []
        if object[path.appending("enableInTreeAutoscaling")]?.bool == true {
            findings.append(
                WorkloadFinding(
                    .warning, "autoscaler",
                    "\(object.label) is scaled by Ray's autoscaler: its worker groups come back with the numbers in its spec"
                ))
        }
        if let name = object[manager]?.string, !name.isEmpty, name != "ray.io/kuberay-operator" {
            findings.append(.managedElsewhere(object, name))
        }
        return findings
    }
}
