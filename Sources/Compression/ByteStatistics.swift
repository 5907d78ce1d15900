internal import CCompressionKernels

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// How often bytes occur, and what a code of single bytes could make of that. One per thread: it keeps its tables.
struct ByteStatistics {
    /// What is known of a stretch of bytes.
    struct Measure {
        /// The order-0 entropy, in bits for each byte.
        var bits: Float
        /// How likely two bytes taken at random are equal.
        var chance: Float
    }

    private var counts = [UInt32](repeating: 0, count: 256)
    private var residueCounts = [UInt32](repeating: 0, count: 8 * 256)

    /// n·log2(n) for small n: thousands of logarithms would take longer than the counting.
    private static let products: [Float] = (0...4096).map { $0 == 0 ? 0 : Float($0) * log2(Float($0)) }

    /// Counts `bytes`.
    mutating func measure(_ bytes: UnsafeRawBufferPointer) -> Measure {
        unsafe byte_histogram(bytes.baseAddress, bytes.count, &counts)
        var squares: Float = 0
        for count in counts { squares += Float(count) * Float(count) }
        let total = Float(max(bytes.count, 1))
        return Measure(bits: Self.bits(counts[...]), chance: squares / (total * total))
    }

    /// The entropy of the bytes at each place modulo 8.
    mutating func residueBits(_ bytes: UnsafeRawBufferPointer) -> [Float] {
        unsafe residue_histogram(bytes.baseAddress, bytes.count, &residueCounts)
        return (0..<8).map { Self.bits(residueCounts[$0 * 256..<($0 + 1) * 256]) }
    }

    private static func bits(_ counts: ArraySlice<UInt32>) -> Float {
        let products = Self.products
        var total: UInt32 = 0
        var sum: Float = 0
        for count in counts {
            total += count
            sum += count < products.count ? products[Int(count)] : Float(count) * log2(Float(count))
        }
        return total == 0 ? 0 : log2(Float(total)) - sum / Float(total)
    }
}
