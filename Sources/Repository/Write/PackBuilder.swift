internal import Basics
internal import RepositoryFormat

/// Fills packs of one kind. Reserving waits while all packs are full or being uploaded: that is the backpressure.
///
/// Called by worker threads, never from the cooperative pool.
final class PackBuilder: Sendable {
    private struct State {
        var current: OpenPack?
    }

    private let kind: ChunkKind
    private let packBytes: Int
    private let pool: BufferPool
    private let session: SessionHeader
    private let complete: @Sendable (OpenPack, BufferPool) -> Void
    private let state = Monitor(State())

    /// Room behind the blobs for the footer: a footer lists at least 4 KiB of blob per some 50 bytes.
    private static func slack(_ packBytes: Int) -> Int { max(1 << 20, packBytes / 16) }

    /// `complete` is called once for each pack, by the thread that ends its last reservation; it gives the buffer back
    /// to the pool when the pack has been uploaded.
    init(
        kind: ChunkKind, packBytes: Int, limit: Int, session: SessionHeader,
        complete: @escaping @Sendable (OpenPack, BufferPool) -> Void
    ) {
        self.kind = kind
        self.packBytes = packBytes
        self.session = session
        self.complete = complete
        pool = BufferPool(bufferCapacity: packBytes + Self.slack(packBytes), limit: limit)
    }

    /// Room for `count` bytes.
    func reserve(_ count: Int) throws -> (pack: OpenPack, offset: Int) {
        precondition(PackHeader.size + count <= packBytes, "a blob of \(count) bytes does not fit a pack")
        var full: OpenPack?
        let reservation = try state.withLock { state -> (OpenPack, Int) in
            if let current = state.current, current.used + count > packBytes {
                full = current
                state.current = nil
            }
            let pack: OpenPack
            if let current = state.current {
                pack = current
            } else {
                // Others that want room wait here with us: their buffers are what we wait for, or an upload's.
                if let closing = full, closing.close() { complete(closing, pool) }
                full = nil
                pack = OpenPack(id: try Identifier.random(), kind: kind, buffer: pool.take(), session: session)
                state.current = pack
            }
            let offset = pack.used
            pack.used += count
            pack.retainReservation()
            return (pack, offset)
        }
        return reservation
    }

    /// Ends a reservation.
    func release(_ pack: OpenPack, _ blob: PackedBlob?) {
        if pack.release(blob) { complete(pack, pool) }
    }

    /// Closes the pack that is being filled.
    func flush() {
        let last = state.withLock { state in
            let current = state.current
            state.current = nil
            return current
        }
        if let last, last.close() { complete(last, pool) }
    }
}
