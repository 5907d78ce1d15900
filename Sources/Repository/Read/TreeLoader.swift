internal import Basics
internal import ObjectStorage
package import RepositoryFormat
internal import Sealing
internal import Synchronization

/// Loads chunks one by one for those who walk a tree or look into a file, keeping the last blobs opened: neighbours share a
/// blob.
///
/// Any thread of ours may call it; it blocks.
package final class TreeLoader: Sendable {
    private struct Cached {
        var chunks: [ChunkID: [UInt8]]
        var bytes: Int
        var used: UInt64
    }

    private struct State {
        var blobs: [String: Cached] = [:]
        var bytes = 0
        var clock: UInt64 = 0
    }

    /// Bytes of opened blobs that are kept.
    private static let cacheBytes = 24 << 20

    private let repository: Repository
    private let index: Mutex<RepositoryIndex>
    private let keys: SessionKeys
    private let state = Mutex(State())

    package init(repository: Repository, index: RepositoryIndex) {
        self.repository = repository
        self.index = Mutex(index)
        keys = SessionKeys(keyring: repository.keyring)
    }

    /// The entries of a directory page. Throws `.notFound` or `.damaged` with the pack's name.
    package func page(_ id: ChunkID) throws(RepositoryError) -> [TreeEntry] {
        let bytes = try chunk(id)
        do { return try DirectoryPage.decode(bytes) } catch { throw RepositoryError(error) }
    }

    /// All items of a file's content.
    package func items(of content: FileContent) throws(RepositoryError) -> [ContentItem] {
        switch content {
        case .inline(let items): return items
        case .lists(let references):
            var items: [ContentItem] = []
            for reference in references {
                let bytes = try chunk(reference.id)
                do { items += try ContentList.decode(bytes) } catch { throw RepositoryError(error) }
            }
            return items
        }
    }

    /// The bytes of a chunk, checked against its id.
    package func chunk(_ id: ChunkID, kind: ChunkKind = .tree) throws(RepositoryError) -> [UInt8] {
        var pack: Identifier?
        do {
            return try load(id, kind, index.withLock { $0 }, &pack)
        } catch {
            guard error.isMissingObject || error.code == .notFound || error.code == .damaged else { throw error }
            if error.code != .damaged {
                let repository = repository
                let fresh = try BlockingBridge.run { () async throws(RepositoryError) in
                    try await repository.loadIndex(recovering: true)
                }
                if error.isMissingObject, let pack { fresh.markMissing([pack]) }
                index.withLock { $0 = fresh }
            }
            // What is damaged or gone in one pack may be whole in another.
            let others = index.withLock { $0 }.avoiding(pack.map { [$0] } ?? [])
            guard others.findForReading(id, kind: kind) != nil else { throw error }
            return try load(id, kind, others, &pack)
        }
    }

    /// `pack` is set to where the chunk was looked for.
    private func load(
        _ id: ChunkID, _ kind: ChunkKind, _ index: RepositoryIndex, _ pack: inout Identifier?
    ) throws(RepositoryError) -> [UInt8] {
        let what = kind == .tree ? "tree chunk" : "chunk"
        guard let location = index.findForReading(id, kind: kind) else {
            throw RepositoryError(.notFound, "\(what) \(id) is in no pack that the index knows")
        }
        pack = location.pack
        let key = "\(location.pack)/\(location.offset)"
        if let bytes = cached(key, id) { return bytes }
        do {
            let buffer = Buffer(capacity: Int(location.range.upperBound - location.range.lowerBound))
            let store = repository.store
            _ = try BlockingBridge.run { () async throws(ObjectStorageError) in
                try await store.get(
                    location.objectName, range: location.range, into: buffer, maximumBytes: buffer.capacity)
            }
            // What `open` answers lies in the buffer or in the opener: both live until it has been copied.
            let bases =
                kind == .tree
                ? nil : BasePool(repository: repository, keys: keys, rehash: false, index: index)
            let opener = BlobOpener(keys: keys, bases: bases)
            defer { withExtendedLifetime((buffer, opener)) {} }
            let opened = try opener.open(buffer.bytes, pack: location.pack, session: location.session)
            var chunks: [ChunkID: [UInt8]] = [:]
            if opened.header.isGroup {
                for (member, range) in try BlobGroup(decoding: opened.raw).ranges {
                    chunks[member.id] = Array(opened.raw[range])
                }
            } else {
                chunks[opened.header.id] = Array(opened.raw)
            }
            guard let bytes = chunks[id],
                repository.chunkIdentifier.id(of: SHA256State.digest(of: bytes), kind: kind) == id
            else {
                throw RepositoryError(
                    .damaged, "\(location.objectName) does not hold \(what) \(id), which the index places there")
            }
            remember(key, chunks)
            return bytes
        } catch let failure as BaseReader.Failure {
            // The base's pack is to blame.
            pack = failure.pack
            throw failure.error
        } catch {
            throw RepositoryError(error, doing: "cannot read \(what) \(id) in \(location.objectName)")
        }
    }

    private func cached(_ key: String, _ id: ChunkID) -> [UInt8]? {
        state.withLock { state in
            state.clock += 1
            guard let bytes = state.blobs[key]?.chunks[id] else { return nil }
            state.blobs[key]?.used = state.clock
            return bytes
        }
    }

    private func remember(_ key: String, _ chunks: [ChunkID: [UInt8]]) {
        let bytes = chunks.values.reduce(0) { $0 + $1.count }
        state.withLock { state in
            state.clock += 1
            if let old = state.blobs[key] { state.bytes -= old.bytes }
            state.blobs[key] = Cached(chunks: chunks, bytes: bytes, used: state.clock)
            state.bytes += bytes
            while state.bytes > Self.cacheBytes, state.blobs.count > 1,
                let oldest = state.blobs.min(by: { $0.value.used < $1.value.used })
            {
                state.bytes -= oldest.value.bytes
                state.blobs[oldest.key] = nil
            }
        }
    }
}
