/// Where the data of a stored claim is, as its annotation `becalm.io/volume-snapshot` says it, perhaps for years:
/// `becalm1:REPOSITORY:SNAPSHOT:DIGEST`. The volume is below `volume` at the root of the snapshot.
struct ClaimSnapshot: Hashable, Sendable, CustomStringConvertible {
    var id: VolumeSnapshotID
    /// The snapshot's content digest, as the mover said it; empty where it said none.
    var digest: String

    init(id: VolumeSnapshotID, digest: String) {
        self.id = id
        self.digest = digest
    }

    /// From an annotation; nil for what this version cannot read.
    init?(_ text: String) {
        let parts = text.split(separator: ":", maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count == 4, let id = VolumeSnapshotID(parts[..<3].joined(separator: ":")) else { return nil }
        self.init(id: id, digest: String(parts[3]))
    }

    var description: String { "\(id):\(digest)" }
}
