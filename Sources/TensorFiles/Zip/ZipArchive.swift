/// The members of a zip archive, by its central directory (APPNOTE 6.3.10), with zip64.
///
/// Every number is held against the file: members lie in front of the directory, do not overlap, and begin with a local
/// header of the same name.
package struct ZipArchive: Sendable {
    /// A file in the archive.
    package struct Member: Hashable, Sendable {
        package var name: String
        /// Where its bytes lie in the archive, as stored.
        package var range: Range<UInt64>
        /// The checksum of its bytes as they are when unpacked.
        package var crc: UInt32
        /// How they are compressed: 0 not at all, 8 deflate, 12 bzip2, 14 LZMA.
        package var method: UInt16

        /// Whether the stored bytes are the bytes themselves.
        package var isStored: Bool { method == 0 }
    }

    /// In the order of their places in the file.
    package let members: [Member]
    /// Bytes in the file.
    package let size: UInt64
    private let byName: [String: Int]

    /// The member with this name.
    package func member(named name: String) -> Member? { byName[name].map { members[$0] } }

    /// The archive in `source`. Throws only what `source` throws.
    package static func read(
        _ source: any TensorByteSource, limits: TensorFileLimits = TensorFileLimits()
    ) throws -> Finding<ZipArchive> {
        try Finding { try parse(source, limits) }
    }

    static func parse(_ source: any TensorByteSource, _ limits: TensorFileLimits) throws -> ZipArchive {
        guard try source.prefix(4) == localSignature else { throw Stop.notThisFormat("no zip member at the start") }
        let directory = try ZipDirectory.find(in: source)
        guard directory.range.upperBound - directory.range.lowerBound <= limits.headerBytes,
            directory.count <= UInt64(limits.members)
        else {
            throw Stop.unsupported("the zip archive has \(directory.count) members, over \(limits.members)")
        }
        var cursor = SourceCursor(
            source, directory.range, ending: .announced, structure: "the zip archive's directory")
        var records: [Record] = []
        records.reserveCapacity(Int(directory.count))
        for _ in 0..<Int(directory.count) { records.append(try Record(&cursor, limits)) }
        guard cursor.isAtEnd else { throw cursor.damaged("\(directory.count) members end before the directory") }
        records.sort { $0.headerOffset < $1.headerOffset }
        var end: UInt64 = 0
        var members: [Member] = []
        members.reserveCapacity(records.count)
        for record in records {
            // No writer does this, but loaders do not look.
            guard record.headerOffset >= end else {
                throw Stop.unsupported("the zip member \"\(record.member.name)\" overlaps the one before it")
            }
            members.append(try record.located(in: source, before: directory.range.lowerBound))
            end = members[members.count - 1].range.upperBound
        }
        var byName: [String: Int] = [:]
        for (index, member) in members.enumerated() {
            guard byName.updateValue(index, forKey: member.name) == nil else {
                throw Stop.unsupported("the zip archive has two members \"\(member.name)\"")
            }
        }
        return ZipArchive(members: members, size: source.size, byName: byName)
    }

    /// The name of the first member by its own header, or nil when the file is cut off inside it.
    static func firstName(_ source: any TensorByteSource) throws -> String? {
        let start = try source.prefix(localSize + 4096)
        guard start.count >= localSize else { return nil }
        let count = Int(start[26]) | Int(start[27]) << 8
        guard start.count >= localSize + count else { return nil }
        return String(decoding: start[localSize...].prefix(count), as: UTF8.self)
    }

    static let localSignature: [UInt8] = [0x50, 0x4b, 0x03, 0x04]
    private static let localSize = 30

    /// An entry of the central directory.
    private struct Record {
        var member: Member
        var headerOffset: UInt64
        var storedSize: UInt64
        var nameBytes: [UInt8]

        init(_ cursor: inout SourceCursor, _ limits: TensorFileLimits) throws {
            guard try cursor.read(UInt32.self) == 0x0201_4b50 else { throw cursor.damaged("an entry expected") }
            try cursor.skip(4)
            let flags = try cursor.read(UInt16.self)
            let method = try cursor.read(UInt16.self)
            try cursor.skip(4)
            let crc = try cursor.read(UInt32.self)
            storedSize = UInt64(try cursor.read(UInt32.self))
            var size = UInt64(try cursor.read(UInt32.self))
            let nameCount = Int(try cursor.read(UInt16.self))
            let extraCount = Int(try cursor.read(UInt16.self))
            let commentCount = UInt64(try cursor.read(UInt16.self))
            try cursor.skip(8)
            headerOffset = UInt64(try cursor.read(UInt32.self))
            guard nameCount <= limits.nameBytes else {
                throw Stop.unsupported("the zip archive has a name of \(nameCount) bytes")
            }
            nameBytes = try cursor.readBytes(nameCount)
            let extra = try cursor.readBytes(extraCount)
            try cursor.skip(commentCount)
            let name = String(decoding: nameBytes, as: UTF8.self)
            // Encrypted in one of three ways, or a patch of another file.
            guard flags & 0x2061 == 0 else { throw Stop.unsupported("the zip member \"\(name)\" is encrypted") }
            guard Self.readZip64(extra, &size, &storedSize, &headerOffset) else {
                throw cursor.damaged("the zip member \"\(name)\" without its zip64 sizes")
            }
            // PyTorch refuses this, Python does not.
            guard method != 0 || size == storedSize else {
                throw Stop.unsupported("the zip member \"\(name)\" is stored in another size than it has")
            }
            member = Member(name: name, range: 0..<0, crc: crc, method: method)
        }

        /// Takes the numbers that did not fit from the extra field 1. False when one is not there.
        private static func readZip64(
            _ extra: [UInt8], _ size: inout UInt64, _ storedSize: inout UInt64, _ headerOffset: inout UInt64
        ) -> Bool {
            let full: UInt64 = 0xffff_ffff
            guard size == full || storedSize == full || headerOffset == full else { return true }
            var rest = extra[...]
            while rest.count >= 4 {
                let id = number(&rest, 2)
                let count = Int(number(&rest, 2))
                guard count <= rest.count else { return false }
                if id == 1 {
                    var field = rest.prefix(count)
                    for isFull in [size, storedSize, headerOffset].map({ $0 == full }).enumerated() where isFull.element
                    {
                        guard field.count >= 8 else { return false }
                        switch isFull.offset {
                        case 0: size = number(&field, 8)
                        case 1: storedSize = number(&field, 8)
                        default: headerOffset = number(&field, 8)
                        }
                    }
                    return true
                }
                rest = rest.dropFirst(count)
            }
            return false
        }

        private static func number(_ bytes: inout ArraySlice<UInt8>, _ count: Int) -> UInt64 {
            defer { bytes = bytes.dropFirst(count) }
            return bytes.prefix(count).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        }

        /// The member with its place: behind its local header, whose own sizes are zero in a streamed archive.
        func located(in source: any TensorByteSource, before directory: UInt64) throws -> Member {
            let headerCount = UInt64(ZipArchive.localSize + nameBytes.count)
            guard headerOffset <= directory, directory - headerOffset >= headerCount else {
                throw Stop.damaged("the zip member \"\(member.name)\" begins beyond the directory")
            }
            let header = try source.bytes(at: headerOffset, count: Int(headerCount))
            let nameCount = Int(header[26]) | Int(header[27]) << 8
            let extraCount = UInt64(header[28]) | UInt64(header[29]) << 8
            guard header[..<4].elementsEqual(ZipArchive.localSignature) else {
                throw Stop.damaged("the zip member \"\(member.name)\" has no header of its own at byte \(headerOffset)")
            }
            guard nameCount == nameBytes.count, header[ZipArchive.localSize...].elementsEqual(nameBytes) else {
                throw Stop.unsupported("the zip member \"\(member.name)\" has another name in front of its bytes")
            }
            let start = headerOffset + headerCount + extraCount
            guard start <= directory, storedSize <= directory - start else {
                throw Stop.damaged("the zip member \"\(member.name)\" ends beyond the directory")
            }
            var member = member
            member.range = start..<start + storedSize
            return member
        }
    }
}
