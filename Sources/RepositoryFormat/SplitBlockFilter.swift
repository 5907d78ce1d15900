/// A split-block Bloom filter (Putze, Sanders, Singler, "Cache-, Hash- and Space-Efficient Bloom Filters", 2007, in the
/// form that Apache Parquet's BloomFilter.md specifies): blocks of 256 bits, one bit in each of eight words.
///
/// About 10.7 bits an entry; one "maybe" in some 120 is wrong, a "no" never. The hash is the first word of a chunk id,
/// which is uniform already.
package enum SplitBlockFilter {
    /// Bytes of a block.
    package static let blockSize = 32
    private static let salts: [UInt32] = [
        0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31,
    ]

    /// Blocks for so many entries: 24 entries a block.
    package static func blockCount(entries: Int) -> Int { max(1, (entries + 23) / 24) }

    private static func blockIndex(_ hash: UInt64, _ blocks: Int) -> Int {
        Int(((hash >> 32) &* UInt64(blocks)) >> 32)
    }

    static func insert(_ hash: UInt64, into filter: UnsafeMutableRawBufferPointer) {
        let start = blockIndex(hash, filter.count / blockSize) * blockSize
        let key = UInt32(truncatingIfNeeded: hash)
        for (word, salt) in salts.enumerated() {
            let bit = UInt32(1) << ((key &* salt) >> 27)
            let offset = start + word * 4
            let old = UInt32(littleEndian: filter.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
            filter.storeBytes(of: (old | bit).littleEndian, toByteOffset: offset, as: UInt32.self)
        }
    }

    /// Whether an entry with this hash may be there. `filter` holds whole blocks, at least one.
    package static func mayContain(_ hash: UInt64, in filter: UnsafeRawBufferPointer) -> Bool {
        let blocks = filter.count / blockSize
        guard blocks > 0 else { return true }
        let start = blockIndex(hash, blocks) * blockSize
        let key = UInt32(truncatingIfNeeded: hash)
        for word in 0..<8 {
            let bit = UInt32(1) << ((key &* salts[word]) >> 27)
            let value = UInt32(littleEndian: filter.loadUnaligned(fromByteOffset: start + word * 4, as: UInt32.self))
            if value & bit == 0 { return false }
        }
        return true
    }
}
