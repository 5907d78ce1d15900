package import Kubernetes

/// Prefill and decode side by side (LWS 0.10): a LeaderWorkerSet for each role. The server takes no mix of roles with and
/// without replicas, so all of them are stopped in one change; a role that an autoscaler drives has its number elsewhere.
package struct DisaggregatedSet: WorkloadAdapter {
    package let kind = ResourceKind(
        group: "disaggregatedset.x-k8s.io", kind: "DisaggregatedSet", resource: "disaggregatedsets")
    package let runsToCompletion = false

    package init() {}

    private func roles(_ object: KubernetesObject, areExternal: Bool) -> [String] {
        (object["spec", "roles"]?.array ?? [])
            .filter { ($0["scaling", "mode"]?.string == "External") == areExternal }
            .compactMap { $0["name"]?.string }.filter { !$0.isEmpty }
    }

    package func stop(_ object: KubernetesObject) -> StopMethod {
        let roles = roles(object, areExternal: false)
        guard !roles.isEmpty else {
            return .impossible("an autoscaler drives all of its roles; scale those to 0, then go on")
        }
        return .fields(
            roles.map { role in
                let path = FieldPath([
                    .key("spec"), .key("roles"), .element(key: "name", value: role), .key("spec"), .key("replicas"),
                ])
                return FieldSetting(path, 0)
            })
    }

    package func standing(_ object: KubernetesObject) -> Standing? {
        let isAsked = (object["spec", "roles"]?.array ?? [])
            .filter { $0["scaling", "mode"]?.string != "External" }
            .allSatisfy { $0["spec", "replicas"]?.int64 == 0 }
        let replicas = (object["status", "roleStatuses"]?.array ?? []).reduce(0) { $0 + ($1["replicas"]?.int64 ?? 0) }
        return object.standing(isAsked: isAsked, ("groups", replicas))
    }

    package func podTemplates(_ object: KubernetesObject) -> [PodTemplate] {
        (object["spec", "roles"]?.array ?? []).indices.flatMap { index in
            LeaderWorkerSet.podTemplates(object, ["spec", "roles", .index(index), "spec"])
        }
    }

    package func podSelectors(_ object: KubernetesObject) throws(WorkloadError) -> [LabelSelector] {
        [LabelSelector(matching: ["disaggregatedset.x-k8s.io/name": object.name])]
    }

    package func findings(_ object: KubernetesObject) -> [WorkloadFinding] {
        var findings: [WorkloadFinding] = []
        let external = roles(object, areExternal: true)
        if !external.isEmpty {
            findings.append(
                WorkloadFinding(
                    .refusal, "autoscaler",
                    "\(object.label) has roles that an autoscaler drives (\(external.joined(separator: ", "))): scale their "
                        + "DisaggregatedSetRoleScaler to 0 first"))
        }
        for role in object["spec", "roles"]?.array ?? [] {
            findings += LeaderWorkerSet.findings(object, role["spec", "leaderWorkerTemplate"])
        }
        return findings
    }
}
