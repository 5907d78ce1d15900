internal import Repository
internal import RepositoryFormat
internal import Sealing

/// What of a snapshot a restore begins from: all of it, or one directory as if that were the snapshot's root.
struct RestoreSource: Sendable {
    /// Pages of the directory whose entries come into the target.
    let pages: [ChunkID]
    /// With paths relative to that directory; nil when nobody judged.
    let inventory: StateInventory?
    /// Of that directory; nil without file digests.
    let contentDigest: String?
    /// What the directory itself is like; nil for the snapshot's root, which is none.
    let directory: FileMetadata?

    /// The directory at `from` in `snapshot`, its root without components. Blocks.
    ///
    /// Throws `RepositoryError` (`.notPermitted` with a writer's key, `.noSuchName` where there is nothing) and
    /// `SnapshotError` `.invalidArgument` for what is no directory.
    init(_ snapshot: ListedSnapshot, from: [[UInt8]], loader: TreeLoader) throws {
        let tree = try SnapshotTree(snapshot: snapshot, loader: loader)
        guard let entry = try tree.entry(at: from) else {
            pages = tree.pages
            inventory = tree.manifest.inventory
            contentDigest = tree.manifest.contentDigest
            directory = nil
            return
        }
        guard entry.metadata.type == .directory else {
            throw SnapshotError(
                .invalidArgument,
                "\(StatePath.text(from)) in snapshot \(tree.id.description.prefix(12)) is \(entry.metadata.type.text): name the directory that holds it, and the file with --include",
                path: StatePath.key(from))
        }
        pages = entry.pages
        inventory = tree.manifest.inventory?.moved(from: from, to: [])
        contentDigest = entry.treeDigest?.description
        directory = entry.metadata
    }
}
