/// CRC-32 with the reflected polynomial of IEEE 802.3 (as in gzip and `x-amz-checksum-crc32`) or of Castagnoli (RFC 3720,
/// appendix B.4), eight bytes a step by tables.
struct CRC32 {
    /// The tables of one polynomial, 8 × 256 entries.
    struct Tables: Sendable {
        fileprivate let entries: [UInt32]

        static let ieee = Tables(polynomial: 0xedb8_8320)
        static let castagnoli = Tables(polynomial: 0x82f6_3b78)

        private init(polynomial: UInt32) {
            var tables = [UInt32](repeating: 0, count: 8 * 256)
            for index in 0..<256 {
                var value = UInt32(index)
                for _ in 0..<8 { value = value >> 1 ^ (value & 1 == 1 ? polynomial : 0) }
                tables[index] = value
            }
            for index in 256..<2048 {
                let previous = tables[index - 256]
                tables[index] = previous >> 8 ^ tables[Int(previous & 255)]
            }
            entries = tables
        }
    }

    private let tables: Tables
    private var register: UInt32 = .max

    /// The sum of nothing.
    init(_ tables: Tables) { self.tables = tables }

    /// Adds `bytes`.
    mutating func update(_ bytes: UnsafeRawBufferPointer) {
        let entries = tables.entries
        let tables = entries.span
        var crc = register
        var offset = 0
        while offset + 8 <= bytes.count {
            let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) ^ UInt64(crc)
            crc = tables[1792 + Int(word & 255)] ^ tables[1536 + Int(word >> 8 & 255)]
            crc ^= tables[1280 + Int(word >> 16 & 255)] ^ tables[1024 + Int(word >> 24 & 255)]
            crc ^= tables[768 + Int(word >> 32 & 255)] ^ tables[512 + Int(word >> 40 & 255)]
            crc ^= tables[256 + Int(word >> 48 & 255)] ^ tables[Int(word >> 56)]
            offset += 8
        }
        while offset < bytes.count {
            crc = crc >> 8 ^ tables[Int((crc ^ UInt32(bytes[offset])) & 255)]
            offset += 1
        }
        register = crc
    }

    /// The four bytes of the sum, most significant first, as S3 wants them.
    var bytes: [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: ~register >> UInt32($0)) }
    }
}
