/// The item actions that the plugin serves. Making them asks nothing of anyone: it takes no time, and no network.
package enum VeleroActions {
    /// Every action on items that are backed up.
    package static func backupItemActions(_ environment: PluginEnvironment) -> [any BackupItemAction] {
        [QuiesceAction(environment), VolumeBackupAction(environment)]
    }

    /// Every action on items that are restored.
    package static func restoreItemActions(_ environment: PluginEnvironment) -> [any RestoreItemAction] {
        [VolumeRestoreAction(environment), WorkloadRestoreAction(environment)]
    }

    /// Every action on items of backups that are deleted.
    package static func deleteItemActions(_ environment: PluginEnvironment) -> [any DeleteItemAction] {
        [VolumeDeleteAction(environment)]
    }

    /// Every action that names what belongs together.
    package static func itemBlockActions(_ environment: PluginEnvironment) -> [any ItemBlockAction] {
        [TrainingGroupAction(environment)]
    }
}
