internal import Basics
internal import Logging
internal import ObjectStorage
package import RepositoryFormat
internal import Sealing
internal import Synchronization

/// One run that adds chunks and at most one snapshot: packs, then index segments, then the manifest.
///
/// Threads: `ChunkEncoder`s (one per worker thread) call in from threads of ours; uploads run on the session's own
/// threads; `finish` and `commit` are called by the owner after its workers are done. The first failure ends the
/// session: every later call throws it.
package final class WriteSession: Sendable {
    package let repository: Repository
    package let index: RepositoryIndex
    package let header: SessionHeader
    let key: SecretKey
    private let nonces = Atomic<UInt64>(1)
    private let claims = Mutex(Claims())
    private let failure = Mutex<RepositoryError?>(nil)
    private let counters = Mutex(WriteCounters())
    private let builders: [ChunkKind: PackBuilder]
    private let queue: BoundedQueue<CompletedPack>
    /// Bases that could not be read. After a few, no more are asked for.
    private let unreadableBases = Atomic<Int>(0)
    private static let unreadableBasesLimit = 4
    /// Memory for chunks to which others are stored as the difference.
    let bases: BasePool
    private let publisher: SegmentPublisher
    let heartbeat: SessionHeartbeat
    private let uploaders = Mutex<WorkerThreads?>(nil)

    private struct Claims {
        var ids: Set<ChunkID> = []
        /// Those of which there is a whole copy, or will be.
        var wholes: Set<ChunkID> = []
        /// Chunks of data that lie whole and by themselves in packs of this session.
        var stored: Set<ChunkID> = []
        /// Packs of others that this session's chunks rely on.
        var relied: Set<Identifier> = []
    }

    struct CompletedPack: Sendable {
        let pack: OpenPack
        let pool: BufferPool
    }

    /// A session on `repository`, whose index is `index`. Throws `.notPermitted` with a reader key, and when randomness
    /// fails or the store refuses.
    package static func begin(_ repository: Repository, index: RepositoryIndex) async throws(RepositoryError)
        -> WriteSession
    {
        try repository.require(.write, to: "store anything")
        do {
            let (header, key) = try SessionHeader.create(keyring: repository.keyring)
            let heartbeat = SessionHeartbeat(repository: repository, sessionID: header.sessionID)
            try await heartbeat.begin()
            // What an interrupted run left is listed before anything relies on it.
            for segment in index.takeUnpublished() {
                _ = try await repository.putSegments(segment.packs, segment.entries)
            }
            let session = WriteSession(repository, index, header, key, heartbeat)
            session.startUploaders()
            return session
        } catch {
            throw RepositoryError(error, doing: "cannot begin to write")
        }
    }

    private init(
        _ repository: Repository, _ index: RepositoryIndex, _ header: SessionHeader, _ key: SecretKey,
        _ heartbeat: SessionHeartbeat
    ) {
        self.repository = repository
        self.index = index
        self.header = header
        self.key = key
        self.heartbeat = heartbeat
        let plan = repository.plan
        let queue = BoundedQueue<CompletedPack>(limit: plan.packs + plan.treePacks + 1)
        self.queue = queue
        publisher = SegmentPublisher(repository: repository, index: index)
        bases = BasePool(
            repository: repository, keys: SessionKeys(keyring: repository.keyring), rehash: true, index: index)
        let complete: @Sendable (OpenPack, BufferPool) -> Void = { pack, pool in
            if !queue.push(CompletedPack(pack: pack, pool: pool)) { pool.give(pack.buffer) }
        }
        builders = [
            .data: PackBuilder(
                kind: .data, packBytes: plan.packBytes, limit: plan.packs, session: header, complete: complete),
            .tree: PackBuilder(
                kind: .tree, packBytes: plan.treePackBytes, limit: plan.treePacks, session: header, complete: complete),
        ]
    }

    private func startUploaders() {
        let count = min(repository.options.connections, repository.plan.packs + repository.plan.treePacks)
        let threads = WorkerThreads(count: count, name: "becalm-upload") { _ in
            while let completed = self.queue.pop() { self.upload(completed) }
        }
        uploaders.withLock { $0 = threads }
    }

    /// What has been done so far.
    package var progress: WriteCounters { counters.withLock { $0 } }

    /// Throws the failure that ended the session, if one did.
    package func check() throws(RepositoryError) {
        if let error = failure.withLock({ $0 }) { throw error }
    }

    /// Ends the session: what is under way is dropped, every call throws `error` from now on.
    package func fail(_ error: any Error) {
        let error = RepositoryError(error)
        failure.withLock { $0 = $0 ?? error }
    }

    /// Whether bases are worth asking for.
    var seeksBases: Bool { unreadableBases.load(ordering: .relaxed) < Self.unreadableBasesLimit }

    /// Notes that a base could not be read: what was to be the difference to it is stored whole.
    func noteUnreadableBase(_ error: RepositoryError) {
        if unreadableBases.wrappingAdd(1, ordering: .relaxed).oldValue == 0 {
            repository.options.logger.warning(
                "stored whole, for what it was to be the difference to cannot be read: \(error)")
        }
    }

    /// Whether the chunk is new, and if so, promises that the caller stores it. `count` is its bytes. With `asWhole` it is
    /// new unless there is a whole copy.
    func claim(_ id: ChunkID, kind: ChunkKind, count: Int, asWhole: Bool = false) -> Bool {
        let fresh = claims.withLock { claims in
            let isFirst = claims.ids.insert(id).inserted
            return asWhole ? claims.wholes.insert(id).inserted : isFirst
        }
        guard fresh else {
            counters.withLock { $0.bytesRead += kind == .data ? UInt64(count) : 0 }
            return false
        }
        if let location = asWhole ? index.findWhole(id, kind: kind) : index.find(id, kind: kind) {
            rely(on: location)
            counters.withLock { $0.bytesRead += kind == .data ? UInt64(count) : 0 }
            return false
        }
        counters.withLock {
            $0.bytesRead += kind == .data ? UInt64(count) : 0
            $0.bytesNew += UInt64(count)
            $0.chunksNew += 1
        }
        return true
    }

    /// Whether a chunk of an earlier snapshot may be relied on; notes its pack if so.
    package func relyOn(_ id: ChunkID, kind: ChunkKind) -> Bool {
        if claims.withLock({ $0.ids.contains(id) }) { return true }
        guard let location = index.find(id, kind: kind) else { return false }
        claims.withLock { _ = $0.ids.insert(id) }
        rely(on: location)
        return true
    }

    /// As `relyOn`, for a chunk that is asked for once: its pack is remembered, the chunk is not. Nil where it may not be
    /// relied on, else its bytes as the index has them.
    package func relyOnStored(_ id: ChunkID, kind: ChunkKind) -> UInt32? {
        guard let location = index.find(id, kind: kind) else { return nil }
        rely(on: location)
        return location.rawLength
    }

    /// Notes that the snapshot is of no use without the pack.
    func rely(on pack: Identifier) { claims.withLock { _ = $0.relied.insert(pack) } }

    /// Notes that the snapshot is of no use without what must be read for this chunk.
    private func rely(on location: ChunkLocation) {
        rely(on: location.pack)
        if let base = location.base, let whole = index.findWhole(base, kind: location.kind) { rely(on: whole.pack) }
    }

    /// Where a chunk of data is stored whole.
    struct WholePlace {
        /// Nil for a pack of this session.
        var pack: Identifier?
    }

    /// Where the chunk is stored whole, so that another may be the difference to it; nil when it is not known to be.
    ///
    /// One that this session stores counts as soon as it is in a pack: all packs are stored before the snapshot, and should
    /// the run end before, a difference without its base counts as no copy.
    func wholePlace(of id: ChunkID) -> WholePlace? {
        if claims.withLock({ $0.stored.contains(id) }) { return WholePlace(pack: nil) }
        return index.findWhole(id, kind: .data).map { WholePlace(pack: $0.pack) }
    }

    /// Notes that a chunk of data lies whole in a pack of this session.
    func noteWhole(_ id: ChunkID) { claims.withLock { _ = $0.stored.insert(id) } }

    func nextNonce() -> UInt64 { nonces.wrappingAdd(1, ordering: .relaxed).newValue }

    /// Room for a sealed blob in a pack of `kind`.
    func reserve(_ count: Int, kind: ChunkKind) throws -> (pack: OpenPack, offset: Int) {
        try check()
        return try builder(kind).reserve(count)
    }

    func release(_ pack: OpenPack, _ blob: PackedBlob?) { builder(pack.kind).release(pack, blob) }

    private func builder(_ kind: ChunkKind) -> PackBuilder {
        guard let builder = builders[kind] else { preconditionFailure("a builder for every kind") }
        return builder
    }

    // MARK: Uploading

    private func upload(_ completed: CompletedPack) {
        let pack = completed.pack
        defer { completed.pool.give(pack.buffer) }
        guard failure.withLock({ $0 }) == nil else { return }
        do {
            let blobs = pack.blobs
            guard !blobs.isEmpty else { return }
            let footer = try PackFooter.encode(blobs, pack: pack.id, keyring: repository.keyring)
            pack.buffer.count = pack.used
            footer.withUnsafeBytes { pack.buffer.append($0) }
            let bytes = UInt64(pack.buffer.count)
            let body = ObjectBody([pack.buffer])
            let repository = repository
            let retention = repository.retention(from: heartbeat.serverTime())
            let options = PutOptions(
                condition: repository.store.capabilities.createIfAbsent ? .ifAbsent : .none, retention: retention)
            let receipt = try BlockingBridge.run { () async throws(ObjectStorageError) in
                try await repository.store.put(ObjectNames.pack(pack.id, pack.kind), body, options: options)
            }
            heartbeat.saw(receipt.date)
            counters.withLock { $0.bytesStored += bytes }
            let indexed = IndexedPack(
                id: pack.id, kind: pack.kind, bytes: bytes,
                retainedUntil: retention?.until ?? Timestamp(nanoseconds: 0), session: header)
            try publisher.add(indexed, blobs)
            try heartbeat.beatIfDue()
        } catch {
            fail(RepositoryError(error, doing: "cannot store pack \(pack.id)"))
        }
    }

    /// Uploads what is left and publishes the last index segment. After it no chunk may be added.
    ///
    /// Blocks until all is stored; call from a thread of ours. Throws the session's failure.
    package func finish() throws(RepositoryError) {
        for kind in ChunkKind.allCases { builder(kind).flush() }
        queue.close()
        uploaders.withLock { threads in
            defer { threads = nil }
            return threads
        }?.join()
        try check()
        do {
            try publisher.publish()
        } catch {
            throw RepositoryError(error, doing: "cannot publish the index")
        }
    }

    /// Publishes what has been uploaded so far, so that an interrupted run is not lost. Any thread of ours.
    package func checkpoint() throws(RepositoryError) {
        do { try publisher.publish() } catch { throw RepositoryError(error, doing: "cannot publish the index") }
    }

    /// Ends the session without a snapshot: waits for the uploaders, removes the session's object.
    package func abandon() async {
        fail(RepositoryError(.cancelled, "cancelled"))
        do {
            _ = try await BlockingBridge.offload(name: "becalm-abandon") { () -> Result<Void, any Error> in
                Result { try self.finish() }
            }
        } catch {
            repository.options.logger.debug("session \(header.sessionID) ended: \(error)")
        }
        await heartbeat.end()
    }

    /// Ends the heartbeat of a session whose snapshot was withdrawn.
    package func heartbeatEnd() async { await heartbeat.end() }

    /// Packs that the snapshot relies on: others' and this session's own.
    var reliedPacks: Set<Identifier> { claims.withLock { $0.relied }.union(publisher.published.packs) }
    /// Index segments that this session published.
    var publishedSegments: [Identifier] { publisher.published.segments }
    /// Only others' packs.
    var reusedPacks: Set<Identifier> { claims.withLock { $0.relied } }
}

/// What a session has read and stored.
package struct WriteCounters: Hashable, Sendable {
    /// Bytes of file content that passed by, whether new or not.
    package var bytesRead: UInt64 = 0
    /// Bytes of chunks that were not in the repository.
    package var bytesNew: UInt64 = 0
    /// Bytes added to the store.
    package var bytesStored: UInt64 = 0
    package var chunksNew: UInt64 = 0
}
