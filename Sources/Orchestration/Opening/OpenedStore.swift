package import ObjectStorage
internal import Snapshots
internal import SystemPackage

/// A store as it comes, without decorators, from whoever knows which kinds there are.
package struct OpenedStore: Sendable {
    package var store: any ObjectStore
    /// The same for the same place, whoever asks: what is remembered of the store is filed under it.
    package var identity: String
    /// What `doctor` tells of it: name and value.
    package var facts: [(name: String, value: String)]

    package init(store: any ObjectStore, identity: String, facts: [(name: String, value: String)] = []) {
        self.store = store
        self.identity = identity
        self.facts = facts
    }

    /// The store in a directory, raw and absolute; with `create` the directory is made, whose parent must be there. Throws
    /// `noRepository`, caused by the store's `noSuchBucket`, where there is no such directory, and what the store throws.
    package static func directory(_ path: [UInt8], create: Bool) async throws -> OpenedStore {
        let shown = PathText.display(path)
        if create, SystemFiles.canonical(Array(path[..<(path.lastIndex(of: UInt8(ascii: "/")) ?? 0)]) + [0x2f]) == nil {
            throw JourneyError(
                .noRepository, kind: "no_such_directory",
                "cannot make a repository at \(shown): the directory that it would be in does not exist; make it, or mount what should be there"
            )
        }
        let store: DirectoryObjectStore
        do {
            store = try await DirectoryObjectStore(root: SystemFiles.filePath(path), create: create)
        } catch {
            guard error.code == .noSuchBucket else { throw error }
            throw JourneyError(.noRepository, kind: "no_repository", error.message, cause: error)
        }
        return OpenedStore(
            store: store, identity: "directory \(shown)", facts: [("kind", "directory"), ("path", shown)])
    }
}
