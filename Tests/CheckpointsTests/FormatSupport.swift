import Checkpoints
import Compression
import TensorFiles
import Testing

extension TemporaryTree {
    /// A tree with a copy of one of `FormatSamples` in it, at `path`.
    static func format(_ sample: String, at path: String = "s") throws -> TemporaryTree {
        let tree = try TemporaryTree()
        try tree.copy("../FormatSamples/\(sample)", to: path)
        return tree
    }

    /// What a survey with hash functions and a decompressor finds.
    func formats(deep: Bool = false) throws -> SurveyReport {
        var options = SurveyOptions()
        options.depth = deep ? .deep : .structure
        options.hasher = { $0 == .sha256 ? TestSHA256() as any StreamingHasher : TestSHA1() }
        options.zstd = Self.openZstd
        return try survey(options)
    }

    /// Opens a frame as a caller of the target does.
    @Sendable static func openZstd(_ frame: [UInt8], _ most: Int) -> [UInt8]? {
        try? ZstdDecompressor().decompress(foreign: frame, atMost: most)
    }
}

/// A sum of 32-bit words over blocks of 64 bytes, as SHA-1 and SHA-256 have it.
protocol BlockHasher: StreamingHasher {
    var state: [UInt32] { get set }
    var pending: [UInt8] { get set }
    var length: UInt64 { get set }
    mutating func mix(_ words: [UInt32])
}

extension BlockHasher {
    mutating func update(_ bytes: UnsafeRawBufferPointer) {
        length += UInt64(bytes.count)
        pending += bytes
        drain()
    }

    private mutating func drain() {
        while pending.count >= 64 {
            let words = (0..<16).map { word in (0..<4).reduce(UInt32(0)) { $0 << 8 | UInt32(pending[4 * word + $1]) } }
            pending.removeFirst(64)
            mix(words)
        }
    }

    mutating func finish() -> [UInt8] {
        let bits = length * 8
        pending.append(0x80)
        while pending.count % 64 != 56 { pending.append(0) }
        pending += (0..<8).map { UInt8(truncatingIfNeeded: bits >> UInt64(56 - 8 * $0)) }
        drain()
        return state.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> UInt32(24 - 8 * $0)) } }
    }
}

private func rotated(_ value: UInt32, left count: UInt32) -> UInt32 { value << count | value >> (32 - count) }

/// SHA-1 (FIPS 180-4), for the tests alone.
struct TestSHA1: BlockHasher {
    var state: [UInt32] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0]
    var pending: [UInt8] = []
    var length: UInt64 = 0

    mutating func mix(_ words: [UInt32]) {
        var schedule = words
        for index in 16..<80 {
            schedule.append(
                rotated(
                    schedule[index - 3] ^ schedule[index - 8] ^ schedule[index - 14] ^ schedule[index - 16], left: 1))
        }
        var (a, b, c, d, e) = (state[0], state[1], state[2], state[3], state[4])
        for index in 0..<80 {
            let (mixed, constant): (UInt32, UInt32) =
                switch index / 20 {
                case 0: ((b & c) | (~b & d), 0x5a82_7999)
                case 1: (b ^ c ^ d, 0x6ed9_eba1)
                case 2: ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc)
                default: (b ^ c ^ d, 0xca62_c1d6)
                }
            let next = rotated(a, left: 5) &+ mixed &+ e &+ constant &+ schedule[index]
            (e, d, c, b, a) = (d, c, rotated(b, left: 30), a, next)
        }
        state = zip(state, [a, b, c, d, e]).map { $0 &+ $1 }
    }
}

/// SHA-256 (FIPS 180-4), for the tests alone.
struct TestSHA256: BlockHasher {
    var state = TestSHA256.initial
    var pending: [UInt8] = []
    var length: UInt64 = 0
    private static let initial = roots(8, root: 2)
    private static let constants = roots(64, root: 3)

    /// The first 32 bits of the fractions of the roots of the first primes, square or cube.
    private static func roots(_ count: Int, root: Int) -> [UInt32] {
        var primes: [UInt64] = []
        var next: UInt64 = 2
        while primes.count < count {
            if !primes.contains(where: { next.isMultiple(of: $0) }) { primes.append(next) }
            next += 1
        }
        return primes.map { prime in
            // The largest number whose square or cube is at most the prime, shifted.
            var (low, high): (UInt64, UInt64) = (0, 1 << 37)
            while low + 1 < high {
                let middle = (low + high) / 2
                let value = Double(middle) / 4_294_967_296
                let estimate = root == 2 ? value * value : value * value * value
                if estimate <= Double(prime) { low = middle } else { high = middle }
            }
            return UInt32(truncatingIfNeeded: low)
        }
    }

    mutating func mix(_ words: [UInt32]) {
        func right(_ value: UInt32, _ count: UInt32) -> UInt32 { rotated(value, left: 32 - count) }
        var schedule = words
        for index in 16..<64 {
            let (x, y) = (schedule[index - 15], schedule[index - 2])
            schedule.append(
                schedule[index - 16] &+ (right(x, 7) ^ right(x, 18) ^ (x >> 3)) &+ schedule[index - 7]
                    &+ (right(y, 17) ^ right(y, 19) ^ (y >> 10)))
        }
        var v = state
        for index in 0..<64 {
            let sum = right(v[4], 6) ^ right(v[4], 11) ^ right(v[4], 25)
            let choice = (v[4] & v[5]) ^ (~v[4] & v[6])
            let first = v[7] &+ sum &+ choice &+ Self.constants[index] &+ schedule[index]
            let other = right(v[0], 2) ^ right(v[0], 13) ^ right(v[0], 22)
            let majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2])
            v = [first &+ other &+ majority, v[0], v[1], v[2], v[3] &+ first, v[4], v[5], v[6]]
        }
        state = zip(state, v).map { $0 &+ $1 }
    }
}

@Suite("Hashes for the tests") struct TestHashTests {
    @Test func theyAreTheKnownOnes() {
        func hex(_ hasher: some StreamingHasher, _ text: String) -> String {
            var hasher = hasher
            Array(text.utf8).withUnsafeBytes { hasher.update($0) }
            return hasher.finish().map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        }
        #expect(hex(TestSHA1(), "abc") == "a9993e364706816aba3e25717850c26c9cd0d89d")
        #expect(
            hex(TestSHA256(), "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    }
}

/// Bytes in memory, as a file.
struct BytesSource: TensorByteSource {
    var bytes: [UInt8]

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var size: UInt64 { UInt64(bytes.count) }

    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let rest = bytes.dropFirst(Int(offset)).prefix(buffer.count)
        buffer.copyBytes(from: rest)
        return rest.count
    }
}
