internal import Basics
internal import RepositoryFormat
internal import Synchronization

/// A pack in memory: workers reserve room in it and seal their blobs straight into it, several at once.
///
/// Ownership: `PackBuilder` reserves under its lock; each reservation's holder writes only its own range; whoever takes
/// the last reservation away after the pack was closed finishes it. `@unchecked Sendable` rests on that.
final class OpenPack: @unchecked Sendable {
    private struct State {
        var outstanding = 0
        var isClosed = false
        var blobs: [PackedBlob] = []
    }

    let id: Identifier
    let kind: ChunkKind
    let buffer: Buffer
    private let base: UnsafeMutableRawPointer
    private let state = Mutex(State())
    /// Bytes reserved, header included. Touched under the builder's lock only.
    var used = PackHeader.size

    init(id: Identifier, kind: ChunkKind, buffer: Buffer, session: SessionHeader) {
        self.id = id
        self.kind = kind
        self.buffer = buffer
        guard let base = buffer.storage.baseAddress else { preconditionFailure("a pack's buffer has memory") }
        self.base = base
        let header = PackHeader(id: id, kind: kind, session: session).encoded()
        header.withUnsafeBytes { base.copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(base), byteCount: $0.count) }
    }

    /// Notes one more reservation. Under the builder's lock.
    func retainReservation() { state.withLock { $0.outstanding += 1 } }

    /// The memory of a reservation.
    func memory(at offset: Int, count: Int) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: base + offset, count: count)
    }

    /// Ends a reservation with the blob that was written there; nil when it failed. True when the pack is now complete.
    func release(_ blob: PackedBlob?) -> Bool {
        state.withLock { state in
            if let blob { state.blobs.append(blob) }
            state.outstanding -= 1
            return state.isClosed && state.outstanding == 0
        }
    }

    /// No more reservations. True when the pack is now complete.
    func close() -> Bool {
        state.withLock { state in
            guard !state.isClosed else { return false }
            state.isClosed = true
            return state.outstanding == 0
        }
    }

    /// The blobs in the order of their places.
    var blobs: [PackedBlob] { state.withLock { $0.blobs.sorted { $0.offset < $1.offset } } }
}
