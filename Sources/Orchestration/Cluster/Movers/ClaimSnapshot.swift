internal import RepositoryFormat

/// Where the data of a stored claim is, as its annotation `becalm.io/volume-snapshot` or the `snapshotID` of a DataUpload
/// says it, perhaps for years: `becalm1:REPOSITORY:SNAPSHOT:DIGEST`. The volume is below `volume` at the root of the
/// snapshot.
package struct ClaimSnapshot: Hashable, Sendable, CustomStringConvertible {
    package var id: VolumeSnapshotID
    /// The snapshot's content digest, as the mover said it; empty where it said none.
    package var digest: String

    package init(id: VolumeSnapshotID, digest: String) {
        self.id = id
        self.digest = digest
    }

    /// From an annotation; nil for what this version cannot read.
    package init?(_ text: String) {
        let parts = text.split(separator: ":", maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count == 4, let id = VolumeSnapshotID(parts[..<3].joined(separator: ":")) else { return nil }
        self.init(id: id, digest: String(parts[3]))
    }

    /// What a mover has stored; nil where it does not say.
    package init?(_ ending: DetachedMover.Ending) {
        guard let repository = Identifier(hex: ending.repository),
            let snapshot = Identifier(hex: ending.result.snapshot)
        else { return nil }
        self.init(
            id: VolumeSnapshotID(repository: repository, snapshot: snapshot), digest: ending.result.contentDigest)
    }

    package var description: String { "\(id):\(digest)" }
}
