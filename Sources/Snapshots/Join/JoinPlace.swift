internal import RepositoryFormat
internal import Sealing

/// A directory of a part.
struct PartDirectory: Sendable {
    /// The part's position in the request.
    let part: Int
    let pages: [ChunkID]
    /// Nil for a snapshot's root, which is like nothing.
    let metadata: FileMetadata?
    /// Nil without file digests.
    let digest: Digest?

    init(part: Int, pages: [ChunkID], metadata: FileMetadata?, digest: Digest?) {
        self.part = part
        self.pages = pages
        self.metadata = metadata
        self.digest = digest
    }

    init(part: Int, _ entry: TreeEntry) {
        self.init(part: part, pages: entry.pages, metadata: entry.metadata, digest: entry.treeDigest)
    }
}

/// A directory of the joined snapshot that the request names, or that lies above such a one; or a file that the request
/// puts there.
struct JoinPlace: Sendable {
    /// By name.
    private(set) var children: [[UInt8]: JoinPlace] = [:]
    /// What comes into it, in the order of the parts.
    private(set) var roots: [PartDirectory] = []
    /// Files that come to stand here, in the order of the parts: one, or as many that say the same.
    private(set) var files: [(part: Int, entry: TreeEntry)] = []

    /// Whether it is a directory.
    var isDirectory: Bool { files.isEmpty || !children.isEmpty || !roots.isEmpty }

    /// Puts `directory` at `path` below this one.
    mutating func add(_ directory: PartDirectory, at path: ArraySlice<[UInt8]>) {
        guard let name = path.first else { return roots.append(directory) }
        children[name, default: JoinPlace()].add(directory, at: path.dropFirst())
    }

    /// Puts `file`, which gets the last name of `path`, at `path` below this one. False when `path` names nothing.
    mutating func add(_ file: TreeEntry, of part: Int, at path: ArraySlice<[UInt8]>) -> Bool {
        guard let name = path.first else { return false }
        if path.count > 1 {
            return children[name, default: JoinPlace()].add(file, of: part, at: path.dropFirst())
        }
        var file = file
        file.name = name
        children[name, default: JoinPlace()].files.append((part, file))
        return true
    }
}
