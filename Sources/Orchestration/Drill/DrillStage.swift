package import Repository
package import RepositoryFormat
package import Snapshots

/// What tiers work on.
package struct DrillStage: Sendable {
    package let repository: Repository
    package let snapshot: ListedSnapshot
    package let manifest: SnapshotManifest
    /// The scratch directory, raw and absolute: empty when the first tier begins, with the snapshot's tree after it.
    package let tree: [UInt8]
    /// Whether content is checked too, where a checksum of it is recorded.
    package let isDeep: Bool
    package let progress: OperationProgress
}
