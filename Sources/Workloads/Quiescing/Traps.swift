internal import Kubernetes

/// Traps that only a look at the cluster shows, beside those that a workload's own object tells of.
struct Traps: Sendable {
    let client: KubernetesClient
    let live: LiveWorkload

    /// All of them, the object's own first.
    func findings() async throws -> [WorkloadFinding] {
        try await live.workload.findings + owners() + scalers() + sharedClaims()
    }

    /// What manages the object puts back what is changed in it.
    private func owners() async throws -> [WorkloadFinding] {
        guard let owner = live.object.controller else { return [] }
        let kind = GroupVersionKind(apiVersion: owner.apiVersion, kind: owner.kind)
        guard let adapter = WorkloadCatalog.standard.adapter(group: kind.group, kind: kind.kind) else { return [] }
        return [
            WorkloadFinding(
                .refusal, "owned",
                "\(live.object.label) belongs to \(owner.kind) \(owner.name), which puts back what is changed in it: name \(live.namespace)/\(adapter.kind.groupResource)/\(owner.name) instead"
            )
        ]
    }

    /// KEDA puts replicas back within seconds; a HorizontalPodAutoscaler leaves none alone (`ScalingActive` is false at 0).
    private func scalers() async throws -> [WorkloadFinding] {
        guard let resource = try await client.resource(group: "keda.sh", kind: "ScaledObject") else { return [] }
        return try await client.list(resource, namespace: live.namespace).items.compactMap { scaler in
            let target = scaler["spec", "scaleTargetRef"]
            let kind = target?["kind"]?.string ?? "Deployment"
            guard kind == live.workload.kind.kind, target?["name"]?.string == live.object.name else { return nil }
            let annotations = scaler.annotations
            let isPaused =
                annotations["autoscaling.keda.sh/paused-replicas"] == "0"
                || annotations["autoscaling.keda.sh/paused"] == "true"
            if isPaused { return nil }
            return WorkloadFinding(
                .refusal, "autoscaler",
                "\(live.object.label) is scaled by KEDA's \(scaler.label), which starts it again: pause that first (annotation autoscaling.keda.sh/paused: \"true\")"
            )
        }
    }

    /// Others that may write to its volumes while they are taken.
    private func sharedClaims() async throws -> [WorkloadFinding] {
        let claims = Set(try await live.claims())
        guard !claims.isEmpty else { return [] }
        let pods = try await client.list(.pods, namespace: live.namespace).items
        let own = Set(try await live.ownership().pods(of: pods).map(\.uid))
        return pods.compactMap { pod in
            guard !own.contains(pod.uid), pod.labels[BecalmAnnotation.run] == nil, pod.mayRun,
                let claim = Self.written(by: pod, among: claims)
            else { return nil }
            return WorkloadFinding(
                .refusal, "claim-shared",
                "\(pod.label) is none of \(live.object.label)'s and may write to its claim \(claim): stop it too, mount the claim read-only there, or go on with --override claim-shared"
            )
        }
    }

    /// The first of `claims` that a pod mounts and may write to.
    private static func written(by pod: KubernetesObject, among claims: Set<String>) -> String? {
        let mounts = ["initContainers", "containers"].flatMap { pod["spec", .key($0)]?.array ?? [] }
            .flatMap { $0["volumeMounts"]?.array ?? [] }
        for volume in pod["spec", "volumes"]?.array ?? [] {
            guard let claim = volume["persistentVolumeClaim", "claimName"]?.string, claims.contains(claim),
                volume["persistentVolumeClaim", "readOnly"]?.bool != true, let name = volume["name"]?.string
            else { continue }
            if mounts.contains(where: { $0["name"]?.string == name && $0["readOnly"]?.bool != true }) { return claim }
        }
        return nil
    }
}
