package import TensorFiles

/// A tree of files that can be looked at: a directory on disk, or a snapshot's.
///
/// Paths are relative to the tree's root, with "/" between names; "" is the root itself. Used by one thread at a time.
package protocol StateTree {
    /// Where the root lies on disk: an absolute path without symbolic links, to which absolute symbolic links are held.
    /// Nil when the tree lies nowhere: an absolute link leads out of it then.
    var location: String? { get }

    /// Hands the entries of a directory to `body` one by one, in any order, until it returns false. Names that are not
    /// UTF-8 are left out. Throws when the directory cannot be read, and what `body` throws.
    func list(_ directory: String, _ body: (TreeEntry) throws -> Bool) throws

    /// What is at `path`, a symbolic link as such; nil when nothing is. No part of `path` before the last is a link.
    func entry(_ path: String) throws -> TreeEntry?

    /// A regular file for reading. `path` is none of a symbolic link, and no part of it is one.
    func open(_ path: String) throws -> any TensorByteSource
}

/// Something in a directory.
package struct TreeEntry: Hashable, Sendable {
    /// What it is.
    package enum Kind: Hashable, Sendable {
        case file, directory
        case symlink(target: String)
        /// A device, a socket, a pipe.
        case other
    }

    package var name: String
    package var kind: Kind
    /// Bytes of a file; 0 for all else.
    package var size: UInt64
    /// When it was last modified, in nanoseconds since 1970.
    package var modified: Int64

    package init(name: String, kind: Kind, size: UInt64 = 0, modified: Int64 = 0) {
        self.name = name
        self.kind = kind
        self.size = size
        self.modified = modified
    }

    /// Whether it is a symbolic link.
    package var isLink: Bool { if case .symlink = kind { true } else { false } }
}

/// What is done with paths.
package enum TreePath {
    /// The path of `name` in `directory`; either may be "".
    package static func join(_ directory: String, _ name: String) -> String {
        if directory.isEmpty { name } else if name.isEmpty { directory } else { "\(directory)/\(name)" }
    }

    /// The last name of a path: "" for the root.
    package static func name(_ path: String) -> String {
        path.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(path[path.utf8.index(after: $0)...]) } ?? path
    }

    /// The directory that a path lies in: "" for what lies in the root, and for the root.
    package static func parent(_ path: String) -> String {
        path.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(path[..<$0]) } ?? ""
    }

    /// Whether `path` is `directory` or lies below it.
    package static func holds(_ directory: String, _ path: String) -> Bool {
        directory.isEmpty || path == directory || path.hasPrefix(directory + "/")
    }

    /// The path as reports show it: "." for the root.
    package static func shown(_ path: String) -> String { path.isEmpty ? "." : path }
}
