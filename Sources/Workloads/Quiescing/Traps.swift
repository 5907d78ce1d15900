internal import Kubernetes

/// Traps that only a look at the cluster shows, beside those that a workload's own object tells of.
struct Traps: Sendable {
    let client: KubernetesClient
    let live: LiveWorkload

    /// All of them: the object's own first, then those of what is stopped in its place or with it.
    func findings() async throws -> [WorkloadFinding] {
        var findings = try await deployed(live.workload.findings) + owners()
        let parts = try await StopPlan(client).parts(of: live)
        findings += parts.flatMap(\.workload.findings)
        return try await findings + scalers(of: [live] + parts) + sharedClaims()
    }

    // MARK: Who puts things back

    /// The findings with what the GitOps tool's own object says of it, where that may be read: it may be suspended, and one that
    /// does not heal itself changes things only when it is told to.
    private func deployed(_ findings: [WorkloadFinding]) async throws -> [WorkloadFinding] {
        guard let deployer = Deployer(of: live.object), let object = try await object(of: deployer) else {
            return findings
        }
        let heals: Bool
        switch deployer.tool {
        case .argo:
            if object.annotations["argocd.argoproj.io/skip-reconcile"] == "true" { return findings.without("gitops") }
            let automated = object["spec", "syncPolicy", "automated"]
            heals = automated?["selfHeal"]?.bool == true && automated?["enabled"]?.bool != false
        case .kustomize, .helm:
            if object.isOn("spec", "suspend") { return findings.without("gitops") }
            heals = deployer.tool == .kustomize || object.text("spec", "driftDetection", "mode") == "enabled"
        }
        guard !heals else { return findings }
        return findings.map { finding in
            guard finding.code == "gitops" else { return finding }
            return WorkloadFinding(
                .warning, "gitops",
                "\(live.object.label) is deployed by \(deployer.tool.rawValue)'s \(object.label), which starts it again when it deploys it anew while it is stopped"
            )
        }
    }

    /// The tool's object that deploys; nil where it is not there or may not be read.
    private func object(of deployer: Deployer) async throws(KubernetesError) -> KubernetesObject? {
        let (group, kind) =
            switch deployer.tool {
            case .argo: ("argoproj.io", "Application")
            case .kustomize: ("kustomize.toolkit.fluxcd.io", "Kustomization")
            case .helm: ("helm.toolkit.fluxcd.io", "HelmRelease")
            }
        do throws(KubernetesError) {
            guard let resource = try await client.resource(group: group, kind: kind) else { return nil }
            guard deployer.namespace.isEmpty else {
                return try await client.find(resource, namespace: deployer.namespace, name: deployer.name)
            }
            let named = try await client.list(resource, namespace: "").items.filter { $0.name == deployer.name }
            return named.count == 1 ? named[0] : nil
        } catch {
            guard error.code == .forbidden else { throw error }
            return nil
        }
    }

    /// What manages the object puts back what is changed in it.
    private func owners() async throws -> [WorkloadFinding] {
        guard let owner = live.object.controller else { return [] }
        let kind = GroupVersionKind(apiVersion: owner.apiVersion, kind: owner.kind)
        guard let adapter = WorkloadCatalog.standard.adapter(group: kind.group, kind: kind.kind) else {
            // A pod is not stopped anyway, and what Kueue admits is Kueue's to start and stop, whatever asked for it.
            let isLeftAlone = [Pod().kind, KueueWorkload().kind].contains(live.workload.kind)
            guard !isLeftAlone else { return [] }
            return [
                WorkloadFinding(
                    .refusal, "owned",
                    "\(live.object.label) belongs to \(owner.kind) \(owner.name) (\(owner.apiVersion)), which may put back what is changed in it within seconds: have that stop it, or keep that from acting first"
                )
            ]
        }
        return [
            WorkloadFinding(
                .refusal, "owned",
                "\(live.object.label) belongs to \(owner.kind) \(owner.name), which puts back what is changed in it: name \(live.namespace)/\(adapter.kind.groupResource)/\(owner.name) instead"
            )
        ]
    }

    /// KEDA puts replicas back within seconds; a HorizontalPodAutoscaler leaves none alone (`ScalingActive` is false at 0).
    private func scalers(of workloads: [LiveWorkload]) async throws -> [WorkloadFinding] {
        guard let resource = try await client.resource(group: "keda.sh", kind: "ScaledObject") else { return [] }
        return try await client.list(resource, namespace: live.namespace).items.compactMap { scaler in
            let target = scaler["spec", "scaleTargetRef"]
            let kind = target?["kind"]?.string ?? "Deployment"
            let scaled = workloads.first { $0.workload.kind.kind == kind && $0.object.name == target?["name"]?.string }
            guard let scaled else { return nil }
            let annotations = scaler.annotations
            let isPaused =
                annotations["autoscaling.keda.sh/paused-replicas"] == "0"
                || annotations["autoscaling.keda.sh/paused"] == "true"
            if isPaused { return nil }
            return WorkloadFinding(
                .refusal, "autoscaler",
                "\(scaled.object.label) is scaled by KEDA's \(scaler.label), which starts it again: pause that first (annotation autoscaling.keda.sh/paused: \"true\")"
            )
        }
    }

    // MARK: Who writes meanwhile

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

    /// The first of `claims` that a pod mounts, or has as a device, and may write to.
    private static func written(by pod: KubernetesObject, among claims: Set<String>) -> String? {
        let containers = ["initContainers", "containers", "ephemeralContainers"].flatMap {
            pod["spec", .key($0)]?.array ?? []
        }
        // Devices have no `readOnly` of their own.
        let mounts = containers.flatMap { ($0["volumeMounts"]?.array ?? []) + ($0["volumeDevices"]?.array ?? []) }
        for volume in pod["spec", "volumes"]?.array ?? [] {
            guard let claim = volume["persistentVolumeClaim", "claimName"]?.string, claims.contains(claim),
                volume["persistentVolumeClaim", "readOnly"]?.bool != true, let name = volume["name"]?.string
            else { continue }
            if mounts.contains(where: { $0["name"]?.string == name && $0["readOnly"]?.bool != true }) { return claim }
        }
        return nil
    }
}

extension [WorkloadFinding] {
    fileprivate func without(_ code: String) -> Self { filter { $0.code != code } }
}
