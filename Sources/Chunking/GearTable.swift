/// The 256 words of a gear hash (Xia et al., "Ddelta", 2014): secret, so that the sizes of chunks do not give away which
/// known file they come from.
package final class GearTable: Sendable {
    /// Bytes of key material that make a table: 256 words of eight.
    package static let materialSize = 2048

    /// The words with their highest bit flipped, which flips the highest bit of each hash and nothing else (a hash's
    /// other contributions to that bit are shifted out): hashes that begin with zero bits are the least signed numbers
    /// then, and there is a vector instruction for the least of signed words.
    let flippedWords: [UInt64]

    /// The table made of `material`, whose word n (little-endian, from byte 8 n) belongs to the byte value n.
    /// Exactly 2048 bytes; another number of them is a programmer's error.
    ///
    /// The repository derives the material from its key with HKDF-SHA-256, so another implementation can do the same.
    package init(material: [UInt8]) {
        precondition(material.count == Self.materialSize, "a gear table is made of 2048 bytes, not \(material.count)")
        flippedWords = (0..<256).map { value in
            let word = material[8 * value..<8 * value + 8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            return word ^ (1 << 63)
        }
    }
}
