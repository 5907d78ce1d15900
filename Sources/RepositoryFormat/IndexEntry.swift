internal import Sealing

/// Where a chunk lies: 32 bytes in an index segment, which may be mapped into memory and read in place.
///
/// `id prefix (8 + 8, as two little-endian words, the first being the id's first eight bytes read big-endian) ‖ pack (4) ‖
/// offset (4) ‖ sealed length (4) ‖ raw length (4, the top bit set for a member of a group, the next for a chunk that is
/// stored as the difference to a base, the next two 1 + codec where it is told and no difference)`. The base's id stands in
/// a table of the segment.
package struct IndexEntry: Hashable, Sendable {
    /// Bytes of an entry.
    package static let size = 32

    /// First 8 and next 8 bytes of the chunk's id, big-endian.
    package var high: UInt64
    package var low: UInt64
    /// Row of the segment's pack table.
    package var pack: UInt32
    /// Bytes from the pack's start to the blob's header.
    package var offset: UInt32
    /// Bytes after the blob's header.
    package var sealedLength: UInt32
    /// Bytes of the chunk itself.
    package var rawLength: UInt32
    /// Whether the blob is a group in which the chunk is to be looked for.
    package var isGroup: Bool
    /// Whether the chunk is stored as the difference to a base.
    package var hasBase: Bool
    /// The base, if there is one: not part of the 32 bytes, and nil where only those were read.
    package var base: ChunkID?
    /// How the blob was made smaller; nil where that is not told.
    package var codec: BlobCodec?

    package init(
        id: ChunkID, pack: UInt32, offset: UInt32, sealedLength: UInt32, rawLength: UInt32, isGroup: Bool,
        base: ChunkID? = nil, codec: BlobCodec? = nil
    ) {
        (high, low) = id.digest.prefix
        self.pack = pack
        self.offset = offset
        self.sealedLength = sealedLength
        self.rawLength = rawLength
        self.isGroup = isGroup
        self.base = base
        hasBase = base != nil
        self.codec = base != nil ? .difference : codec
    }

    /// Reads the entry at `base`, which must have `size` bytes.
    package init(at base: UnsafeRawPointer) {
        high = UInt64(littleEndian: base.loadUnaligned(fromByteOffset: 0, as: UInt64.self))
        low = UInt64(littleEndian: base.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        pack = UInt32(littleEndian: base.loadUnaligned(fromByteOffset: 16, as: UInt32.self))
        offset = UInt32(littleEndian: base.loadUnaligned(fromByteOffset: 20, as: UInt32.self))
        sealedLength = UInt32(littleEndian: base.loadUnaligned(fromByteOffset: 24, as: UInt32.self))
        let word = UInt32(littleEndian: base.loadUnaligned(fromByteOffset: 28, as: UInt32.self))
        rawLength = word & 0x0fff_ffff
        isGroup = word >> 31 == 1
        hasBase = word >> 30 & 1 == 1
        codec = hasBase ? .difference : BlobCodec.codec(told: UInt8(word >> 28 & 3)) ?? nil
    }

    /// Writes the entry at `base`, which must have room for `size` bytes.
    package func store(at base: UnsafeMutableRawPointer) {
        base.storeBytes(of: high.littleEndian, toByteOffset: 0, as: UInt64.self)
        base.storeBytes(of: low.littleEndian, toByteOffset: 8, as: UInt64.self)
        base.storeBytes(of: pack.littleEndian, toByteOffset: 16, as: UInt32.self)
        base.storeBytes(of: offset.littleEndian, toByteOffset: 20, as: UInt32.self)
        base.storeBytes(of: sealedLength.littleEndian, toByteOffset: 24, as: UInt32.self)
        var flags: UInt32 = (isGroup ? 1 << 31 : 0) | (hasBase ? 1 << 30 : 0)
        if !hasBase { flags |= UInt32(BlobCodec.told(codec)) << 28 }
        base.storeBytes(of: (rawLength | flags).littleEndian, toByteOffset: 28, as: UInt32.self)
    }

    /// Whether it is for the chunk `id`, as far as 128 bits tell.
    package func matches(_ id: ChunkID) -> Bool { id.digest.prefix == (high, low) }
}
