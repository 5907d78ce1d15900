internal import Basics
internal import ObjectStorage
internal import RepositoryFormat
internal import Synchronization

/// Gathers what was uploaded and publishes it as index segments: every 16 packs or 128 Ki chunks, and at the end.
///
/// A segment is published only after all its packs are stored, so that whoever sees a chunk in the index finds it.
final class SegmentPublisher: Sendable {
    private struct State {
        var packs: [IndexedPack] = []
        var entries: [IndexEntry] = []
        var publishedPacks: Set<Identifier> = []
        var segments: [Identifier] = []
        var isPublishing = false
    }

    private static let packsPerSegment = 16
    private static let entriesPerSegment = 128 << 10

    private let repository: Repository
    private let index: RepositoryIndex
    private let state = Mutex(State())

    init(repository: Repository, index: RepositoryIndex) {
        self.repository = repository
        self.index = index
    }

    /// Packs and segments published so far.
    var published: (packs: Set<Identifier>, segments: [Identifier]) {
        state.withLock { ($0.publishedPacks, $0.segments) }
    }

    /// Notes an uploaded pack; publishes when enough has gathered. Called from upload threads.
    func add(_ pack: IndexedPack, _ blobs: [PackedBlob]) throws {
        let isDue = state.withLock { state in
            let row = UInt32(state.packs.count)
            state.packs.append(pack)
            for blob in blobs { state.entries += blob.entries(pack: row) }
            return state.packs.count >= Self.packsPerSegment || state.entries.count >= Self.entriesPerSegment
        }
        if isDue { try publish() }
    }

    /// Publishes what has gathered, if anything. Called from threads of ours.
    func publish() throws {
        let (packs, entries) = state.withLock { state in
            defer {
                state.packs = []
                state.entries = []
            }
            return (state.packs, state.entries)
        }
        guard !packs.isEmpty else { return }
        let id = try Identifier.random()
        let repository = repository
        let plain = IndexSegmentLayout.encode(packs: packs, entries: entries)
        try BlockingBridge.run { () async throws(RepositoryError) in
            try await repository.putSegment(plain, id: id)
        }
        let cache = SegmentCache(
            root: repository.options.cacheDirectory, repositoryID: repository.config.repositoryID,
            logger: repository.options.logger)
        index.add(try cache.store(id, plain))
        state.withLock { state in
            state.publishedPacks.formUnion(packs.map(\.id))
            state.segments.append(id)
        }
    }
}

extension Repository {
    /// Stores entries, whose `pack` names rows of `packs`, in segments of the usual size. A pack's entries stay together;
    /// a pack without any is left out.
    /// Answers how many segments that made.
    func putSegments(_ packs: [IndexedPack], _ entries: [IndexEntry]) async throws(RepositoryError) -> UInt64 {
        var byPack = [[IndexEntry]](repeating: [], count: packs.count)
        for entry in entries where Int(entry.pack) < packs.count { byPack[Int(entry.pack)].append(entry) }
        var written: UInt64 = 0
        var rows: [IndexedPack] = []
        var waiting: [IndexEntry] = []
        for (pack, own) in zip(packs, byPack) where !own.isEmpty {
            if !waiting.isEmpty, waiting.count + own.count > IndexSegmentLayout.maximumEntries {
                try await putSegment(IndexSegmentLayout.encode(packs: rows, entries: waiting), id: identifier())
                written += 1
                rows = []
                waiting = []
            }
            waiting += own.map { entry in
                var entry = entry
                entry.pack = UInt32(rows.count)
                return entry
            }
            rows.append(pack)
        }
        guard !waiting.isEmpty else { return written }
        try await putSegment(IndexSegmentLayout.encode(packs: rows, entries: waiting), id: identifier())
        return written + 1
    }

    private func identifier() throws(RepositoryError) -> Identifier {
        do { return try Identifier.random() } catch { throw RepositoryError(error) }
    }

    /// Seals and stores the plain bytes of a segment.
    func putSegment(_ plain: Buffer, id: Identifier) async throws(RepositoryError) {
        do {
            let stored = try IndexSegmentLayout.seal(plain, id: id, keyring: keyring)
            let now = options.retention == nil ? Timestamp(nanoseconds: 0) : try await store.serverTime()
            try await store.put(
                ObjectNames.segment(id), bytes: stored,
                options: PutOptions(
                    condition: store.capabilities.createIfAbsent ? .ifAbsent : .none, retention: retention(from: now)))
        } catch {
            throw RepositoryError(error, doing: "cannot store an index segment")
        }
    }
}
