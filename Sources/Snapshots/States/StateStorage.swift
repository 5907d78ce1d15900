package import Repository
package import RepositoryFormat

/// How a state of a snapshot lies in the repository, as far as trees and index tell: no data is read.
package struct StateStorage: Hashable, Sendable {
    /// Regular files that belong to it.
    package var files: UInt64 = 0
    /// Bytes of them, holes included.
    package var bytes: UInt64 = 0
    /// Chunks that they consist of, each once, whatever else consists of them too.
    package var chunks: UInt64 = 0
    /// Bytes of those chunks.
    package var chunkBytes: UInt64 = 0
    /// Of these, the bytes of chunks that are stored as the difference to another.
    package var differenceBytes: UInt64 = 0
    /// Bytes that the chunks take in packs, without their headers. Small files share a blob with others: of such a blob
    /// no more counts than the bytes of the state's own.
    package var storedBytes: UInt64 = 0
    /// Chunks that the index has in no pack; they count in nothing else.
    package var missingChunks: UInt64 = 0
    /// Files and directories whose lists could not be read: nothing of them is counted.
    package var unreadable: UInt64 = 0

    package init() {}

    /// The part of the chunks' bytes that is stored as differences, 0 to 1; nil without chunks.
    package var differenceShare: Double? {
        chunkBytes == 0 ? nil : Double(differenceBytes) / Double(chunkBytes)
    }

    /// What is stored for each byte of the files; nil without bytes.
    package var ratio: Double? { bytes == 0 ? nil : Double(storedBytes) / Double(bytes) }

    private struct Blob: Hashable {
        let pack: Identifier
        let offset: UInt32
    }

    private struct Sums {
        var storage = StateStorage()
        var known = Set<ChunkID>()
        /// Bytes of the state's chunks in blobs that hold several, and what the blobs take.
        var groups: [Blob: (own: UInt64, sealed: UInt64)] = [:]

        mutating func add(_ entry: TreeEntry, _ tree: SnapshotTree, _ index: RepositoryIndex) throws {
            guard entry.metadata.type == .regular else { return }
            storage.files += 1
            storage.bytes &+= entry.metadata.size
            let items: [ContentItem]
            do {
                items = try tree.loader.items(of: entry.content ?? .inline([]))
            } catch {
                guard error.code == .damaged || error.code == .notFound || error.isMissingObject else { throw error }
                storage.unreadable += 1
                return
            }
            for case .chunk(let id, let length) in items where known.insert(id).inserted {
                guard let location = index.findForReading(id, kind: .data) else {
                    storage.missingChunks += 1
                    continue
                }
                storage.chunks += 1
                storage.chunkBytes += UInt64(length)
                if location.base != nil { storage.differenceBytes += UInt64(length) }
                if location.isGroup {
                    let blob = Blob(pack: location.pack, offset: location.offset)
                    groups[blob, default: (0, UInt64(location.sealedLength))].own += UInt64(length)
                } else {
                    storage.storedBytes += UInt64(location.sealedLength)
                }
            }
        }
    }

    /// How `state` lies in the repository; nil when the tree does not hold its path. One look into the index for each of
    /// its chunks. Blocks; `check` is called now and then and may throw to end it.
    package static func measure(
        _ state: StateInventory.State, in tree: SnapshotTree, index: RepositoryIndex, check: () throws -> Void
    ) throws -> StateStorage? {
        guard let path = StatePath.components(state.path) else { return nil }
        let files = state.files.map { Set($0).compactMap { StatePath.components($0) } }
        var look = TreeLook(paths: [path] + (files ?? []))
        try look.run(pages: tree.pages, loader: tree.loader)
        guard let entry = look.entries[StatePath.key(path)] else { return nil }
        var sums = Sums()
        if let files {
            for file in files {
                try check()
                if let entry = look.entries[StatePath.key(file)] { try sums.add(entry, tree, index) }
            }
        } else if entry.metadata.type == .directory {
            var walker = TreeWalker(loader: tree.loader)
            try walker.walk(pages: entry.pages, at: path) { _, entry in
                try check()
                try sums.add(entry, tree, index)
                return .descend
            }
            sums.storage.unreadable += UInt64(walker.damage.count)
        } else {
            try sums.add(entry, tree, index)
        }
        for group in sums.groups.values { sums.storage.storedBytes += min(group.own, group.sealed) }
        return sums.storage
    }
}
