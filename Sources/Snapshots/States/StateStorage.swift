package import Repository
package import RepositoryFormat
internal import Sealing

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
    /// The same by how they are stored.
    package var shares: [Form: Share] = [:]
    /// Bytes that the chunks take in packs, without their headers. Small files share a blob with others: of such a blob
    /// no more counts than the bytes of the state's own.
    package var storedBytes: UInt64 = 0
    /// Chunks that the index has in no pack; they count in nothing else.
    package var missingChunks: UInt64 = 0
    /// Files and directories whose lists could not be read: nothing of them is counted.
    package var unreadable: UInt64 = 0

    /// How a chunk is stored.
    package enum Form: String, Sendable, CaseIterable {
        /// As it is.
        case stored
        case zstd
        /// Numbers taken apart into planes of bytes.
        case planes
        /// What differs from another chunk.
        case difference
        /// The index does not tell: what was stored by early versions.
        case unknown
    }

    /// What is stored in one form.
    package struct Share: Hashable, Sendable {
        /// Bytes of the chunks, and what they take in packs.
        package var bytes: UInt64 = 0
        package var storedBytes: UInt64 = 0

        package init() {}
    }

    package init() {}

    /// Bytes of chunks that are stored as the difference to another.
    package var differenceBytes: UInt64 { shares[.difference]?.bytes ?? 0 }

    /// The part of the chunks' bytes that is stored as `form`, 0 to 1; nil without chunks.
    package func share(_ form: Form) -> Double? {
        chunkBytes == 0 ? nil : Double(shares[form]?.bytes ?? 0) / Double(chunkBytes)
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
        var groups: [Blob: (own: UInt64, sealed: UInt64, form: Form)] = [:]

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
                let form = Self.form(location)
                storage.shares[form, default: .init()].bytes += UInt64(length)
                if location.isGroup {
                    let blob = Blob(pack: location.pack, offset: location.offset)
                    groups[blob, default: (0, UInt64(location.sealedLength), form)].own += UInt64(length)
                } else {
                    take(UInt64(location.sealedLength), form)
                }
            }
        }

        mutating func take(_ stored: UInt64, _ form: Form) {
            storage.storedBytes += stored
            storage.shares[form, default: .init()].storedBytes += stored
        }

        private static func form(_ location: ChunkLocation) -> Form {
            switch location.codec {
            case .stored: .stored
            case .zstd: .zstd
            case .planes: .planes
            case .difference: .difference
            // Compressed it would be shorter by 3 % at least.
            case nil where !location.isGroup && location.sealedLength == location.rawLength + UInt32(AES256GCM.tagSize):
                .stored
            case nil: .unknown
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
        for group in sums.groups.values { sums.take(min(group.own, group.sealed), group.form) }
        return sums.storage
    }
}
