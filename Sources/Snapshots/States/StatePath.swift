internal import RepositoryFormat

/// Paths as an inventory has them.
enum StatePath {
    static let slash = UInt8(ascii: "/")

    /// The components of `path`; nil for what cannot be a path in a snapshot: empty, absolute, with `..`, and the like.
    static func components(_ path: String) -> [[UInt8]]? {
        let components = path.utf8.split(separator: slash, omittingEmptySubsequences: false).map { Array($0) }
        guard components.count <= TreeWalker.maximumDepth, components.allSatisfy({ EntryName.problem($0) == nil })
        else { return nil }
        return components
    }

    /// The components of a directory, which may be the snapshot's root: "" or none.
    static func directory(_ path: String) -> [[UInt8]]? { path.isEmpty ? [] : components(path) }

    /// Components in one piece: what a path is found by.
    static func key(_ path: some Collection<[UInt8]>) -> [UInt8] { Array(path.joined(separator: [slash])) }

    /// Components as text for people.
    static func text(_ path: some Collection<[UInt8]>) -> String {
        path.isEmpty ? "/" : PathText.display(key(path))
    }
}
