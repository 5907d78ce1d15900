internal import Basics
package import Sealing

/// Sixteen random bytes that name a repository, a pack, a segment, a session or a snapshot.
package struct Identifier: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// Bytes in an identifier.
    package static let size = 16
    private let high: UInt64
    private let low: UInt64

    /// A new identifier from the system's random source.
    package static func random() throws(SealingError) -> Identifier {
        let bytes = try SecureRandom.bytes(size)
        guard let identifier = Identifier(bytes: bytes) else {
            throw SealingError(.libraryFailure, "the random source gave \(bytes.count) bytes, not \(size)")
        }
        return identifier
    }

    /// From exactly 16 bytes, else nil.
    package init?(bytes: some Collection<UInt8>) {
        guard bytes.count == Self.size else { return nil }
        var words: (UInt64, UInt64) = (0, 0)
        for (index, byte) in bytes.enumerated() {
            if index < 8 { words.0 = words.0 << 8 | UInt64(byte) } else { words.1 = words.1 << 8 | UInt64(byte) }
        }
        high = words.0
        low = words.1
    }

    /// From 32 hexadecimal digits, else nil.
    package init?(hex: some StringProtocol) {
        guard let bytes = Hex.decode(hex) else { return nil }
        self.init(bytes: bytes)
    }

    /// Its 16 bytes.
    package var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.size)
        for word in [high, low] {
            for shift in stride(from: 56, through: 0, by: -8) {
                bytes.append(UInt8(truncatingIfNeeded: word >> UInt64(shift)))
            }
        }
        return bytes
    }

    package static func < (left: Identifier, right: Identifier) -> Bool {
        left.high != right.high ? left.high < right.high : left.low < right.low
    }

    /// Thirty-two lower-case hexadecimal digits.
    package var description: String { Hex.encode(bytes) }

    static func read(_ reader: inout ByteReader) throws(ByteReader.Malformed) -> Identifier {
        let bytes = try reader.readRaw(size)
        guard let identifier = Identifier(bytes: bytes) else { throw reader.malformed("identifier expected") }
        return identifier
    }
}

extension Digest {
    static func read(_ reader: inout ByteReader) throws(ByteReader.Malformed) -> Digest {
        let bytes = try reader.readRaw(size)
        guard let digest = Digest(bytes: bytes) else { throw reader.malformed("digest expected") }
        return digest
    }
}
