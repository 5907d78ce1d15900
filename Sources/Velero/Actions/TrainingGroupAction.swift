internal import Kubernetes
internal import Workloads

/// `becalm.io/training-group`: names what a workload, a pod or a claim belongs together with, so that Velero backs it up in
/// one block, between the same hooks. Velero follows the names on: from a pod to its Job, from there to its claims. What is to
/// stand still for the backup is stopped before (`BackupHolds`).
struct TrainingGroupAction: ItemBlockAction {
    let name = PluginName.trainingGroup
    private let environment: PluginEnvironment

    init(_ environment: PluginEnvironment) { self.environment = environment }

    private enum Secrets: String, CaseIterable { case include, exclude }

    /// What the ConfigMap says.
    private struct Settings {
        var resources: [String]
        var secrets: Secrets

        init(_ configuration: inout PluginConfiguration) throws(VeleroError) {
            resources = try configuration.list(
                "resources", default: WorkloadResources.quiesced + ["pods", "persistentvolumeclaims"])
            secrets = try configuration.choice("secrets", default: .include)
        }
    }

    private func settings(for use: PluginConfiguration.Use) async throws(VeleroError) -> Settings {
        try await PluginConfiguration.settings(name, environment, for: use) { (configuration) throws(VeleroError) in
            try Settings(&configuration)
        }
    }

    func appliesTo() async throws(VeleroError) -> ResourceSelector {
        ResourceSelector(resources: try await settings(for: .selection).resources)
    }

    func relatedItems(item: [UInt8], backup: [UInt8]) async throws(VeleroError) -> [ResourceIdentifier] {
        let object = try ActionItem.object(item)
        let settings = try await settings(for: .backup)
        // This is the first that Velero asks of an item: its own actions, which come before any plugin's, may cut snapshots
        // of a pod's claims next.
        try await BackupHolds(environment, for: .backup).take(object, try VeleroBackup(parsing: backup))
        guard let workload = WorkloadCatalog.standard.workload(object) else {
            // A claim is made by what owns it; whose pods mount it, Velero knows.
            return object.ownerReferences.compactMap { owner in
                guard !owner.name.isEmpty else { return nil }
                return WorkloadCatalog.standard.kind(of: owner).map {
                    ResourceIdentifier($0, namespace: object.namespace, name: owner.name)
                }
            }
        }
        return workload.references().filter { reference in
            // What may be missing would be a warning in every backup, and a kind that the cluster does not serve an error: a
            // queue's name may stand where there is no Kueue.
            !reference.isOptional && reference.role != .queue
                && (settings.secrets == .include || reference.role != .secret)
        }.map { ResourceIdentifier($0) }
    }
}

/// Resources that the actions are for unless their ConfigMaps say otherwise.
enum WorkloadResources {
    /// What a backup can bring to a standstill: workloads but for single pods, and what Kueue makes of them.
    static let quiesced = WorkloadCatalog.standard.adapters.map(\.kind)
        .filter { $0.group != ResourceKind.localQueue.group && $0 != Pod().kind }.map(\.groupResource)
    /// What a restore changes or leaves out.
    static let restored =
        quiesced + ["pods"]
        + [KueueWorkload().kind, .volcanoPodGroup, .volcanoCommand, .nodeClaim, .httpRoute].map(\.groupResource)
}

extension ResourceIdentifier {
    /// An object of a kind.
    init(_ kind: ResourceKind, namespace: String, name: String) {
        self.init(
            group: kind.group, resource: kind.resource, namespace: kind.isNamespaced ? namespace : "", name: name)
    }

    /// What a workload refers to.
    init(_ reference: ObjectReference) {
        self.init(reference.kind, namespace: reference.namespace, name: reference.name)
    }
}
