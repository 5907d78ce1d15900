package import Velero

/// What the process serves: how each plugin is opened, by kind.
///
/// Holds no state of calls, so any number of them may use it at once.
package struct PluginRegistry: Sendable {
    /// Opens `becalm.io/s3` from the configuration of its location.
    package var openObjectStore: @Sendable ([String: String]) async throws(VeleroError) -> any ObjectStorePlugin
    /// Opens `becalm.io/volumes` from the configuration of its location.
    package var openVolumeSnapshotter:
        @Sendable ([String: String]) async throws(VeleroError) -> any VolumeSnapshotterPlugin
    package var backupItemActions: [any BackupItemAction]
    package var restoreItemActions: [any RestoreItemAction]
    package var deleteItemActions: [any DeleteItemAction]
    package var itemBlockActions: [any ItemBlockAction]

    /// All that we have.
    package init(_ environment: PluginEnvironment) {
        openObjectStore = { (config) async throws(VeleroError) in
            try await S3ObjectStorePlugin.open(config: config, environment: environment)
        }
        openVolumeSnapshotter = { (config) async throws(VeleroError) in
            try await VolumeSnapshotter.open(config: config, environment: environment)
        }
        backupItemActions = VeleroActions.backupItemActions(environment)
        restoreItemActions = VeleroActions.restoreItemActions(environment)
        deleteItemActions = VeleroActions.deleteItemActions(environment)
        itemBlockActions = VeleroActions.itemBlockActions(environment)
    }

    /// The one of these that is meant by a call. Velero asks for what the lister named, so another name is a mistake.
    static func find<Action>(
        _ name: String, in actions: [Action], name of: (Action) -> PluginName
    ) throws(VeleroError) -> Action {
        guard let action = actions.first(where: { of($0).rawValue == name }) else {
            let known = actions.map { of($0).rawValue }.sorted().joined(separator: ", ")
            throw VeleroError(.notFound, "there is no plugin '\(name)' of this kind here: use \(known)")
        }
        return action
    }
}
