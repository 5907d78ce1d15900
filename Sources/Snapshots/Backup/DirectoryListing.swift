internal import Basics
internal import Checkpoints
internal import RepositoryFormat

/// What is in a directory, looked at once for those who judge it and those who store it.
///
/// Of a directory with more than `mostKept` entries the names alone are kept: judges list it by themselves, a moment later,
/// and its trackers are read in their turn.
struct DirectoryListing {
    /// Sorted by their bytes.
    let names: [[UInt8]]
    /// Of each name; nil where nothing could be learnt. Empty when it is not judged, or has too many entries to keep.
    private let metadata: [FileMetadata?]
    /// Entries whose metadata are kept, some 300 bytes each.
    private static let mostKept = 8192

    /// Lists `directory`, and looks at all in it if it `isJudged`. Throws `SnapshotError`. Blocks.
    init(of directory: DirectoryHandle, owners: OwnerNames, isJudged: Bool) throws(SnapshotError) {
        let names = try directory.names()
        self.names = names
        guard isJudged, names.count <= Self.mostKept else {
            metadata = []
            return
        }
        // Whoever stores it looks again, and tells why it cannot be had.
        metadata = names.map { try? directory.metadata(of: $0, owners: owners, includingExtendedAttributes: true) }
    }

    /// The metadata of the name at `index`; nil when they are to be asked for.
    func metadata(at index: Int) -> FileMetadata? { metadata.isEmpty ? nil : metadata[index] }

    /// The same for judges; nil when the directory must be listed for them. Names that are no text are left out.
    var entries: [Checkpoints.TreeEntry]? {
        guard metadata.count == names.count else { return nil }
        return zip(names, metadata).compactMap { name, metadata in
            guard let metadata, let name = String(validating: name, as: UTF8.self) else { return nil }
            return Checkpoints.TreeEntry(name: name, metadata)
        }
    }
}

extension Checkpoints.TreeEntry {
    /// An entry as a walk has found it.
    init(name: String, _ metadata: FileMetadata) {
        let kind: Kind =
            switch metadata.type {
            case .regular: .file
            case .directory: .directory
            case .symbolicLink:
                String(validating: metadata.linkTarget, as: UTF8.self).map { .symlink(target: $0) } ?? .other
            case .fifo, .socket, .characterDevice, .blockDevice: .other
            }
        self.init(name: name, kind: kind, size: metadata.size, modified: metadata.modified.nanoseconds)
    }
}
