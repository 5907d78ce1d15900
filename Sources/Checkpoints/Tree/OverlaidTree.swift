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
    private var contents: [String: Content] = [:]

    package init(_ tree: any StateTree) { self.tree = tree }

    package var location: String? { tree.location }

    /// From now on `path` is this. Kept until the next call of `forget`.
    package func replace(_ path: String, by content: Content) { contents[path] = content }

    /// From now on `path` is what it is in the tree.
    package func forget(_ path: String) { contents[path] = nil }

    /// As they are in the tree, but those that were replaced.
    package func list(_ directory: String, _ body: (TreeEntry) throws -> Bool) throws {
        try tree.list(directory) { entry in
            try body(replaced(TreePath.join(directory, entry.name), named: entry.name) ?? entry)
        }
    }

    package func entry(_ path: String) throws -> TreeEntry? {
        try replaced(path, named: TreePath.name(path)) ?? tree.entry(path)
    }

    package func open(_ path: String) throws -> any TensorByteSource {
        if case .file(let bytes, _)? = contents[path] { return MemoryBytes(bytes: bytes) }
        return try tree.open(path)
    }

    private func replaced(_ path: String, named name: String) -> TreeEntry? {
        switch contents[path] {
        case .file(let bytes, let modified)?:
            TreeEntry(name: name, kind: .file, size: UInt64(bytes.count), modified: modified)
        case .symlink(let target, let modified)?:
            TreeEntry(name: name, kind: .symlink(target: target), modified: modified)
        case nil: nil
        }
    }
}
