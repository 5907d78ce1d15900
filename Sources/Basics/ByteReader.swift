/// Reads what `ByteWriter` wrote, and anything else that pretends to be: every read is bounded, none can crash.
package struct ByteReader: Sendable {
    /// What was wrong with the bytes and where.
    package struct Malformed: Error, Sendable, CustomStringConvertible {
        /// What was expected.
        package var message: String
        /// Offset in bytes at which it was expected.
        package var offset: Int

        package var description: String { "\(message) at byte \(offset)" }
    }

    private let bytes: ArraySlice<UInt8>
    private var position: Int

    /// A reader at the start of `bytes`.
    package init(_ bytes: [UInt8]) { self.init(bytes[...]) }

    /// A reader at the start of `bytes`.
    package init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        position = bytes.startIndex
    }

    /// Bytes read so far.
    package var offset: Int { position - bytes.startIndex }
    /// Bytes left.
    package var remaining: Int { bytes.endIndex - position }
    /// Whether all has been read.
    package var isAtEnd: Bool { remaining == 0 }

    /// The error for the present position.
    package func malformed(_ message: String) -> Malformed { Malformed(message: message, offset: offset) }

    /// One byte.
    package mutating func readByte() throws(Malformed) -> UInt8 {
        guard remaining >= 1 else { throw malformed("one more byte expected") }
        defer { position += 1 }
        return bytes[position]
    }

    /// An integer, least significant byte first.
    package mutating func read<T: FixedWidthInteger & UnsignedInteger>(_ type: T.Type) throws(Malformed) -> T {
        let size = MemoryLayout<T>.size
        guard remaining >= size else { throw malformed("\(size) more bytes expected") }
        var value: T = 0
        for index in 0..<size { value |= T(bytes[position + index]) << T(8 * index) }
        position += size
        return value
    }

    /// An unsigned LEB128 number of at most ten bytes.
    package mutating func readVarint() throws(Malformed) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            let byte = try readByte()
            if shift == 63 && byte > 1 { throw malformed("number over 64 bits") }
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
            shift += 7
            if shift > 63 { throw malformed("number over ten bytes") }
        }
    }

    /// A signed number in zigzag form.
    package mutating func readZigzag() throws(Malformed) -> Int64 {
        let value = try readVarint()
        return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
    }

    /// A number of elements that follow, each of at least `minimumSize` bytes: more than can be there is malformed.
    package mutating func readCount(minimumSize: Int = 1) throws(Malformed) -> Int {
        let count = try readVarint()
        guard count <= UInt64(remaining / max(minimumSize, 1)) else {
            throw malformed("\(count) elements announced, \(remaining) bytes left")
        }
        return Int(count)
    }

    /// Exactly `count` bytes.
    package mutating func readRaw(_ count: Int) throws(Malformed) -> ArraySlice<UInt8> {
        guard count >= 0, count <= remaining else { throw malformed("\(count) more bytes expected") }
        defer { position += count }
        return bytes[position..<position + count]
    }

    /// A varint length and so many bytes.
    package mutating func readPrefixed(maximum: Int = .max) throws(Malformed) -> ArraySlice<UInt8> {
        let count = try readCount()
        guard count <= maximum else { throw malformed("\(count) bytes announced, at most \(maximum) allowed") }
        return try readRaw(count)
    }

    /// Throws unless all has been read.
    package func expectEnd() throws(Malformed) {
        guard isAtEnd else { throw malformed("\(remaining) bytes too many") }
    }
}
