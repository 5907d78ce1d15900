package import Kubernetes

/// Groups of Jobs that run as one (JobSet 0.12): stopped by `spec.suspend`. Its condition comes right after its Jobs were
/// told; its counters count them.
package struct JobSet: WorkloadAdapter {
    package let kind = ResourceKind(
        group: "jobset.x-k8s.io", version: "v1alpha2", kind: "JobSet", resource: "jobsets")

    package init() {}

    package func stop(_ object: KubernetesObject) -> StopMethod {
        .fields([FieldSetting(FieldPath("spec", "suspend"), true)])
    }

    package func standing(_ object: KubernetesObject) -> Standing? {
        let jobs = object["status", "replicatedJobsStatus"]?.array ?? []
        let active = jobs.reduce(0) { $0 + ($1["active"]?.int64 ?? 0) }
        return object.standing(isAsked: object.isTrue("Suspended"), ("jobs active", active))
    }

    package func completion(_ object: KubernetesObject) -> Completion? {
        if object.isTrue("Failed") { return .failed }
        return object.isTrue("Completed") ? .succeeded : nil
    }

    package func podTemplates(_ object: KubernetesObject) -> [PodTemplate] {
        object.podTemplates(in: ["spec", "replicatedJobs"], ["template", "spec", "template"])
    }

    package func podSelectors(_ object: KubernetesObject) throws(WorkloadError) -> [LabelSelector] {
        [LabelSelector(matching: ["jobset.sigs.k8s.io/jobset-name": object.name])]
    }

    private func policies(_ object: KubernetesObject) -> [JSONValue] {
        object["spec", "volumeClaimPolicies"]?.array ?? []
    }

    package func claims(_ object: KubernetesObject) -> [ClaimReference] {
        policies(object).flatMap { $0["templates"]?.array ?? [] }.compactMap { template in
            template["metadata", "name"]?.string.map { ClaimReference("\($0)-\(object.name)", .template) }
        }
    }

    package func findings(_ object: KubernetesObject) -> [WorkloadFinding] {
        var findings: [WorkloadFinding] = []
        // Delete is the default, which a webhook writes out.
        let deletes = policies(object).contains {
            !($0["templates"]?.array ?? []).isEmpty
                && $0["retentionPolicy", "whenDeleted"]?.string ?? "Delete" == "Delete"
        }
        if deletes {
            findings.append(
                WorkloadFinding(
                    .refusal, "claims-deleted-with-owner",
                    "\(object.label) deletes its claims when it is deleted (retentionPolicy.whenDeleted Delete, the "
                        + "default): set Retain before it is deleted to be restored"))
        }
        if let seconds = object["spec", "ttlSecondsAfterFinished"]?.int64 {
            findings.append(.deletesItself(object, seconds))
        }
        if let manager = object.text("spec", "managedBy"), manager != "jobset.sigs.k8s.io/jobset-controller" {
            findings.append(.managedElsewhere(object, manager))
        }
        return findings
    }
}
