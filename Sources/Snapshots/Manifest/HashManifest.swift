internal import Basics
package import Repository
package import RepositoryFormat
package import Sealing

/// What outsiders check a restored tree against: each entry's path, type, size, mode and SHA-256.
///
/// Entries come in the order of their path components (`a/x` before `a-b`), one at a time: memory does not grow with the
/// snapshot. Everything here blocks: call it from a thread of ours.
package struct HashManifest: Sendable {
    /// One name.
    package struct Entry: Sendable {
        /// Relative to the manifest's root, raw components.
        package var components: [[UInt8]]
        package var type: FileType
        /// The low twelve bits of the mode.
        package var permissions: UInt16
        /// Bytes of a regular file, else 0.
        package var size: UInt64
        /// Of a regular file; nil when the snapshot was made without.
        package var digest: Digest?
        /// Raw target of a symbolic link, else empty.
        package var linkTarget: [UInt8]

        /// Components with slashes between.
        package var path: [UInt8] { Array(components.joined(separator: [UInt8(ascii: "/")])) }
    }

    package let tree: SnapshotTree
    /// Components of the directory in the snapshot that the paths are relative to; none for the snapshot's root.
    package let root: [[UInt8]]
    private let pages: [ChunkID]
    private let check: @Sendable () throws -> Void
    /// The content digest of the manifest's root; nil when a file has none.
    package let contentDigest: String?

    /// The manifest of what lies below `root` in `tree`. Throws `.noSuchName`, `.invalidArgument` when it is no directory.
    ///
    /// `check` is called at each entry and ends the work by throwing.
    package init(
        tree: SnapshotTree, root: [[UInt8]] = [], check: @escaping @Sendable () throws -> Void = {}
    ) throws(RepositoryError) {
        self.tree = tree
        self.root = root
        self.check = check
        if let entry = try tree.entry(at: root) {
            guard entry.metadata.type == .directory else {
                throw RepositoryError(
                    .invalidArgument,
                    "\(Self.display(root)) in snapshot \(tree.id) is no directory: name one, or nothing for the whole")
            }
            pages = entry.pages
            contentDigest = entry.treeDigest?.description
        } else {
            pages = tree.pages
            contentDigest = tree.manifest.contentDigest
        }
    }

    /// Visits the entries in order. Throws `.damaged` when a part of the tree cannot be read: half a manifest is none.
    package func forEach(_ visit: (Entry) throws -> Void) throws {
        var walker = TreeWalker(loader: tree.loader)
        try walker.walk(pages: pages) { path, entry in
            try check()
            try visit(
                Entry(
                    components: path, type: entry.metadata.type, permissions: entry.metadata.permissions,
                    size: entry.metadata.size, digest: entry.fileDigest, linkTarget: entry.metadata.linkTarget))
            return .descend
        }
        if let damage = walker.damage.first {
            throw RepositoryError(
                damage.error.code,
                "no manifest of snapshot \(tree.id) can be made, the directory \(Self.display(damage.path)) is damaged: \(damage.error)",
                cause: damage.error)
        }
    }

    /// The digest of a regular file. Throws `.invalidArgument` for one that was stored without.
    package func requireDigest(_ entry: Entry) throws(RepositoryError) -> Digest {
        guard let digest = entry.digest else {
            throw RepositoryError(
                .invalidArgument,
                "snapshot \(tree.id) was made with --no-file-digests and knows no SHA-256 of \(PathText.display(entry.path)): back up once more without that option"
            )
        }
        return digest
    }

    static func display(_ components: [[UInt8]]) -> String {
        components.isEmpty ? "/" : PathText.display(Array(components.joined(separator: [UInt8(ascii: "/")])))
    }
}
