/// Makes the plugin `becalm.io/volumes`.
package enum VolumeSnapshotter {
    /// The plugin for a VolumeSnapshotLocation's `config`, as Velero passes it to `Init`. Looks at no file and no network:
    /// what is wrong with the repository or the key is told by the first call that needs it. A key in a Secret is read
    /// from `secrets`, anew by each call.
    ///
    /// Throws `invalidArgument`, which names the key, for a config that makes no sense.
    package static func open(
        config: [String: String], environment: PluginEnvironment, secrets: (any SecretSource)? = nil
    ) async throws(VeleroError) -> any VolumeSnapshotterPlugin {
        DirectoryVolumes(
            try VolumesConfiguration(config, environment), environment, secrets ?? InClusterSecrets(environment))
    }
}
