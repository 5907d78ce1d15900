internal import Basics
internal import TensorFiles

/// Where something lies in an OCDBT database.
struct OCDBTReference: Hashable {
    /// Of the database's files, relative to its directory; and the part of it to which paths in a node there are relative.
    var path: String
    var base: String
    var offset: UInt64
    var length: UInt64
}

/// Why a structure of an OCDBT database cannot be read.
enum OCDBTFault: Error {
    /// Its reader refuses it too.
    case torn(TornEvidence)
    case unsupported(String)

    static func damaged(_ message: String) -> OCDBTFault { .torn(TornEvidence(kind: .damaged, message: message)) }
}

/// The frame that all structures share (TensorStore, `DecodeWithOptionalCompression`): magic number, length, version, how
/// the body is compressed, body, CRC-32C.
struct OCDBTBlock {
    static let manifest: UInt32 = 0x0cdb_3a2a
    static let node: UInt32 = 0x0cdb_20de
    /// Bytes of a structure, as stored and opened: Orbax lets nodes grow to 100 MB.
    static let mostBytes = 128 << 20

    /// The body of `bytes`, which are the structure and nothing else.
    static func open(_ bytes: [UInt8], magic: UInt32, zstd: ZstdOpener?) throws -> [UInt8] {
        var reader = ByteReader(bytes)
        guard bytes.count >= 18 else { throw OCDBTFault.damaged("\(bytes.count) bytes are too few") }
        let found = UInt32(bigEndian: try reader.read(UInt32.self).littleEndian)
        guard found == magic else {
            throw OCDBTFault.damaged("it begins with \(String(found, radix: 16)), not \(String(magic, radix: 16))")
        }
        let length = try reader.read(UInt64.self)
        guard length == UInt64(bytes.count) else {
            let kind: TornEvidence.Kind = length > UInt64(bytes.count) ? .truncated : .damaged
            throw OCDBTFault.torn(
                TornEvidence(
                    kind: kind, message: "it says that it has \(length) bytes, and has \(bytes.count)",
                    expectedSize: length))
        }
        guard try reader.readVarint() == 0 else { throw OCDBTFault.unsupported("a version that is not known") }
        let compression = try reader.readVarint()
        let body = bytes[reader.offset..<bytes.count - 4]
        let recorded = bytes.suffix(4).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        guard CRC32C.of(bytes.dropLast(4)) == recorded else { throw OCDBTFault.damaged("its CRC-32C does not match") }
        switch compression {
        case 0: return Array(body)
        case 1:
            guard let zstd else {
                throw OCDBTFault.unsupported("it is compressed, and nothing here opens Zstandard frames")
            }
            guard let opened = zstd(Array(body), mostBytes) else {
                throw OCDBTFault.unsupported("its Zstandard frame cannot be opened, or holds too much")
            }
            return opened
        default: throw OCDBTFault.unsupported("a compression that is not known")
        }
    }
}

/// A manifest: where the newest version's tree begins.
struct OCDBTManifest {
    /// Nil when the database is empty.
    var root: (reference: OCDBTReference, height: UInt8)?

    /// Reads the body of a manifest (TensorStore, `DecodeManifest`).
    init(_ body: [UInt8]) throws {
        var reader = ByteReader(body)
        _ = try reader.readRaw(16)
        guard try reader.readVarint() == 0 else {
            throw OCDBTFault.unsupported("the versions lie in numbered manifests")
        }
        _ = try reader.readVarint()
        _ = try reader.readVarint()
        _ = try reader.readByte()
        if try reader.readVarint() != 0 { _ = try reader.readRaw(4) }
        let files = try OCDBTNode.files(&reader, base: "")
        let count = try reader.readCount(minimumSize: 8)
        guard count > 0 else { return }
        for _ in 0..<count { _ = try reader.readVarint() }
        var heights: [UInt8] = []
        for _ in 0..<count { heights.append(try reader.readByte()) }
        let numbers = try (0..<count).map { _ in try reader.readVarint() }
        let offsets = try (0..<count).map { _ in try reader.readVarint() }
        let lengths = try (0..<count).map { _ in try reader.readVarint() }
        // The last is the newest, and an empty one is nowhere.
        guard let height = heights.last, let number = numbers.last, let offset = offsets.last,
            let length = lengths.last,
            offset != .max || length != .max
        else { return }
        root = (try OCDBTNode.reference(files, number, offset, length), height)
    }
}

/// A node of the tree: what it refers to.
struct OCDBTNode {
    let height: UInt8
    /// Children of an inner node.
    private(set) var children: [OCDBTReference] = []
    /// For each file that values of a leaf lie in, the byte at which the last of them ends.
    private(set) var extents: [String: UInt64] = [:]
    /// Headers of zarr arrays among a leaf's values.
    private(set) var headers: [[UInt8]] = []

    /// Entries of a node (TensorStore, `kMaxNodeArity`).
    private static let mostEntries = 1 << 20
    private static let headerNames = [Array(".zarray".utf8), Array("zarr.json".utf8)]
    /// Bytes of a zarr header that are kept.
    private static let longestHeader = 64 << 10

    /// Reads the body of a node (TensorStore, `DecodeBtreeNode`), to which paths below `base` lead.
    init(_ body: [UInt8], base: String) throws {
        var reader = ByteReader(body)
        height = try reader.readByte()
        let files = try Self.files(&reader, base: base)
        let count = try reader.readCount()
        guard (1...Self.mostEntries).contains(count) else { throw OCDBTFault.damaged("a node of \(count) entries") }
        var prefixes = [0]
        for _ in 1..<count { prefixes.append(try Self.length(&reader)) }
        let suffixes = try (0..<count).map { _ in try Self.length(&reader) }
        if height > 0 {
            for _ in 0..<count { _ = try Self.length(&reader) }
            for suffix in suffixes { _ = try reader.readRaw(suffix) }
            let numbers = try (0..<count).map { _ in try reader.readVarint() }
            let offsets = try (0..<count).map { _ in try reader.readVarint() }
            for index in 0..<count {
                children.append(try Self.reference(files, numbers[index], offsets[index], try reader.readVarint()))
            }
            for _ in 0..<3 * count { _ = try reader.readVarint() }
        } else {
            try readLeaf(&reader, files, prefixes, suffixes)
        }
        try reader.expectEnd()
    }

    private mutating func readLeaf(
        _ reader: inout ByteReader, _ files: [OCDBTReference], _ prefixes: [Int], _ suffixes: [Int]
    ) throws {
        var isHeader: [Bool] = []
        var key: [UInt8] = []
        for (prefix, suffix) in zip(prefixes, suffixes) {
            guard prefix <= key.count else { throw OCDBTFault.damaged("a key that begins like a shorter one") }
            key.replaceSubrange(prefix..., with: try reader.readRaw(suffix))
            isHeader.append(Self.headerNames.contains { key.suffix($0.count).elementsEqual($0) })
        }
        let lengths = try suffixes.map { _ in try reader.readVarint() }
        let kinds = try suffixes.map { _ in try reader.readByte() }
        guard kinds.allSatisfy({ $0 < 2 }) else { throw OCDBTFault.damaged("a value of an unknown kind") }
        let apart = kinds.indices.filter { kinds[$0] == 1 }
        let numbers = try apart.map { _ in try reader.readVarint() }
        for (position, index) in apart.enumerated() {
            let place = try Self.reference(files, numbers[position], try reader.readVarint(), lengths[index])
            extents[place.path] = max(extents[place.path] ?? 0, place.offset + place.length)
        }
        for index in kinds.indices where kinds[index] == 0 {
            guard let count = Int(exactly: lengths[index]) else { throw OCDBTFault.damaged("a value beyond its node") }
            let value = try reader.readRaw(count)
            if isHeader[index], count <= Self.longestHeader { headers.append(Array(value)) }
        }
    }

    private static func length(_ reader: inout ByteReader) throws -> Int {
        let length = try reader.readVarint()
        guard length <= UInt64(UInt16.max) else { throw OCDBTFault.damaged("a name of \(length) bytes") }
        return Int(length)
    }

    /// The table of files (TensorStore, `ReadDataFileTable`); offsets and lengths of its references mean nothing.
    static func files(_ reader: inout ByteReader, base: String) throws -> [OCDBTReference] {
        let count = try reader.readCount(minimumSize: 2)
        guard count > 0 else { return [] }
        var prefixes = [0]
        for _ in 1..<count { prefixes.append(try length(&reader)) }
        let suffixes = try (0..<count).map { _ in try length(&reader) }
        let bases = try (0..<count).map { _ in try length(&reader) }
        var files: [OCDBTReference] = []
        var path: [UInt8] = []
        for index in 0..<count {
            guard prefixes[index] <= path.count else {
                throw OCDBTFault.damaged("a path that begins like a shorter one")
            }
            path.replaceSubrange(prefixes[index]..., with: try reader.readRaw(suffixes[index]))
            guard bases[index] <= path.count, base.utf8.count + path.count <= Int(UInt16.max),
                let whole = String(validating: path, as: UTF8.self),
                let start = String(validating: path.prefix(bases[index]), as: UTF8.self)
            else { throw OCDBTFault.damaged("a path that is none") }
            files.append(OCDBTReference(path: base + whole, base: base + start, offset: 0, length: 0))
        }
        return files
    }

    /// A reference to a file of the table.
    static func reference(
        _ files: [OCDBTReference], _ number: UInt64, _ offset: UInt64, _ length: UInt64
    ) throws -> OCDBTReference {
        guard number < UInt64(files.count) else { throw OCDBTFault.damaged("file \(number) of \(files.count)") }
        let (end, overflow) = offset.addingReportingOverflow(length)
        guard !overflow, end <= UInt64(Int64.max) else { throw OCDBTFault.damaged("a place beyond 2^63 bytes") }
        var file = files[Int(number)]
        file.offset = offset
        file.length = length
        return file
    }
}
