/// Bytes of the kinds that chunks hold.
enum TestData {
    static func random(_ count: Int, seed: UInt64) -> [UInt8] {
        var generator = SeededGenerator(seed: seed)
        return generator.bytes(count)
    }

    /// Words in an order that repeats seldom: zstd 1 makes it less than half.
    static func text(_ count: Int, seed: UInt64) -> [UInt8] {
        let words = [
            "wind", "sail", "calm", "keel", "mast", "anchor", "harbour", "current", "the", "of", "and", "lies",
        ]
        var generator = SeededGenerator(seed: seed)
        var bytes: [UInt8] = []
        while bytes.count < count {
            bytes += words[Int.random(in: 0..<words.count, using: &generator)].utf8
            bytes.append(0x20)
        }
        return Array(bytes.prefix(count))
    }

    /// Normally distributed weights (a sum of twelve uniform numbers), scale 0.02, as bfloat16, little-endian.
    static func bfloat16(_ count: Int, seed: UInt64) -> [UInt8] {
        var generator = SeededGenerator(seed: seed)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 1)
        while bytes.count < count {
            var sum: Float = -6
            for _ in 0..<6 {
                let bits = generator.next()
                sum += Float(bits >> 40) / Float(1 << 24) + Float(bits & 0xff_ffff) / Float(1 << 24)
            }
            let word = (sum * 0.02).bitPattern >> 16
            bytes.append(UInt8(truncatingIfNeeded: word))
            bytes.append(UInt8(truncatingIfNeeded: word >> 8))
        }
        return Array(bytes.prefix(count))
    }
}
