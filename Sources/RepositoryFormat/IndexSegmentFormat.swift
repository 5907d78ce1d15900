package import Basics
internal import Sealing

/// A pack as an index segment knows it: 48 bytes, and its session in a table of its own.
package struct IndexedPack: Hashable, Sendable {
    static let size = 48
    static let sessionSize = 104

    package var id: Identifier
    package var kind: ChunkKind
    /// Bytes of the whole object.
    package var bytes: UInt64
    /// Until when the store keeps it from removal, if it was said; nanoseconds since the epoch, 0 for not at all.
    package var retainedUntil: Timestamp
    /// Which session's key opens its blobs.
    package var session: SessionHeader

    package init(
        id: Identifier, kind: ChunkKind, bytes: UInt64, retainedUntil: Timestamp, session: SessionHeader
    ) {
        self.id = id
        self.kind = kind
        self.bytes = bytes
        self.retainedUntil = retainedUntil
        self.session = session
    }
}

/// An index segment's plain bytes, laid out to be mapped: header (64), session table, pack table, entries sorted by
/// id, filter, bases.
///
/// Header: `magic (8) ‖ version (4) ‖ packs (4) ‖ entries (8) ‖ filter blocks (4) ‖ sessions (4) ‖ bases (4) ‖ 0…`. All integers
/// little-endian. Bases: `row (4) ‖ id of the base (32)` for each entry that has one, in the order of the rows.
/// Stored as a `MetaBox` of these bytes under `index/<id>`.
package struct IndexSegmentLayout: Sendable {
    /// Bytes of the header.
    package static let headerSize = 64
    private static let magic: [UInt8] = Array("BCLMSEGM".utf8)
    /// 2 when there are bases, 3 when codecs are told: whoever does not know of them must not take the rest for the whole.
    private static let version: UInt32 = 3
    private static let label = "index segment v1"
    /// Entries in one segment at the most: 512 Ki entries are 16 MiB.
    package static let maximumEntries = 512 << 10
    /// Bytes of the largest stored segment that a reader takes: entries, pack table and filter.
    package static let maximumBytes = 128 << 20

    package let packCount: Int
    package let entryCount: Int
    package let filterBlockCount: Int
    package let sessionCount: Int
    package let baseCount: Int
    /// Bytes of a row of the table of bases.
    package static let baseSize = 4 + Digest.size

    var packsOffset: Int { Self.headerSize + sessionCount * IndexedPack.sessionSize }
    /// Where the entries begin, in bytes.
    package var entriesOffset: Int { packsOffset + packCount * IndexedPack.size }
    /// Where the filter begins, in bytes.
    package var filterOffset: Int { entriesOffset + entryCount * IndexEntry.size }
    /// Where the table of bases begins, in bytes.
    package var basesOffset: Int { filterOffset + filterBlockCount * SplitBlockFilter.blockSize }
    /// Bytes of the whole segment.
    package var totalBytes: Int { basesOffset + baseCount * Self.baseSize }

    /// Reads the header of mapped plain bytes and checks that they are as long as it says. Throws `.damaged`, also for
    /// more entries than a stored segment may have unless `isStored` is false.
    package init(plain: UnsafeRawBufferPointer, isStored: Bool = true) throws(FormatError) {
        self = try FormatError.reading("an index segment") {
            var reader = ByteReader(Array(plain.prefix(Self.headerSize)))
            guard try reader.readRaw(8).elementsEqual(Self.magic) else { throw reader.malformed("magic expected") }
            guard try reader.read(UInt32.self) <= Self.version else {
                throw FormatError(.newerVersion, "an index segment has a newer form: install a newer becalm")
            }
            let packs = Int(try reader.read(UInt32.self))
            let entries = try reader.read(UInt64.self)
            let blocks = Int(try reader.read(UInt32.self))
            let sessions = Int(try reader.read(UInt32.self))
            let bases = UInt64(try reader.read(UInt32.self))
            guard entries <= (isStored ? UInt64(Self.maximumEntries * 4) : 1 << 40), packs <= 16 << 20,
                blocks <= 1 << 24, sessions <= packs, bases <= entries
            else {
                throw reader.malformed("possible counts expected")
            }
            let layout = IndexSegmentLayout(
                packCount: packs, entryCount: Int(entries), filterBlockCount: blocks,
                sessionCount: sessions, baseCount: Int(bases))
            guard layout.totalBytes == plain.count else {
                throw reader.malformed("\(layout.totalBytes) bytes expected, \(plain.count) there")
            }
            return layout
        }
    }

    private init(packCount: Int, entryCount: Int, filterBlockCount: Int, sessionCount: Int, baseCount: Int) {
        self.baseCount = baseCount
        self.sessionCount = sessionCount
        self.packCount = packCount
        self.entryCount = entryCount
        self.filterBlockCount = filterBlockCount
    }

    /// The pack in row `row` of `plain`. Throws `.damaged`.
    package func pack(_ row: Int, in plain: UnsafeRawBufferPointer) throws(FormatError) -> IndexedPack {
        try FormatError.reading("an index segment's pack table") {
            guard row < packCount else {
                throw FormatError(.damaged, "an index entry names pack row \(row) of \(packCount)")
            }
            let start = packsOffset + row * IndexedPack.size
            var reader = ByteReader(Array(plain[start..<start + IndexedPack.size]))
            let id = try Identifier.read(&reader)
            let bytes = try reader.read(UInt64.self)
            let retained = Int64(bitPattern: try reader.read(UInt64.self))
            guard let kind = ChunkKind(rawValue: try reader.readByte()) else { throw reader.malformed("kind expected") }
            _ = try reader.readRaw(3)
            let session = Int(try reader.read(UInt32.self))
            guard session < sessionCount else { throw reader.malformed("a session of the table expected") }
            let sessionStart = Self.headerSize + session * IndexedPack.sessionSize
            var sessionReader = ByteReader(Array(plain[sessionStart..<sessionStart + SessionHeader.size]))
            return IndexedPack(
                id: id, kind: kind, bytes: bytes, retainedUntil: Timestamp(nanoseconds: retained),
                session: try SessionHeader.read(&sessionReader))
        }
    }

    /// The base of the entry in `row` of `plain`, or nil when the table has none.
    package func base(of row: Int, in plain: UnsafeRawBufferPointer) -> ChunkID? {
        func entry(_ index: Int) -> UInt32 {
            UInt32(
                littleEndian: plain.loadUnaligned(
                    fromByteOffset: basesOffset + index * Self.baseSize, as: UInt32.self))
        }
        var lower = 0
        var upper = baseCount
        while lower < upper {
            let middle = (lower + upper) / 2
            if entry(middle) < UInt32(row) { lower = middle + 1 } else { upper = middle }
        }
        guard lower < baseCount, entry(lower) == UInt32(row) else { return nil }
        let start = basesOffset + lower * Self.baseSize + 4
        return ChunkID(Digest(UnsafeRawBufferPointer(rebasing: plain[start..<start + Digest.size])))
    }

    /// The plain bytes of a segment. `entries` are sorted here; their `pack` names rows of `packs`.
    package static func encode(packs: [IndexedPack], entries: [IndexEntry]) -> Buffer {
        let sorted = entries.sorted { ($0.high, $0.low, $0.pack, $0.offset) < ($1.high, $1.low, $1.pack, $1.offset) }
        let blocks = SplitBlockFilter.blockCount(entries: sorted.count)
        var sessions: [SessionHeader] = []
        var sessionRows: [Identifier: Int] = [:]
        for pack in packs where sessionRows[pack.session.sessionID] == nil {
            sessionRows[pack.session.sessionID] = sessions.count
            sessions.append(pack.session)
        }
        let based = sorted.indices.filter { sorted[$0].base != nil }
        let layout = IndexSegmentLayout(
            packCount: packs.count, entryCount: sorted.count, filterBlockCount: blocks, sessionCount: sessions.count,
            baseCount: based.count)
        var header = ByteWriter(reserving: layout.entriesOffset)
        header.write(raw: magic)
        let tells = sorted.contains { $0.codec != nil && !$0.hasBase }
        header.write(littleEndian: tells ? version : based.isEmpty ? 1 : 2)
        header.write(littleEndian: UInt32(packs.count))
        header.write(littleEndian: UInt64(sorted.count))
        header.write(littleEndian: UInt32(blocks))
        header.write(littleEndian: UInt32(sessions.count))
        header.write(littleEndian: UInt32(based.count))
        header.write(raw: [UInt8](repeating: 0, count: headerSize - header.bytes.count))
        for session in sessions {
            header.write(raw: session.encoded())
            header.write(raw: [UInt8](repeating: 0, count: IndexedPack.sessionSize - SessionHeader.size))
        }
        for pack in packs {
            header.write(raw: pack.id.bytes)
            header.write(littleEndian: pack.bytes)
            header.write(littleEndian: UInt64(bitPattern: pack.retainedUntil.nanoseconds))
            header.write(pack.kind.rawValue)
            header.write(raw: [0, 0, 0])
            header.write(littleEndian: UInt32(sessionRows[pack.session.sessionID] ?? 0))
            header.write(raw: [UInt8](repeating: 0, count: IndexedPack.size - 40))
        }
        let buffer = Buffer(capacity: layout.totalBytes)
        header.bytes.withUnsafeBytes { buffer.append($0) }
        buffer.count = layout.totalBytes
        let storage = buffer.storage
        let filter = UnsafeMutableRawBufferPointer(rebasing: storage[layout.filterOffset..<layout.basesOffset])
        filter.initializeMemory(as: UInt8.self, repeating: 0)
        guard let base = storage.baseAddress else { return buffer }
        for (index, entry) in sorted.enumerated() {
            entry.store(at: base + layout.entriesOffset + index * IndexEntry.size)
            SplitBlockFilter.insert(entry.high, into: filter)
        }
        var table = ByteWriter(reserving: based.count * baseSize)
        for row in based {
            table.write(littleEndian: UInt32(row))
            if let base = sorted[row].base { table.write(raw: base.digest.bytes) }
        }
        UnsafeMutableRawBufferPointer(rebasing: storage[layout.basesOffset...]).copyBytes(from: table.bytes)
        return buffer
    }

    /// The stored object of plain bytes.
    package static func seal(_ plain: Buffer, id: Identifier, keyring: Keyring) throws -> [UInt8] {
        try MetaBox.seal(plain.array(), label: label, name: id.description, keyring: keyring)
    }

    /// The plain bytes of a stored object. Throws `.damaged`.
    package static func open(_ stored: [UInt8], id: Identifier, keyring: Keyring) throws(FormatError) -> [UInt8] {
        let plain = try MetaBox.open(stored, label: label, name: id.description, keyring: keyring)
        _ = try FormatError.reading("index segment \(id)") {
            try plain.withUnsafeBytes { try IndexSegmentLayout(plain: $0) }
        }
        return plain
    }
}
