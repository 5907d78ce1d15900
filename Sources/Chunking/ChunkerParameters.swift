/// The sizes, in bytes, that content-defined cutting keeps to.
package struct ChunkerParameters: Hashable, Sendable {
    /// 512 KiB, 2 MiB and 8 MiB.
    package static let standard = ChunkerParameters(checkedMinimum: 512 << 10, average: 2 << 20, maximum: 8 << 20)
    /// The hash's window: no chunk but a file's last may be smaller.
    package static let smallestMinimum = 64
    /// The largest chunk that can be asked for.
    package static let largestMaximum = 1 << 30

    /// No chunk is smaller, except a file's last.
    package let minimum: Int
    /// The size at which cutting turns from strict to loose; a power of two. Chunks of random data are a little larger
    /// than this on average.
    package let average: Int
    /// No chunk is larger.
    package let maximum: Int

    /// The standard sizes.
    package init() { self = .standard }

    /// The parameters, or nil unless 64 ≤ `minimum` < `average` < `maximum` ≤ 1 GiB and `average` is a power of two.
    package init?(minimum: Int, average: Int, maximum: Int) {
        guard minimum >= Self.smallestMinimum, minimum < average, average < maximum, maximum <= Self.largestMaximum,
            average.nonzeroBitCount == 1
        else { return nil }
        self.init(checkedMinimum: minimum, average: average, maximum: maximum)
    }

    private init(checkedMinimum minimum: Int, average: Int, maximum: Int) {
        self.minimum = minimum
        self.average = average
        self.maximum = maximum
    }

    /// Leading zero bits of the hash at a loose candidate: log2(average) - 2.
    package var looseBits: Int { average.trailingZeroBitCount - 2 }
    /// Leading zero bits of the hash at a strict candidate: log2(average) + 2.
    package var strictBits: Int { average.trailingZeroBitCount + 2 }
}
