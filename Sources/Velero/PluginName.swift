/// The plugins that our executable serves: a name and a kind, as Velero registers them.
///
/// A name is a DNS-1123 subdomain, a slash, and at most 63 characters that a label key may have: users write it as a
/// location's `spec.provider` and as the label of a plugin's ConfigMap. Whatever Velero does not accept keeps its whole
/// server from starting.
package enum PluginName: String, Sendable, CaseIterable {
    /// Objects on S3-compatible storage.
    case s3 = "becalm.io/s3"
    /// Volumes that are reachable as directories.
    case volumes = "becalm.io/volumes"
    /// Which items belong into one block with a training job.
    case trainingGroup = "becalm.io/training-group"
    /// Brings a workload to a standstill before its data is taken.
    case quiesce = "becalm.io/quiesce"
    /// Backs up the data of a volume.
    case volumeBackup = "becalm.io/volume-backup"
    /// Brings the data of a volume back.
    case volumeRestore = "becalm.io/volume-restore"
    /// Restores a workload so that nothing runs before its data is whole, and nothing runs twice.
    case workloadRestore = "becalm.io/workload-restore"
    /// Deletes the data of a volume with the backup that it belongs to.
    case volumeDelete = "becalm.io/volume-delete"

    /// Velero's word for the kind, in its registry and as the value of a ConfigMap's label.
    package var kind: PluginKind {
        switch self {
        case .s3: .objectStore
        case .volumes: .volumeSnapshotter
        case .trainingGroup: .itemBlockAction
        case .quiesce, .volumeBackup: .backupItemActionV2
        case .volumeRestore, .workloadRestore: .restoreItemActionV2
        case .volumeDelete: .deleteItemAction
        }
    }
}

/// The kinds of plugin that we serve, in Velero's words.
package enum PluginKind: String, Sendable, CaseIterable {
    case objectStore = "ObjectStore"
    case volumeSnapshotter = "VolumeSnapshotter"
    case backupItemActionV2 = "BackupItemActionV2"
    case restoreItemActionV2 = "RestoreItemActionV2"
    case deleteItemAction = "DeleteItemAction"
    case itemBlockAction = "ItemBlockAction"
}
