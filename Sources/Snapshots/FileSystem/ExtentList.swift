/// Extents of data in ascending order, joined where the gap between two is small, and never more than `limit`.
struct ExtentList {
    /// Gaps under so many bytes are data: no smaller hole is kept.
    static let smallestGap: UInt64 = 64 << 10

    private(set) var extents: [Range<UInt64>] = []
    private var gap = smallestGap
    private let limit: Int

    init(limit: Int = 65_536) {
        precondition(limit > 1)
        self.limit = limit
    }

    /// Appends an extent that begins where the last one ends, or behind.
    mutating func append(_ extent: Range<UInt64>) {
        guard !extent.isEmpty else { return }
        if let last = extents.last, extent.lowerBound - last.upperBound < gap {
            extents[extents.count - 1] = last.lowerBound..<extent.upperBound
            return
        }
        extents.append(extent)
        while extents.count > limit { coarsen() }
    }

    /// Doubles the gap that counts and joins what is nearer.
    private mutating func coarsen() {
        gap *= 2
        var joined: [Range<UInt64>] = []
        for extent in extents {
            if let last = joined.last, extent.lowerBound - last.upperBound < gap {
                joined[joined.count - 1] = last.lowerBound..<extent.upperBound
            } else {
                joined.append(extent)
            }
        }
        extents = joined
    }
}
