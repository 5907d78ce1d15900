internal import Basics

/// Thirty-two bytes that name something: a SHA-256, a MAC.
package struct Digest: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// Bytes in a digest.
    package static let size = 32

    // Big-endian words, so that comparing the words compares the bytes.
    private let word0: UInt64
    private let word1: UInt64
    private let word2: UInt64
    private let word3: UInt64

    /// The digest whose bytes begin at `bytes`; exactly 32 of them must be there.
    package init(_ bytes: UnsafeRawBufferPointer) {
        precondition(bytes.count == Self.size, "a digest has 32 bytes, not \(bytes.count)")
        unsafe word0 = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self))
        unsafe word1 = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        unsafe word2 = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
        unsafe word3 = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 24, as: UInt64.self))
    }

    /// The digest whose bytes lie in memory as these four words do.
    init(memory words: (UInt64, UInt64, UInt64, UInt64)) {
        word0 = UInt64(bigEndian: words.0)
        word1 = UInt64(bigEndian: words.1)
        word2 = UInt64(bigEndian: words.2)
        word3 = UInt64(bigEndian: words.3)
    }

    /// The digest of exactly 32 `bytes`, or nil for another number of them.
    package init?(bytes: some Collection<UInt8>) {
        guard bytes.count == Self.size else { return nil }
        let array = Array(bytes)
        self = unsafe array.withUnsafeBytes { unsafe Digest($0) }
    }

    /// The digest of 64 hexadecimal digits, or nil.
    package init?(hex: some StringProtocol) {
        guard let bytes = Hex.decode(hex) else { return nil }
        self.init(bytes: bytes)
    }

    /// Its 32 bytes.
    package var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.size)
        for word in [word0, word1, word2, word3] {
            for shift in stride(from: 56, through: 0, by: -8) {
                bytes.append(UInt8(truncatingIfNeeded: word >> UInt64(shift)))
            }
        }
        return bytes
    }

    /// Calls `body` with its 32 bytes, without an allocation. They are good during the call only.
    package func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        let memory = (word0.bigEndian, word1.bigEndian, word2.bigEndian, word3.bigEndian)
        return unsafe try withUnsafeBytes(of: memory) { unsafe try body($0) }
    }

    /// Whether `left` and `right` are equal, in a time that does not depend on where they differ: for MACs.
    static func equalInConstantTime(_ left: Digest, _ right: Digest) -> Bool {
        let difference =
            (left.word0 ^ right.word0) | (left.word1 ^ right.word1) | (left.word2 ^ right.word2)
            | (left.word3 ^ right.word3)
        return difference == 0
    }

    /// The first 16 bytes, as two big-endian words: the short form that the index keeps.
    package var prefix: (UInt64, UInt64) { (word0, word1) }

    package static func < (left: Digest, right: Digest) -> Bool {
        if left.word0 != right.word0 { return left.word0 < right.word0 }
        if left.word1 != right.word1 { return left.word1 < right.word1 }
        if left.word2 != right.word2 { return left.word2 < right.word2 }
        return left.word3 < right.word3
    }

    /// Sixty-four lower-case hexadecimal digits.
    package var description: String { Hex.encode(bytes) }
}
