/// Builds stored structures byte by byte: little-endian integers, LEB128 varints, length-prefixed bytes.
package struct ByteWriter: Sendable {
    /// What has been written.
    package private(set) var bytes: [UInt8] = []

    /// An empty writer.
    package init(reserving capacity: Int = 0) { bytes.reserveCapacity(capacity) }

    /// Appends one byte.
    package mutating func write(_ value: UInt8) { bytes.append(value) }

    /// Appends an integer, least significant byte first.
    package mutating func write<T: FixedWidthInteger & UnsignedInteger>(littleEndian value: T) {
        var rest = value
        for _ in 0..<MemoryLayout<T>.size {
            bytes.append(UInt8(truncatingIfNeeded: rest))
            rest >>= 8
        }
    }

    /// Appends an unsigned LEB128 number: seven bits a byte, least significant first, at most ten bytes.
    package mutating func write(varint value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    /// Appends a signed number in zigzag form (0, -1, 1, -2 … become 0, 1, 2, 3 …) as LEB128.
    package mutating func write(zigzag value: Int64) {
        write(varint: UInt64(bitPattern: (value << 1) ^ (value >> 63)))
    }

    /// Appends bytes as they are.
    package mutating func write(raw more: some Sequence<UInt8>) { bytes.append(contentsOf: more) }

    /// Appends a varint length and then the bytes.
    package mutating func write(prefixed more: some Collection<UInt8>) {
        write(varint: UInt64(more.count))
        bytes.append(contentsOf: more)
    }
}
