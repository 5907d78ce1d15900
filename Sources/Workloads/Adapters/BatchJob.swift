package import Kubernetes

/// Jobs of Kubernetes itself (1.20 to 1.37): stopped by `spec.suspend`, or by `spec.parallelism: 0` where the server has
/// no such field (before 1.21).
package struct BatchJob: WorkloadAdapter {
    package let kind = ResourceKind(group: "batch", kind: "Job", resource: "jobs")
    /// Whether the server knows `spec.suspend`.
    package var servesSuspend: Bool

    package init(servesSuspend: Bool = true) { self.servesSuspend = servesSuspend }

    package func stop(_ object: KubernetesObject) -> StopMethod {
        servesSuspend
            ? .fields([FieldSetting(FieldPath("spec", "suspend"), true)])
            : .fields([FieldSetting(FieldPath("spec", "parallelism"), 0)])
    }

    package func standing(_ object: KubernetesObject) -> Standing? {
        // The condition comes while pods still end; the counter of those is missing before 1.28.
        let isAsked = object.isTrue("Suspended") || object["spec", "parallelism"]?.int64 == 0
        return object.standing(
            isAsked: isAsked, ("active", object.count("status", "active")),
            ("terminating", object.count("status", "terminating")))
    }

    package func completion(_ object: KubernetesObject) -> Completion? {
        if object.isTrue("Failed") { return .failed }
        return object.isTrue("Complete") || object.text("status", "completionTime") != nil ? .succeeded : nil
    }

    package func podTemplates(_ object: KubernetesObject) -> [PodTemplate] {
        object.podTemplate(at: ["spec", "template"]).map { [$0] } ?? []
    }

    package func podSelectors(_ object: KubernetesObject) throws(WorkloadError) -> [LabelSelector] {
        try object.selectors("spec", "selector")
    }

    package func findings(_ object: KubernetesObject) -> [WorkloadFinding] {
        var findings: [WorkloadFinding] = []
        if let seconds = object["spec", "ttlSecondsAfterFinished"]?.int64 {
            findings.append(.deletesItself(object, seconds))
        }
        if let finding = workQueue(object) { findings.append(finding) }
        let policy = object.text("spec", "podReplacementPolicy") ?? "TerminatingOrFailed"
        if policy != "Failed", object["spec", "podFailurePolicy"] == nil {
            findings.append(
                WorkloadFinding(
                    .warning, "pods-may-overlap",
                    "\(object.label) starts new pods while old ones still end (podReplacementPolicy \(policy)), so two may "
                        + "write to one volume; set it to Failed"))
        }
        return findings
    }

    /// A Job that pods work off as a queue has no `completions` (the server sets them unless `parallelism` alone is given). It is
    /// complete once a pod has succeeded and none is active, suspended or not (`syncJob`), and then nothing resumes it.
    private func workQueue(_ object: KubernetesObject) -> WorkloadFinding? {
        guard object["spec", "completions"]?.int64 == nil, object["spec", "parallelism"]?.int64 != nil else {
            return nil
        }
        let uncounted = object["status", "uncountedTerminatedPods", "succeeded"]?.array?.count ?? 0
        guard object.count("status", "succeeded") > 0 || uncounted > 0 else {
            return WorkloadFinding(
                .warning, "work-queue",
                "\(object.label) has no completions: should a pod end with success when it is stopped, the whole Job is complete, and "
                    + "is not resumed")
        }
        return WorkloadFinding(
            .refusal, "work-queue",
            "\(object.label) has no completions and a pod of it has succeeded, so it is complete as soon as its other pods are "
                + "stopped: what these do would be lost, and nothing resumes it; let them finish, or have it backed up while it runs "
                + "(consistency checkpoint)")
    }

    /// Labels that the server makes of the Job's name and uid, on the Job's template and, of old, on the Job.
    static let generatedLabels = [
        "controller-uid", "batch.kubernetes.io/controller-uid", "job-name", "batch.kubernetes.io/job-name",
    ]

    package func strip(_ object: inout KubernetesObject) {
        object.removeAnnotation("batch.kubernetes.io/job-tracking")
        // With a selector of the user's own, all of this is the user's own.
        if object.isOn("spec", "manualSelector") { return }
        object.remove(at: ["spec", "selector"])
        object.removeLabels(at: ["metadata"], Self.generatedLabels)
        object.removeLabels(at: ["spec", "template", "metadata"], Self.generatedLabels)
    }
}

extension WorkloadFinding {
    /// The object goes away by itself when it is done.
    static func deletesItself(_ object: KubernetesObject, _ seconds: Int64) -> WorkloadFinding {
        WorkloadFinding(
            .warning, "deletes-itself",
            "\(object.label) is deleted \(seconds) s after it is done (ttlSecondsAfterFinished), with what it owns")
    }

    /// Another cluster or controller acts on the object.
    static func managedElsewhere(_ object: KubernetesObject, _ manager: String) -> WorkloadFinding {
        WorkloadFinding(
            .refusal, "managed-elsewhere",
            "\(object.label) is managed by \(manager), so stopping it here has no effect; do it where it is managed")
    }
}

extension KubernetesObject {
    /// Removes labels of the metadata at `path`, and the maps that become empty by it.
    mutating func removeLabels(at path: JSONPath, _ keys: [String]) {
        removeMembers(of: path.appending("labels"), where: { keys.contains($0) })
    }

    /// Removes the members of the map at `path` whose keys are meant, and the map if that empties it.
    mutating func removeMembers(of path: JSONPath, where isMeant: (String) -> Bool) {
        guard let keys = self[path]?.object?.keys.filter(isMeant), !keys.isEmpty else { return }
        for key in keys { remove(at: path.appending(.key(key))) }
        if self[path]?.object?.isEmpty == true { remove(at: path) }
    }

    /// Removes the elements of the list at `path` that are meant, and the list if that empties it.
    mutating func removeElements(of path: JSONPath, where isMeant: (JSONValue) -> Bool) {
        guard let elements = self[path]?.array else { return }
        for index in elements.indices.reversed() where isMeant(elements[index]) {
            remove(at: path.appending(.index(index)))
        }
        if !elements.isEmpty, self[path]?.array?.isEmpty == true { remove(at: path) }
    }
}
