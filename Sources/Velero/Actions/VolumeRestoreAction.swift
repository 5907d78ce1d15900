internal import Kubernetes
internal import Logging
internal import Workloads

/// `becalm.io/volume-restore`: leaves out claims that their pods get anew, and keeps claims from being restored empty
/// whose data only a newer Becalm can bring back.
///
/// Claims that controllers make of templates (of StatefulSets, LeaderWorkerSets, JobSets) are restored: the controllers
/// take a claim that is there under the name, and its data is what a backup is for.
struct VolumeRestoreAction: RestoreItemAction {
    let name = PluginName.volumeRestore
    private let environment: PluginEnvironment

    init(_ environment: PluginEnvironment) { self.environment = environment }

    private enum EphemeralClaims: String, CaseIterable { case skip, restore }

    /// What the ConfigMap says.
    private struct Settings {
        var ephemeralClaims: EphemeralClaims

        init(_ configuration: inout PluginConfiguration) throws(VeleroError) {
            ephemeralClaims = try configuration.choice("ephemeralClaims", default: .skip)
        }
    }

    private func settings(for use: PluginConfiguration.Use) async throws(VeleroError) -> Settings {
        try await PluginConfiguration.settings(name, environment, for: use) { (configuration) throws(VeleroError) in
            try Settings(&configuration)
        }
    }

    func appliesTo() async throws(VeleroError) -> ResourceSelector {
        return ResourceSelector(resources: [ResourceKind.persistentVolumeClaim.resource])
    }

    func execute(
        item: [UInt8], original: [UInt8], restore: [UInt8]
    ) async throws(VeleroError) -> RestoreItemOutcome {
        let claim = try ActionItem.object(item)
        let stored = try ActionItem.object(original, "the item of the backup")
        _ = try VeleroRestore(parsing: restore)
        var outcome = RestoreItemOutcome(item: item)
        guard ResourceKind.persistentVolumeClaim.matches(claim) else { return outcome }
        let settings = try await settings(for: .restore)
        if settings.ephemeralClaims == .skip, EphemeralClaim.isOne(stored) {
            environment.logger.info(
                "\(claim.label) is not restored: it belongs to a pod, which gets a new one",
                metadata: ["namespace": "\(claim.namespace)", "name": "\(claim.name)"])
            outcome.isSkipped = true
            return outcome
        }
        if stored.annotations[BecalmAnnotation.volumeSnapshot] != nil {
            throw VeleroError(
                .failed,
                "\(claim.label) is not restored, for it would be empty: its data was stored by a newer version of Becalm's "
                    + "plugin; restore with that version")
        }
        return outcome
    }

    func progress(operation: String, restore: [UInt8]) async throws(VeleroError) -> OperationStatus {
        OperationAnswers.progress(operation, of: restore, kinds: [.volumeRestore])
    }

    func cancel(operation: String, restore: [UInt8]) async throws(VeleroError) {
        OperationAnswers.cancel(operation, environment.logger)
    }

    /// Nothing is waited for; Velero asks only about what an outcome asked it to wait for.
    func areReady(_ items: [ResourceIdentifier], restore: [UInt8]) async throws(VeleroError) -> Bool { true }
}
