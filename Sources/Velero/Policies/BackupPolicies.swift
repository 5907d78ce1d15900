internal import Kubernetes
internal import Workloads

/// The volume policies of one backup, asked about claims of the cluster.
struct BackupPolicies: Sendable {
    private let environment: PluginEnvironment
    private let policies: VolumePolicies

    /// Reads them; nil for a backup that has none. Throws when those that it names cannot be read.
    init?(of backup: VeleroBackup, _ environment: PluginEnvironment) async throws(VeleroError) {
        guard let reference = backup.resourcePolicy, reference.kind.lowercased() == "configmap" else { return nil }
        let namespace = backup.namespace.isEmpty ? environment.namespace : backup.namespace
        let place = ResourceIdentifier(.configMap, namespace: namespace, name: reference.name)
        guard let map = try await environment.cluster.object(place) else {
            throw VeleroError(
                .notFound,
                "the volume policies of backup \(backup.name) cannot be read: there is no ConfigMap \(namespace)/\(reference.name)"
            )
        }
        policies = try VolumePolicies(map)
        self.environment = environment
    }

    /// What they say of a claim and its volume.
    func decide(_ claim: KubernetesObject) async throws(VeleroError) -> VolumePolicies.Decision {
        var volume: KubernetesObject?
        if let name = claim["spec", "volumeName"]?.string, !name.isEmpty {
            volume = try await environment.cluster.object(
                ResourceIdentifier(.persistentVolume, namespace: "", name: name))
        }
        return policies.decide(VolumeFacts(claim: claim, volume: volume))
    }
}
