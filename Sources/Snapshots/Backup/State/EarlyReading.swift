internal import Basics
internal import Checkpoints
internal import RepositoryFormat

/// A small file, or a symbolic link, that was read before its directory was listed.
struct EarlyReading {
    /// As it was when it was read.
    let metadata: FileMetadata
    /// All of a file's content; empty for a link.
    let bytes: [UInt8]

    /// A tracker is a name or a number; one that lists checkpoints has some kilobytes.
    private static let limit: UInt64 = SmallFile.limit
    private static let attempts = 3

    /// Reads it; nil when it is neither, too large, or does not hold still. Throws `SnapshotError`. Blocks.
    init?(of name: [UInt8], in directory: DirectoryHandle, owners: OwnerNames) throws(SnapshotError) {
        for _ in 0..<Self.attempts {
            let metadata = try directory.metadata(of: name, owners: owners, includingExtendedAttributes: true)
            if metadata.type == .symbolicLink {
                self.metadata = metadata
                bytes = []
                return
            }
            guard metadata.type == .regular, metadata.size <= Self.limit else { return nil }
            let file = try directory.openFile(name: name)
            let buffer = Buffer(capacity: max(1, Int(metadata.size)))
            let count = try file.read(
                at: 0, into: UnsafeMutableRawBufferPointer(rebasing: buffer.storage[0..<Int(metadata.size)]))
            guard count == Int(metadata.size), !file.changed(since: metadata) else { continue }
            buffer.count = count
            self.metadata = metadata
            bytes = Array(buffer.bytes)
            return
        }
        return nil
    }

    /// The same for judges; nil when a link's target is no text.
    var content: OverlaidTree.Content? {
        let modified = metadata.modified.nanoseconds
        guard metadata.type == .symbolicLink else { return .file(bytes, modified: modified) }
        return String(validating: metadata.linkTarget, as: UTF8.self).map { .symlink(target: $0, modified: modified) }
    }
}
