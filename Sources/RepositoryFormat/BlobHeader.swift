internal import Basics
internal import Sealing

/// How a blob's bytes were made smaller before they were sealed.
package enum BlobCodec: UInt8, Sendable {
    /// As they are.
    case stored = 0
    /// One zstd frame.
    case zstd = 1
    /// Byte planes (`PlaneForm`) that need no base.
    case planes = 2
    /// The id of the chunk's base (32), then byte planes of the difference to it.
    case difference = 3

    /// A codec in a list: 0 where nothing is told.
    static func told(_ codec: BlobCodec?) -> UInt8 { codec.map { $0.rawValue + 1 } ?? 0 }

    /// The codec that `number` tells; the outer nil for a number that means nothing.
    static func codec(told number: UInt8) -> BlobCodec?? {
        guard number > 0 else { return .some(nil) }
        return BlobCodec(rawValue: number - 1).map { .some($0) }
    }
}

/// Stands in the clear before each sealed blob of a pack: 56 bytes, little-endian.
///
/// `magic (4) ‖ codec (1) ‖ flags (1) ‖ 0 (2) ‖ sealed length (4) ‖ raw length (4) ‖ nonce (8) ‖ id (32)`. It is
/// authenticated as context of the seal, and lets a damaged pack be read again from the next blob on.
package struct BlobHeader: Hashable, Sendable {
    /// Bytes of an encoded header.
    package static let size = 56
    /// "BLOB".
    static let magic: UInt32 = 0x424f_4c42

    package var codec: BlobCodec
    /// Whether the blob holds several small chunks (`BlobGroup`).
    package var isGroup: Bool
    /// Bytes that follow the header: ciphertext and tag.
    package var sealedLength: UInt32
    /// Bytes after opening and decompressing.
    package var rawLength: UInt32
    /// Counts up within the session.
    package var nonce: UInt64
    /// The chunk's id; of a group, its first member's.
    package var id: ChunkID

    package init(
        codec: BlobCodec, isGroup: Bool, sealedLength: UInt32, rawLength: UInt32, nonce: UInt64, id: ChunkID
    ) {
        self.codec = codec
        self.isGroup = isGroup
        self.sealedLength = sealedLength
        self.rawLength = rawLength
        self.nonce = nonce
        self.id = id
    }

    /// The largest raw length that a reader takes: a chunk's or a group's.
    package static let maximumRawLength: UInt32 = 64 << 20

    /// The encoded header.
    package func encoded() -> [UInt8] {
        var writer = ByteWriter(reserving: Self.size)
        writer.write(littleEndian: Self.magic)
        writer.write(codec.rawValue)
        writer.write(isGroup ? 1 : 0 as UInt8)
        writer.write(littleEndian: 0 as UInt16)
        writer.write(littleEndian: sealedLength)
        writer.write(littleEndian: rawLength)
        writer.write(littleEndian: nonce)
        writer.write(raw: id.digest.bytes)
        return writer.bytes
    }

    /// Reads a header at the start of `bytes`. Throws `.damaged`.
    package init(decoding bytes: UnsafeRawBufferPointer) throws(FormatError) {
        guard bytes.count >= Self.size else { throw FormatError(.damaged, "a blob's header is cut short") }
        guard UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt32.self)) == Self.magic else {
            throw FormatError(.damaged, "no blob begins where one should")
        }
        guard let codec = BlobCodec(rawValue: bytes[4]), bytes[5] <= 1, bytes[6] == 0, bytes[7] == 0 else {
            throw FormatError(
                .damaged, "a blob's header has an unknown codec \(bytes[4]) or flag: it is damaged or newer")
        }
        self.codec = codec
        isGroup = bytes[5] == 1
        guard codec != .difference || !isGroup else {
            throw FormatError(.damaged, "a blob's header claims that a group has a base")
        }
        sealedLength = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self))
        rawLength = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 12, as: UInt32.self))
        nonce = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
        id = ChunkID(Digest(UnsafeRawBufferPointer(rebasing: bytes[24..<56])))
        guard rawLength <= Self.maximumRawLength, sealedLength >= UInt32(AES256GCM.tagSize),
            sealedLength <= Self.maximumRawLength + UInt32(AES256GCM.tagSize)
        else { throw FormatError(.damaged, "a blob's header has an impossible length") }
    }

    /// What the seal binds: the pack and this header.
    package func context(pack: Identifier) -> [UInt8] { pack.bytes + encoded() }
}
