internal import Basics
package import Repository
package import RepositoryFormat

/// A snapshot opened for looking inside. Its members block: call them from a thread of ours.
package struct SnapshotTree: Sendable {
    package let id: Identifier
    package let manifest: SnapshotManifest
    package let loader: TreeLoader
    /// The root directory's pages.
    package let pages: [ChunkID]

    /// The tree of `snapshot`. Throws `.notPermitted` with a writer's key, `.damaged`.
    package init(snapshot: ListedSnapshot, loader: TreeLoader) throws(RepositoryError) {
        manifest = try snapshot.manifest(to: "look into snapshot \(snapshot.id)")
        id = snapshot.id
        self.loader = loader
        do { pages = try manifest.rootPages() } catch {
            throw RepositoryError(error, doing: "snapshot \(snapshot.id)")
        }
    }

    /// The components of a path as a user writes it: slashes at either end and doubled ones do not count, `.` neither.
    package static func components(of path: [UInt8]) -> [[UInt8]] {
        path.split(separator: UInt8(ascii: "/")).map(Array.init).filter { $0 != [UInt8(ascii: ".")] }
    }

    /// What lies at `path`. Throws `.noSuchName`; nil stands for the root itself.
    package func entry(at path: [[UInt8]]) throws(RepositoryError) -> TreeEntry? {
        var entry: TreeEntry?
        var pages = pages
        for (depth, name) in path.enumerated() {
            guard entry == nil || entry?.metadata.type == .directory,
                let found = try TreeEntry.find(name, in: pages, loader)
            else {
                let missing = PathText.display(Array(path.prefix(depth + 1).joined(separator: [UInt8(ascii: "/")])))
                throw RepositoryError(
                    .noSuchName,
                    "snapshot \(id) holds no \(missing): 'becalm show \(id.description.prefix(8))' lists it")
            }
            entry = found
            pages = found.pages
        }
        return entry
    }

}

extension TreeEntry {
    /// The entry `name` of the directory with these pages; nil when there is none.
    static func find(
        _ name: [UInt8], in pages: [ChunkID], _ loader: TreeLoader
    ) throws(RepositoryError) -> TreeEntry? {
        for page in pages {
            let entries = try loader.page(page)
            guard let last = entries.last, !last.name.lexicographicallyPrecedes(name) else { continue }
            return entries.first { $0.name == name }
        }
        return nil
    }
}
