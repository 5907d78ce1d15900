/// Tensors with the byte statistics of trained ones: normally distributed, with a scale of its own for each row.
enum TestTensors {
    enum Number: CaseIterable { case bfloat16, float16, float32, float64 }

    /// `count` numbers. A row of 4096 has a scale of about 2^`center`, by a normal distribution of `spread` over the
    /// logarithm; `isSigned: false` makes all of them positive, as second moments are.
    static func weights(
        _ number: Number, _ count: Int, seed: UInt64, center: Double = -6, spread: Double = 0.6, isSigned: Bool = true
    ) -> [UInt8] {
        var generator = SeededGenerator(seed: seed)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count * 8)
        var scale = 1.0
        for index in 0..<count {
            if index % 4096 == 0 { scale = power(of: center + spread * generator.normal()) }
            let value = (isSigned ? generator.normal() : abs(generator.normal())) * scale
            // Sums of whole numbers leave the last bits of a mantissa empty, which no trained weight has.
            let noise = generator.next()
            switch number {
            case .bfloat16: append(Float(value).bitPattern >> 16, 2, to: &bytes)
            case .float16: append(Float16(value).bitPattern, 2, to: &bytes)
            case .float32: append(Float(value).bitPattern ^ UInt32(noise & 0xffff), 4, to: &bytes)
            case .float64: append(value.bitPattern ^ (noise & 0xffff_ffff_ffff), 8, to: &bytes)
            }
        }
        return bytes
    }

    /// The next checkpoint: about `share` of the elements of `width` bytes moved by one unit in the last place, as
    /// `Tests/Benchmarks/datasets.py` does it: by flipping the lowest bit.
    static func stepped(_ bytes: [UInt8], width: Int, share: Double, seed: UInt64) -> [UInt8] {
        var generator = SeededGenerator(seed: seed)
        var next = bytes
        for start in stride(from: 0, to: bytes.count - width + 1, by: width)
        where generator.uniform() < share { next[start] ^= 1 }
        return next
    }

    /// The next checkpoint: every element moved by a normally distributed number of units in the last place.
    static func drifted(_ bytes: [UInt8], width: Int, deviation: Double, seed: UInt64) -> [UInt8] {
        var generator = SeededGenerator(seed: seed)
        var next = bytes
        for start in stride(from: 0, to: bytes.count - width + 1, by: width) {
            var value: UInt64 = 0
            for place in 0..<width { value |= UInt64(bytes[start + place]) << UInt64(8 * place) }
            value = value &+ UInt64(bitPattern: Int64((generator.normal() * deviation).rounded()))
            for place in 0..<width { next[start + place] = UInt8(truncatingIfNeeded: value >> UInt64(8 * place)) }
        }
        return next
    }

    /// Small whole numbers of `width` bytes, without a sign.
    static func integers(_ count: Int, width: Int, seed: UInt64) -> [UInt8] {
        var generator = SeededGenerator(seed: seed)
        var bytes: [UInt8] = []
        for _ in 0..<count { append(UInt64(abs(generator.normal() * 20)), width, to: &bytes) }
        return bytes
    }

    private static func append(_ number: some FixedWidthInteger, _ width: Int, to bytes: inout [UInt8]) {
        for place in 0..<width { bytes.append(UInt8(truncatingIfNeeded: number >> (8 * place))) }
    }

    /// 2 to the power of `exponent`, to a part in a thousand: that is all a scale needs.
    private static func power(of exponent: Double) -> Double {
        let whole = exponent.rounded(.down)
        let rest = (exponent - whole) * 0.693_147
        return Double(sign: .plus, exponent: Int(whole), significand: 1 + rest * (1 + rest / 2 * (1 + rest / 3)))
    }
}

extension SeededGenerator {
    /// From 0 up to 1.
    mutating func uniform() -> Double { Double(next() >> 11) / Double(1 << 53) }

    /// Normally distributed, to six deviations: a sum of twelve uniform numbers.
    mutating func normal() -> Double {
        var sum: UInt64 = 0
        for _ in 0..<3 {
            let bits = next()
            sum += (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48)
        }
        return Double(sum) / 65_536 - 6
    }
}
