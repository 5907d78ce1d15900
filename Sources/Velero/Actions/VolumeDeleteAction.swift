internal import Kubernetes
internal import Workloads

/// `becalm.io/volume-delete`: what a backup that is deleted takes with it of Becalm's data.
///
/// This version stores no data of volumes through Velero, so there is nothing to delete, however often it is asked. An item
/// whose data a newer version stored keeps its backup: deleting that would leave data that nothing names any more.
struct VolumeDeleteAction: DeleteItemAction {
    let name = PluginName.volumeDelete

    /// The name that users give to `--data-mover`.
    private static let dataMover = "becalm"

    func appliesTo() async throws(VeleroError) -> ResourceSelector {
        ResourceSelector(
            resources: [ResourceKind.persistentVolumeClaim.resource, "datauploads.velero.io"])
    }

    func execute(item: [UInt8], backup: [UInt8]) async throws(VeleroError) {
        let object = try ActionItem.object(item)
        let isClaim = ResourceKind.persistentVolumeClaim.matches(object)
        let hasSnapshot = isClaim && object.annotations[BecalmAnnotation.volumeSnapshot] != nil
        let isMoved =
            object.kind == "DataUpload" && object.group == "velero.io"
            && object["spec", "datamover"]?.string == Self.dataMover
            && object["status", "snapshotID"]?.string?.isEmpty == false
        guard hasSnapshot || isMoved else { return }
        throw VeleroError(
            .failed,
            "the data of \(object.label) cannot be deleted: it was stored by a newer version of Becalm's plugin; delete the "
                + "backup with that version")
    }
}
