internal import Basics
internal import Sealing

/// Several small chunks that were compressed and sealed together: `count ‖ (id, length)* ‖ bytes of all`.
package struct BlobGroup: Sendable {
    /// A chunk in the group.
    package struct Member: Hashable, Sendable {
        package var id: ChunkID
        /// Bytes.
        package var length: UInt32

        package init(id: ChunkID, length: UInt32) {
            self.id = id
            self.length = length
        }
    }

    /// In order of their bytes.
    package let members: [Member]
    /// Where the first member's bytes begin.
    package let dataOffset: Int

    /// The directory that stands before the members' bytes.
    package static func directory(of members: [Member]) -> [UInt8] {
        var writer = ByteWriter(reserving: 8 + members.count * 36)
        writer.write(varint: UInt64(members.count))
        for member in members {
            writer.write(raw: member.id.digest.bytes)
            writer.write(varint: UInt64(member.length))
        }
        return writer.bytes
    }

    /// Reads the directory of an opened group. Throws `.damaged` when it does not add up to exactly `bytes`.
    package init(decoding bytes: UnsafeRawBufferPointer) throws(FormatError) {
        // Only the directory is copied: its length is bounded by the count, which stands first.
        self = try FormatError.reading("a group of small chunks") {
            var head = ByteReader(Array(bytes.prefix(10)))
            let count = try head.readCountUnbounded()
            guard count <= UInt64(bytes.count / 33) else { throw head.malformed("fewer members expected") }
            var reader = ByteReader(Array(bytes.prefix(10 + Int(count) * 37)))
            _ = try reader.readVarint()
            var members: [Member] = []
            members.reserveCapacity(Int(count))
            var total = 0
            for _ in 0..<count {
                let id = ChunkID(try Digest.read(&reader))
                let length = try reader.readVarint()
                guard length <= UInt64(bytes.count) else { throw reader.malformed("shorter member expected") }
                members.append(Member(id: id, length: UInt32(length)))
                total += Int(length)
            }
            guard reader.offset + total == bytes.count else {
                throw reader.malformed("members that fill the group expected")
            }
            return BlobGroup(members: members, dataOffset: reader.offset)
        }
    }

    private init(members: [Member], dataOffset: Int) {
        self.members = members
        self.dataOffset = dataOffset
    }

    /// Each member with the range of its bytes in the opened group.
    package var ranges: [(member: Member, range: Range<Int>)] {
        var offset = dataOffset
        return members.map { member in
            defer { offset += Int(member.length) }
            return (member, offset..<offset + Int(member.length))
        }
    }
}

extension ByteReader {
    /// A number that counts what lies beyond this reader's bytes; the caller bounds it.
    mutating func readCountUnbounded() throws(Malformed) -> UInt64 { try readVarint() }
}
