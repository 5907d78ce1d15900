package import TensorFiles

/// A tree of which some files and symbolic links are as they were read once, whatever has become of them.
///
/// Used by one thread.
package final class OverlaidTree: StateTree {
    /// What stands for something in the tree.
    package enum Content: Sendable {
        case file([UInt8], modified: Int64)
        case symlink(target: String, modified: Int64)
    }

    private let tree: any StateTree
    /// By the bytes of their paths: names that Unicode holds to be equal are two files all the same.
    private var contents: [[UInt8]: Content] = [:]
    /// What was looked at or opened by itself since `startRecording`: judges rely on it.
    package private(set) var visited: Set<[UInt8]> = []

    package init(_ tree: any StateTree) { self.tree = tree }

    package var location: String? { tree.location }

    /// From now on `path` is this. Kept until the next call of `forget`.
    package func replace(_ path: String, by content: Content) { contents[Array(path.utf8)] = content }

    /// From now on `path` is what it is in the tree.
    package func forget(_ path: String) { contents[Array(path.utf8)] = nil }

    /// Forgets what was looked at.
    package func startRecording() { visited = [] }

    /// As they are in the tree, but those that were replaced.
    package func list(_ directory: String, _ body: (TreeEntry) throws -> Bool) throws {
        try tree.list(directory) { entry in
            try body(replaced(TreePath.join(directory, entry.name), named: entry.name) ?? entry)
        }
    }

    package func entry(_ path: String) throws -> TreeEntry? {
        visited.insert(Array(path.utf8))
        return try replaced(path, named: TreePath.name(path)) ?? tree.entry(path)
    }

    package func open(_ path: String) throws -> any TensorByteSource {
        visited.insert(Array(path.utf8))
        if case .file(let bytes, _)? = contents[Array(path.utf8)] { return MemoryBytes(bytes: bytes) }
        return try tree.open(path)
    }

    /// Whether the file stands for one that Git has not fetched (Git LFS specification, "The Pointer"): nobody writes it.
    package func isGitPointer(_ path: String) -> Bool {
        // What cannot be read is no pointer.
        guard let source = try? tree.open(path), source.size < 1024,
            let start = try? source.bytes(0..<min(source.size, 64))
        else { return false }
        return start.starts(with: "version https://git-lfs".utf8)
    }

    private func replaced(_ path: String, named name: String) -> TreeEntry? {
        guard !contents.isEmpty else { return nil }
        return switch contents[Array(path.utf8)] {
        case .file(let bytes, let modified)?:
            TreeEntry(name: name, kind: .file, size: UInt64(bytes.count), modified: modified)
        case .symlink(let target, let modified)?:
            TreeEntry(name: name, kind: .symlink(target: target), modified: modified)
        case nil: nil
        }
    }
}
