/// Snapshots of volumes: the calls of Velero's VolumeSnapshotter, after `Init`. All members may be called at once.
/// `persistentVolume` is a PersistentVolume as JSON.
package protocol VolumeSnapshotterPlugin: Sendable {
    /// The id of a volume that this plugin can take; empty for one that it cannot, which is no error.
    func volumeID(persistentVolume: [UInt8]) async throws(VeleroError) -> String

    /// The volume with another id in it: what `createVolume` gave.
    func setVolumeID(_ id: String, persistentVolume: [UInt8]) async throws(VeleroError) -> [UInt8]

    /// The volume's type and its I/O operations a second, nil for none.
    func info(volumeID: String, zone: String) async throws(VeleroError) -> (type: String, iops: Int64?)

    /// Takes a snapshot and returns its id, when all of it is stored.
    func createSnapshot(volumeID: String, zone: String, tags: [String: String]) async throws(VeleroError) -> String

    /// Makes a new volume with what is in the snapshot and returns its id.
    func createVolume(
        snapshotID: String, type: String, zone: String, iops: Int64?
    ) async throws(VeleroError) -> String

    /// Succeeds for what is not there.
    func deleteSnapshot(_ id: String) async throws(VeleroError)
}
