package import Kubernetes

/// Groups of a leader with its workers (LWS 0.10): stopped by no replicas. A group is a pod `SET-GROUP` and a StatefulSet
/// of that name whose pods count from 1.
package struct LeaderWorkerSet: WorkloadAdapter {
    package let kind = ResourceKind(
        group: "leaderworkerset.x-k8s.io", kind: "LeaderWorkerSet", resource: "leaderworkersets")
    package let runsToCompletion = false

    package init() {}

    package func stop(_ object: KubernetesObject) -> StopMethod {
        .fields([FieldSetting(FieldPath("spec", "replicas"), 0)])
    }

    package func standing(_ object: KubernetesObject) -> Standing? {
        object.standing(
            isAsked: object["spec", "replicas"]?.int64 == 0, ("groups", object.count("status", "replicas")))
    }

    /// The two templates of the set that is described at `path`.
    static func podTemplates(_ object: KubernetesObject, _ path: JSONPath) -> [PodTemplate] {
        ["leaderTemplate", "workerTemplate"].compactMap {
            object.podTemplate(at: JSONPath(path.elements + ["leaderWorkerTemplate", .key($0)]))
        }
    }

    package func podTemplates(_ object: KubernetesObject) -> [PodTemplate] { Self.podTemplates(object, ["spec"]) }

    package func podSelectors(_ object: KubernetesObject) throws(WorkloadError) -> [LabelSelector] {
        [LabelSelector(matching: ["leaderworkerset.sigs.k8s.io/name": object.name])]
    }

    package func claims(_ object: KubernetesObject) -> [ClaimReference] {
        let templates = object["spec", "leaderWorkerTemplate", "volumeClaimTemplates"]?.array ?? []
        let size = max(1, object["spec", "leaderWorkerTemplate", "size"]?.int64 ?? 1)
        let groups = ClaimTemplates.replicas(object)
        var pods: [String] = []
        for group in 0..<groups where pods.count < ClaimTemplates.mostPods {
            pods.append("\(object.name)-\(group)")
            let left = Int64(ClaimTemplates.mostPods - pods.count)
            for worker in 0..<max(0, min(size - 1, left)) { pods.append("\(object.name)-\(group)-\(worker + 1)") }
        }
        return ClaimTemplates.claims(templates, pods)
    }

    package func findings(_ object: KubernetesObject) -> [WorkloadFinding] {
        Self.findings(object, object["spec", "leaderWorkerTemplate"])
    }

    /// The traps of the claims of groups. The workers of a group are a StatefulSet that belongs to the leader's pod and has
    /// the same policy (`constructWorkerStatefulSetApplyConfiguration`): without replicas the leader goes, its StatefulSet with it,
    /// and by `whenDeleted` the workers' claims.
    static func findings(_ object: KubernetesObject, _ template: JSONValue?) -> [WorkloadFinding] {
        let (policy, templates) = (template?["persistentVolumeClaimRetentionPolicy"], template?["volumeClaimTemplates"])
        var findings = ClaimTemplates.findings(object, policy, templates)
        if templates?.array?.isEmpty == false, template?["size"]?.int64 ?? 1 > 1,
            policy?["whenDeleted"]?.string == "Delete", policy?["whenScaled"]?.string != "Delete"
        {
            findings.insert(
                WorkloadFinding(
                    .refusal, "claims-deleted-on-scale",
                    "\(object.label) deletes the claims of its workers when it is scaled to 0 (persistentVolumeClaimRetentionPolicy."
                        + "whenDeleted Delete: their StatefulSet is deleted with the leader), so stopping it would delete their data; "
                        + "set Retain first"), at: 0)
        }
        return findings
    }
}

/// What StatefulSets and what is made of them share: a claim of each template for each pod.
enum ClaimTemplates {
    /// Pods whose claims are named at most, so that a number in an object does not decide on our memory.
    static let mostPods = 10_000

    /// How many replicas are wanted: those noted when we set the number, else those of the spec, else 1.
    static func replicas(_ object: KubernetesObject) -> Int {
        let path = FieldPath("spec", "replicas")
        var wanted = object["spec", "replicas"]?.int64 ?? 1
        for annotation in [BecalmAnnotation.quiesced, BecalmAnnotation.gated] {
            // One that cannot be read is told by whoever releases the object.
            guard let held = try? HeldFields(of: object, annotation: annotation),
                let field = held.fields.first(where: { $0.path == path })
            else { continue }
            wanted = field.was?.int64 ?? 1
        }
        return Int(max(0, min(wanted, Int64(mostPods))))
    }

    static func claims(_ templates: [JSONValue], _ pods: [String]) -> [ClaimReference] {
        templates.compactMap { $0["metadata", "name"]?.string }.flatMap { template in
            pods.map { ClaimReference("\(template)-\($0)", .template) }
        }
    }

    /// The traps of a retention policy.
    static func findings(
        _ object: KubernetesObject, _ policy: JSONValue?, _ templates: JSONValue?
    ) -> [WorkloadFinding] {
        guard templates?.array?.isEmpty == false else { return [] }
        var findings: [WorkloadFinding] = []
        if policy?["whenScaled"]?.string == "Delete" {
            findings.append(
                WorkloadFinding(
                    .refusal, "claims-deleted-on-scale",
                    "\(object.label) deletes its claims when it is scaled down (persistentVolumeClaimRetentionPolicy."
                        + "whenScaled Delete), so stopping it would delete its data; set Retain first"))
        }
        if policy?["whenDeleted"]?.string == "Delete" {
            findings.append(
                WorkloadFinding(
                    .warning, "claims-deleted-with-owner",
                    "\(object.label) deletes its claims when it is deleted (persistentVolumeClaimRetentionPolicy."
                        + "whenDeleted Delete): set Retain before it is deleted to be restored"))
        }
        return findings
    }
}
