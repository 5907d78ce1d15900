internal import Basics
internal import Sealing

/// The bytes before the first blob of a pack: 128, in the clear.
///
/// `magic (8) ‖ version (2) ‖ kind (1) ‖ 0 (1) ‖ pack id (16) ‖ session header (100)`.
package struct PackHeader: Hashable, Sendable {
    /// Bytes of the header.
    package static let size = 8 + 2 + 1 + 1 + Identifier.size + SessionHeader.size
    private static let magic: [UInt8] = Array("BCLMPACK".utf8)
    private static let version: UInt16 = 1

    package var id: Identifier
    package var kind: ChunkKind
    package var session: SessionHeader

    package init(id: Identifier, kind: ChunkKind, session: SessionHeader) {
        self.id = id
        self.kind = kind
        self.session = session
    }

    /// The encoded header.
    package func encoded() -> [UInt8] {
        var writer = ByteWriter(reserving: Self.size)
        writer.write(raw: Self.magic)
        writer.write(littleEndian: Self.version)
        writer.write(kind.rawValue)
        writer.write(0 as UInt8)
        writer.write(raw: id.bytes)
        writer.write(raw: session.encoded())
        return writer.bytes
    }

    /// Reads the first `size` bytes of a pack. Throws `.damaged`, also for a newer form: nothing vouches for these bytes,
    /// and a repository with newer forms says so in its config.
    package init(decoding bytes: [UInt8]) throws(FormatError) {
        self = try FormatError.reading("a pack's header") {
            var reader = ByteReader(bytes)
            guard try reader.readRaw(8).elementsEqual(Self.magic) else { throw reader.malformed("magic expected") }
            guard try reader.read(UInt16.self) <= Self.version else {
                throw FormatError(
                    .damaged, "its header claims a newer form: it is damaged, or a newer becalm has written it")
            }
            guard let kind = ChunkKind(rawValue: try reader.readByte()) else { throw reader.malformed("kind expected") }
            _ = try reader.readByte()
            return PackHeader(
                id: try Identifier.read(&reader), kind: kind, session: try SessionHeader.read(&reader))
        }
    }
}

/// A blob as a pack's footer lists it.
package struct PackedBlob: Hashable, Sendable {
    /// Bytes from the pack's start to the blob's header.
    package var offset: UInt32
    /// Bytes after the header.
    package var sealedLength: UInt32
    package var isGroup: Bool
    /// The chunk, or the group's chunks, with their raw lengths.
    package var members: [BlobGroup.Member]
    /// The chunk to which this one is stored as the difference; a group has none.
    package var base: ChunkID?
    /// How it was made smaller, as its header says too; nil in lists that were written before they told.
    package var codec: BlobCodec?

    package init(
        offset: UInt32, sealedLength: UInt32, isGroup: Bool, members: [BlobGroup.Member], base: ChunkID? = nil,
        codec: BlobCodec?
    ) {
        self.base = base
        self.codec = codec
        self.offset = offset
        self.sealedLength = sealedLength
        self.isGroup = isGroup
        self.members = members
    }
}

/// The list of a pack's blobs at its end: a `MetaBox`, then `box length (4) ‖ 0 (4) ‖ magic (8)`.
package enum PackFooter {
    /// Bytes of the trailer behind the box.
    package static let trailerSize = 16
    private static let magic: [UInt8] = Array("BCLMPEND".utf8)
    private static let label = "pack footer v1"

    /// The footer's bytes, trailer included.
    package static func encode(_ blobs: [PackedBlob], pack: Identifier, keyring: Keyring) throws
        -> [UInt8]
    {
        var writer = ByteWriter(reserving: blobs.count * 48)
        writer.write(varint: UInt64(blobs.count))
        for blob in blobs {
            writer.write(varint: UInt64(blob.offset))
            writer.write(varint: UInt64(blob.sealedLength))
            let form: UInt8 = blob.isGroup ? 1 : blob.base != nil ? 2 : 0
            writer.write(form | BlobCodec.told(blob.codec) << 4)
            if let base = blob.base { writer.write(raw: base.digest.bytes) }
            writer.write(varint: UInt64(blob.members.count))
            for member in blob.members {
                writer.write(raw: member.id.digest.bytes)
                writer.write(varint: UInt64(member.length))
            }
        }
        let box = try MetaBox.seal(writer.bytes, label: label, name: pack.description, keyring: keyring)
        var trailer = ByteWriter(reserving: box.count + trailerSize)
        trailer.write(raw: box)
        trailer.write(littleEndian: UInt32(box.count))
        trailer.write(littleEndian: 0 as UInt32)
        trailer.write(raw: magic)
        return trailer.bytes
    }

    /// Bytes of the whole footer, from the last `trailerSize` bytes of a pack. Throws `.damaged`.
    package static func size(trailer: [UInt8]) throws(FormatError) -> Int {
        try FormatError.reading("a pack's trailer") {
            var reader = ByteReader(trailer)
            let count = try reader.read(UInt32.self)
            _ = try reader.read(UInt32.self)
            guard try reader.readRaw(8).elementsEqual(magic) else { throw reader.malformed("magic expected") }
            guard count <= 256 << 20 else { throw reader.malformed("a smaller footer expected") }
            return Int(count) + trailerSize
        }
    }

    /// Reads a footer (with its trailer). Throws `.damaged`.
    package static func decode(_ bytes: [UInt8], pack: Identifier, keyring: Keyring) throws(FormatError) -> [PackedBlob]
    {
        try FormatError.reading("the footer of pack \(pack)") {
            let body = try MetaBox.open(
                Array(bytes.dropLast(trailerSize)), label: label, name: pack.description, keyring: keyring)
            var reader = ByteReader(body)
            var blobs: [PackedBlob] = []
            for _ in 0..<(try reader.readCount(minimumSize: 4)) {
                let offset = try reader.readVarint()
                let sealedLength = try reader.readVarint()
                let form = try reader.readByte()
                guard form & 15 <= 2, let codec = BlobCodec.codec(told: form >> 4),
                    codec == nil || (form & 15 == 2) == (codec == .difference)
                else { throw reader.malformed("a chunk, a group or a difference, and a codec that fits, expected") }
                let base = form & 15 == 2 ? ChunkID(try Digest.read(&reader)) : nil
                var members: [BlobGroup.Member] = []
                for _ in 0..<(try reader.readCount(minimumSize: 33)) {
                    let id = ChunkID(try Digest.read(&reader))
                    let length = try reader.readVarint()
                    guard length <= UInt64(BlobHeader.maximumRawLength) else {
                        throw reader.malformed("smaller chunk expected")
                    }
                    members.append(.init(id: id, length: UInt32(length)))
                }
                guard offset <= UInt64(UInt32.max), sealedLength <= UInt64(UInt32.max) else {
                    throw reader.malformed("smaller pack expected")
                }
                blobs.append(
                    PackedBlob(
                        offset: UInt32(offset), sealedLength: UInt32(sealedLength), isGroup: form & 15 == 1,
                        members: members, base: base, codec: codec))
            }
            try reader.expectEnd()
            return blobs
        }
    }
}
