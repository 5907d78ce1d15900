internal import Basics
internal import ObjectStorage
internal import RepositoryFormat
internal import Sealing
internal import Synchronization

/// Copies chunks into new packs: opened, checked against their ids, compressed and sealed anew under a session of this
/// run, and published in the index.
final class ChunkCopier: Sendable {
    /// A chunk to copy.
    struct Request: Hashable, Sendable {
        var key: TreeMarker.Key
        /// Whether the copy that it is to take the place of is whole: then others may be stored as the difference to it, and
        /// the new one must be whole too.
        var isWhole: Bool
    }

    /// What became of the chunks.
    struct Outcome: Sendable {
        /// Chunks that could not be read, and why: their packs must stay.
        var failed: [TreeMarker.Key: RepositoryError] = [:]
        var chunks: UInt64 = 0
        var bytes: UInt64 = 0
    }

    private let repository: Repository
    private let index: RepositoryIndex

    /// `index` treats the packs that are to go as condemned, so that their chunks count as new.
    init(repository: Repository, index: RepositoryIndex) {
        self.repository = repository
        self.index = index
    }

    /// Copies the chunks; when it returns, the copies and the index that names them are stored.
    ///
    /// Throws what the store throws: then some copies may be stored, which nothing refers to.
    ///
    /// Whole chunks first, and listed when the others follow: those may be differences to them.
    func copy(
        _ requests: [Request], _ progress: @escaping MaintenanceProgress.Handler
    ) async throws(RepositoryError) -> Outcome {
        var outcome = Outcome()
        for isWhole in [true, false] {
            let keys = requests.filter { $0.isWhole == isWhole }.map(\.key)
            guard !keys.isEmpty else { continue }
            let part = try await copy(keys, isWhole: isWhole, progress)
            outcome.failed.merge(part.failed) { first, _ in first }
            outcome.chunks += part.chunks
            outcome.bytes += part.bytes
        }
        return outcome
    }

    private func copy(
        _ keys: [TreeMarker.Key], isWhole: Bool, _ progress: @escaping MaintenanceProgress.Handler
    ) async throws(RepositoryError) -> Outcome {
        let session = try await WriteSession.begin(repository, index: index)
        do {
            let outcome = try await Interruption.offload(name: "becalm-copy") { interruption in
                try self.run(keys, isWhole: isWhole, session, interruption, progress)
            }
            await session.heartbeat.end()
            return outcome
        } catch {
            await session.abandon()
            throw error
        }
    }

    private func run(
        _ keys: [TreeMarker.Key], isWhole: Bool, _ session: WriteSession, _ interruption: Interruption,
        _ progress: MaintenanceProgress.Handler
    ) throws -> Outcome {
        let outcome = Mutex(Outcome())
        let encoders = EncoderPool(session: session)
        let reader = ChunkReader(repository: repository, index: index, rehash: false)
        // In batches, so that a long run can be cancelled and tells how far it is.
        for kind in ChunkKind.allCases {
            let ids = keys.filter { $0.kind == kind }.map(\.id)
            for start in stride(from: 0, to: ids.count, by: 4096) {
                try interruption.check()
                let batch = Array(ids[start..<min(start + 4096, ids.count)])
                let failures = try reader.read(batch, kind: kind) { id, bytes in
                    let digest = SHA256State.digest(of: bytes)
                    guard self.repository.chunkIdentifier.id(of: digest, kind: kind) == id else {
                        outcome.withLock {
                            $0.failed[.init(id: id, kind: kind)] = RepositoryError(
                                .damaged, "other bytes are stored under chunk \(id)")
                        }
                        return
                    }
                    let base = isWhole ? nil : self.index.findForReading(id, kind: kind)?.base
                    _ = try encoders.add(bytes, digest, kind, base, isWhole: isWhole)
                    outcome.withLock {
                        $0.chunks += 1
                        $0.bytes += UInt64(bytes.count)
                    }
                }
                for failure in failures {
                    // A temporary failure of the store is no damage: nothing may be concluded from it.
                    if let cause = failure.error.cause as? ObjectStorageError, cause.code.isTemporary {
                        throw failure.error
                    }
                    outcome.withLock { $0.failed[.init(id: failure.id, kind: kind)] = failure.error }
                }
                let now = outcome.withLock { $0 }
                progress(
                    MaintenanceProgress(
                        .copying, done: now.chunks, total: UInt64(keys.count), bytes: now.bytes))
            }
        }
        try encoders.flush()
        try session.finish()
        return outcome.withLock { $0 }
    }
}

/// Encoders for threads that come and go: each is used by one thread at a time. `@unchecked Sendable` rests on the
/// stack's lock, which hands an encoder from one thread to the next.
private final class EncoderPool: @unchecked Sendable {
    private let session: WriteSession
    private let idle = Monitor<[ChunkEncoder]>([])

    init(session: WriteSession) { self.session = session }

    /// Stores the chunk, as a difference to `base` if that still pays; with `isWhole` unless there is a whole copy.
    func add(
        _ bytes: UnsafeRawBufferPointer, _ digest: Digest, _ kind: ChunkKind, _ base: ChunkID?, isWhole: Bool
    ) throws -> ChunkID {
        let encoder = try idle.withLock { $0.popLast() } ?? ChunkEncoder(session: session)
        defer { idle.withLock { $0.append(encoder) } }
        // Nothing is known of where it comes from, so it is looked at by itself.
        return try encoder.add(
            [bytes], contentDigest: digest, kind: kind,
            traits: ChunkTraits(
                family: ChunkFamily(elementWidth: nil, isFloatingPoint: false), offset: 0, base: base),
            asWhole: isWhole)
    }

    /// Call when no thread adds any more.
    func flush() throws {
        try idle.withLock { for encoder in $0 { try encoder.flush() } }
    }
}
