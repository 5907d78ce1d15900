internal import Repository
internal import RepositoryFormat

/// What a directory of a snapshot takes on a file system, as far as its tree tells: no data is read.
package struct TreeSize: Hashable, Sendable {
    /// Entries of any kind.
    package var entries: UInt64 = 0
    /// Bytes of regular files, without holes; a file with several names counts once.
    package var bytes: UInt64 = 0

    package init() {}

    private struct Link: Hashable {
        let device: UInt64
        let inode: UInt64
    }

    /// Measures what lies below `path` in `tree`. Directories and lists of chunks that are damaged count as nothing: who
    /// restores them is told. `check` is called for every entry, and ends it by throwing. Blocks.
    package static func measure(
        _ path: [[UInt8]], in tree: SnapshotTree, check: () throws -> Void
    ) throws -> TreeSize {
        var size = TreeSize()
        var links = Set<Link>()
        var walker = TreeWalker(loader: tree.loader)
        try walker.walk(pages: try tree.entry(at: path)?.pages ?? tree.pages, at: path) { _, entry in
            try check()
            size.entries += 1
            let metadata = entry.metadata
            guard metadata.type == .regular else { return .descend }
            if metadata.linkCount > 1, !links.insert(Link(device: metadata.device, inode: metadata.inode)).inserted {
                return .skip
            }
            let items: [ContentItem]
            do throws(RepositoryError) {
                items = try tree.loader.items(of: entry.content ?? .inline([]))
            } catch {
                guard error.code == .damaged || error.code == .notFound || error.isMissingObject else { throw error }
                return .skip
            }
            for case .chunk(_, let length) in items { size.bytes &+= UInt64(length) }
            return .skip
        }
        return size
    }
}
