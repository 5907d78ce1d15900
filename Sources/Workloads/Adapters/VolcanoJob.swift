package import Kubernetes

/// Volcano jobs (1.15): stopped and resumed by Commands, for they have no field for it. Each resumption counts against
/// `spec.maxRetry`.
package struct VolcanoJob: WorkloadAdapter {
    package let kind = ResourceKind(group: "batch.volcano.sh", version: "v1alpha1", kind: "Job", resource: "jobs")

    package init() {}

    package func stop(_ object: KubernetesObject) -> StopMethod {
        .command(stop: command("AbortJob", object), resume: command("ResumeJob", object))
    }

    private func command(_ action: String, _ object: KubernetesObject) -> KubernetesObject {
        let owner = OwnerReference(
            apiVersion: kind.groupVersionKind.apiVersion, kind: kind.kind, name: object.name, uid: object.uid,
            isController: true)
        var command = KubernetesObject(
            ResourceKind.volcanoCommand.groupVersionKind, namespace: object.namespace, name: "")
        command.generateName = "becalm-"
        command.ownerReferences = [owner]
        // Members of the top level, which a new object takes whatever its kind.
        for (key, value) in [("action", JSONValue.string(action)), ("target", owner.json)] {
            do throws(JSONPathError) {
                try command.set(value, at: JSONPath([.key(key)]))
            } catch {
                preconditionFailure("\(error)")
            }
        }
        return command
    }

    package func standing(_ object: KubernetesObject) -> Standing? {
        switch object.text("status", "state", "phase") {
        // Entered when nothing is pending, running or terminating any more.
        case "Aborted", "Completed", "Terminated", "Failed": .stopped
        case "Aborting": .stopping("\(object.count("status", "terminating")) terminating")
        default: .running
        }
    }

    package func completion(_ object: KubernetesObject) -> Completion? {
        switch object.text("status", "state", "phase") {
        case "Completed": .succeeded
        case "Failed", "Terminated": .failed
        default: nil
        }
    }

    package func podTemplates(_ object: KubernetesObject) -> [PodTemplate] {
        object.podTemplates(in: ["spec", "tasks"], ["template"])
    }

    package func podSelectors(_ object: KubernetesObject) throws(WorkloadError) -> [LabelSelector] {
        [LabelSelector(matching: ["volcano.sh/job-name": object.name])]
    }

    package func strip(_ object: inout KubernetesObject) {
        // The admission takes a claim by name or by template, not both, as the controller writes them down.
        guard var volumes = object["spec", "volumes"]?.array else { return }
        for index in volumes.indices where volumes[index]["volumeClaimName"]?.string?.isEmpty == false {
            volumes[index].remove(at: ["volumeClaim"])
        }
        do throws(JSONPathError) {
            try object.set(.array(volumes), at: ["spec", "volumes"])
        } catch {
            preconditionFailure("a list was there")
        }
    }

    package func claims(_ object: KubernetesObject) -> [ClaimReference] {
        // The controller writes the names of claims that it makes back into the spec, and takes those that are there.
        (object["spec", "volumes"]?.array ?? []).compactMap { volume in
            guard let name = volume["volumeClaimName"]?.string, !name.isEmpty else { return nil }
            return ClaimReference(name, volume["volumeClaim"]?.object == nil ? .named : .template)
        }
    }

    package func references(_ object: KubernetesObject) -> [ObjectReference] {
        // `default` is made by Volcano itself.
        guard let name = object.text("spec", "queue"), name != "default" else { return [] }
        return [ObjectReference(.volcanoQueue, namespace: "", name: name, role: .queue)]
    }

    package func findings(_ object: KubernetesObject) -> [WorkloadFinding] {
        var findings: [WorkloadFinding] = []
        if let seconds = object["spec", "ttlSecondsAfterFinished"]?.int64 {
            findings.append(.deletesItself(object, seconds))
        }
        let retries = object["spec", "maxRetry"]?.int64 ?? 3
        let count = object.count("status", "retryCount")
        if retries > 0, count + 1 >= retries {
            findings.append(
                WorkloadFinding(
                    .refusal, "retries-used-up",
                    "\(object.label) was restarted \(count) of \(retries) times (spec.maxRetry): resuming it counts as one "
                        + "more and would end it; it cannot be stopped for a backup"))
        }
        return findings
    }
}
