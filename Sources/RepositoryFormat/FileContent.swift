internal import Basics
internal import Sealing

/// A regular file's bytes as a list of chunks and holes, in order.
package enum ContentItem: Hashable, Sendable {
    /// A chunk and its bytes.
    case chunk(ChunkID, length: UInt32)
    /// So many zero bytes that were not stored on disk and will not be.
    case hole(UInt64)

    /// Bytes of the file that it stands for.
    package var length: UInt64 {
        switch self {
        case .chunk(_, let length): UInt64(length)
        case .hole(let length): length
        }
    }
}

/// Where a file's list of chunks is: in its entry, or for long lists in tree chunks of their own.
package enum FileContent: Hashable, Sendable {
    /// Up to `inlineLimit` items.
    case inline([ContentItem])
    /// Tree chunks that each hold up to `listLimit` items (`ContentList`).
    case lists([ListReference])

    /// A tree chunk with a part of the list.
    package struct ListReference: Hashable, Sendable {
        package var id: ChunkID
        /// Bytes of the file that the part covers.
        package var bytes: UInt64

        package init(id: ChunkID, bytes: UInt64) {
            self.id = id
            self.bytes = bytes
        }
    }

    /// Items in an entry at the most: 64 items are some 2.3 KB.
    package static let inlineLimit = 64
    /// Items in a list chunk at the most: 8192 items are some 290 KB and 16 GiB of file.
    package static let listLimit = 8192

    func write(to writer: inout ByteWriter) {
        switch self {
        case .inline(let items):
            writer.write(0 as UInt8)
            ContentList.write(items, to: &writer)
        case .lists(let references):
            writer.write(1 as UInt8)
            writer.write(varint: UInt64(references.count))
            for reference in references {
                writer.write(raw: reference.id.digest.bytes)
                writer.write(varint: reference.bytes)
            }
        }
    }

    static func read(_ reader: inout ByteReader) throws(ByteReader.Malformed) -> FileContent {
        switch try reader.readByte() {
        case 0: return .inline(try ContentList.read(&reader))
        case 1:
            var references: [ListReference] = []
            for _ in 0..<(try reader.readCount(minimumSize: 33)) {
                references.append(
                    ListReference(id: ChunkID(try Digest.read(&reader)), bytes: try reader.readVarint()))
            }
            return .lists(references)
        default: throw reader.malformed("content expected")
        }
    }
}

/// The bytes of a list of content items: `count ‖ (0 ‖ id ‖ length | 1 ‖ length)*`.
package enum ContentList {
    /// The content of a list chunk.
    package static func encode(_ items: [ContentItem]) -> [UInt8] {
        var writer = ByteWriter(reserving: items.count * 37 + 8)
        write(items, to: &writer)
        return writer.bytes
    }

    /// Reads a list chunk. Throws `.damaged`.
    package static func decode(_ bytes: [UInt8]) throws(FormatError) -> [ContentItem] {
        try FormatError.reading("a list of chunks") {
            var reader = ByteReader(bytes)
            let items = try read(&reader)
            try reader.expectEnd()
            return items
        }
    }

    static func write(_ items: [ContentItem], to writer: inout ByteWriter) {
        writer.write(varint: UInt64(items.count))
        for item in items {
            switch item {
            case .chunk(let id, let length):
                writer.write(0 as UInt8)
                writer.write(raw: id.digest.bytes)
                writer.write(varint: UInt64(length))
            case .hole(let length):
                writer.write(1 as UInt8)
                writer.write(varint: length)
            }
        }
    }

    static func read(_ reader: inout ByteReader) throws(ByteReader.Malformed) -> [ContentItem] {
        var items: [ContentItem] = []
        for _ in 0..<(try reader.readCount(minimumSize: 2)) {
            switch try reader.readByte() {
            case 0:
                let id = ChunkID(try Digest.read(&reader))
                let length = try reader.readVarint()
                guard length <= UInt64(BlobHeader.maximumRawLength) else {
                    throw reader.malformed("smaller chunk expected")
                }
                items.append(.chunk(id, length: UInt32(length)))
            case 1: items.append(.hole(try reader.readVarint()))
            default: throw reader.malformed("chunk or hole expected")
            }
        }
        return items
    }
}
