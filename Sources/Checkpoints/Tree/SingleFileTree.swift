package import TensorFiles

/// A tree of which one file at the root is listed, and the rest is there for links only: to look at a file by itself.
package struct SingleFileTree: StateTree {
    private let tree: any StateTree
    private let name: String

    /// Of `tree` only the file `name`, which lies at its root.
    package init(_ tree: any StateTree, file name: String) {
        self.tree = tree
        self.name = name
    }

    package var location: String? { tree.location }

    package func list(_ directory: String, _ body: (TreeEntry) throws -> Bool) throws {
        guard directory.isEmpty else { return try tree.list(directory, body) }
        if let entry = try tree.entry(name) { _ = try body(entry) }
    }

    package func entry(_ path: String) throws -> TreeEntry? { try tree.entry(path) }

    package func open(_ path: String) throws -> any TensorByteSource { try tree.open(path) }
}
