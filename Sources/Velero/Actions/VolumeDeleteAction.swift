internal import Kubernetes
internal import Logging
internal import Orchestration
internal import Repository
internal import Snapshots
internal import Workloads

/// `becalm.io/volume-delete`: forgets, with a backup that is deleted, the snapshots that hold the data of its claims, be it
/// that their annotations name them or DataUploads that `becalm data-mover` has served.
///
/// It may be asked again, and a snapshot that is not there any more is no error. An item whose data cannot be forgotten,
/// or was stored by a newer version, keeps its backup: deleting that would leave data that nothing names any more.
struct VolumeDeleteAction: DeleteItemAction {
    let name = PluginName.volumeDelete
    private let environment: PluginEnvironment

    init(_ environment: PluginEnvironment) { self.environment = environment }

    func appliesTo() async throws(VeleroError) -> ResourceSelector {
        ResourceSelector(
            resources: [ResourceKind.persistentVolumeClaim.resource, "datauploads.velero.io"])
    }

    func execute(item: [UInt8], backup: [UInt8]) async throws(VeleroError) {
        let object = try ActionItem.object(item)
        let isClaim = ResourceKind.persistentVolumeClaim.matches(object)
        let text =
            isClaim ? object.annotations[BecalmAnnotation.volumeSnapshot] : DataMover.snapshot(ofUpload: object)
        guard let text else { return }
        guard let snapshot = ClaimSnapshot(text) else {
            throw VeleroError(
                .failed,
                "the data of \(object.label) cannot be deleted: it was stored by a newer version of Becalm's plugin; delete the "
                    + "backup with that version")
        }
        do {
            try await forget(snapshot, of: object)
        } catch {
            throw VeleroError(error, doing: "the data of \(object.label) cannot be deleted")
        }
    }

    private func forget(_ snapshot: ClaimSnapshot, of claim: KubernetesObject) async throws {
        // What is wrong with the settings must be told: the defaults know of no repository.
        let configuration = try await PluginConfiguration.settings(name, environment, for: .restore) {
            (configuration) throws(VeleroError) in
            try MoverConfiguration(&configuration, environment)
        }
        let movers = try await VolumeMovers(configuration, environment)
        let id = snapshot.id
        guard let repository = try await movers.openForRemoval(of: id) else {
            environment.logger.warning(
                "the snapshot \(id.snapshot) of \(claim.label) counts as deleted: its repository \(id.repository) is not the configured one"
            )
            return
        }
        let report = try await MaintenanceJourney(repository: repository, progress: OperationProgress())
            .forget(exactly: [id.snapshot])
        guard report.locked.isEmpty else {
            throw VeleroError(
                .failed, "the snapshot \(id.snapshot) is under retention: delete the backup again when that has ended")
        }
        environment.logger.info(
            report.removed.isEmpty
                ? "the snapshot \(id.snapshot) of \(claim.label) was not there any more"
                : "the snapshot \(id.snapshot) of \(claim.label) is forgotten: 'becalm prune' frees the space")
    }
}
