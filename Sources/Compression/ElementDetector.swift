/// Finds out how numbers lie in bytes of which nothing is known: how wide they are, and where one begins. Chunks that
/// are cut by content begin anywhere.
///
/// In floating-point numbers the byte with the exponent varies much less than those with the mantissa, so the entropy
/// of the bytes at each place modulo 8 has the elements' width as its period.
struct ElementDetector {
    /// What may be true of a chunk; a sample of planes decides.
    struct Finding: Equatable {
        var width: Int
        /// The number of bytes before the first whole element, if the element is a floating-point number: usually one
        /// place suits, with wide elements two may.
        var phases: [Int]
    }

    /// Entropies closer than this are taken for equal; chance alone makes 0.1 of a difference.
    private static let tolerance: Float = 0.4
    /// A byte that holds an exponent has less than so many bits, if taking planes apart is to pay; and more than so
    /// many, if it is one.
    private static let exponentBits: ClosedRange<Float> = 0.02...7.2

    /// Judges by the entropy of bytes at each of eight places; nil when they have no period.
    static func judge(_ bits: [Float]) -> Finding? {
        for width in [1, 2, 4, 8] {
            var apart: Float = 0
            for place in 0..<width {
                let same = stride(from: place, to: 8, by: width).map { bits[$0] }
                apart = max(apart, (same.max() ?? 0) - (same.min() ?? 0))
            }
            guard apart <= tolerance else { continue }
            // All places are alike: text, code, noise.
            guard width > 1 else { return nil }
            let mean = (0..<width).map { place in
                stride(from: place, to: 8, by: width).reduce(0) { $0 + bits[$1] } * Float(width) / 8
            }
            let candidates = (0..<width).filter { exponentBits.contains(mean[$0]) }.sorted { mean[$0] < mean[$1] }
            // The exponent is in the last byte of an element.
            return Finding(width: width, phases: candidates.prefix(2).map { ($0 + 1) % width })
        }
        return nil
    }
}
