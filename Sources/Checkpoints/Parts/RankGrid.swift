/// Holds the ranks that files are named for against those that must be there.
package struct RankGrid {
    /// Each point's coordinates, by file names.
    private(set) var points: Set<[Int64]> = []
    /// Ranks beyond this are no ranks.
    package static let mostRanks: Int64 = 1 << 20

    package init() {}

    /// Adds a file's ranks. False, and nothing added, when one is beyond all sense.
    @discardableResult package mutating func insert(_ ranks: [Int64]) -> Bool {
        guard ranks.allSatisfy({ $0 < Self.mostRanks }) else { return false }
        points.insert(ranks)
        return true
    }

    /// Whether no file named any ranks.
    package var isEmpty: Bool { points.isEmpty }

    /// How many ranks there are along an axis, by the highest of them.
    package func extent(_ axis: Int) -> Int64 { (points.map { $0[axis] }.max() ?? -1) + 1 }

    /// The first `limit` points of the whole grid that are missing; `extents` are those known from elsewhere, nil where
    /// the highest rank is all that is known.
    package func missing(_ extents: [Int64?], atMost limit: Int) -> [[Int64]] {
        let sizes = extents.enumerated().map { max($0.element ?? 0, extent($0.offset)) }
        guard sizes.allSatisfy({ $0 > 0 && $0 <= Self.mostRanks }) else { return [] }
        let (total, overflow) = sizes.reduce((Int64(1), false)) { result, size in
            let (value, over) = result.0.multipliedReportingOverflow(by: size)
            return (value, result.1 || over)
        }
        guard !overflow, total != Int64(points.count) else { return [] }
        var missing: [[Int64]] = []
        var point = sizes.map { _ in Int64(0) }
        // Each step finds a point or a gap, so it ends after the points and `limit` gaps.
        while missing.count < limit {
            if !points.contains(point) { missing.append(point) }
            var axis = sizes.count - 1
            while axis >= 0 {
                point[axis] += 1
                if point[axis] < sizes[axis] { break }
                point[axis] = 0
                axis -= 1
            }
            if axis < 0 { break }
        }
        return missing
    }
}

extension String {
    /// The numbers in a name by a pattern of texts around them: `["mp_rank_", "_model_states.pt"]` gives `[3]` for
    /// `mp_rank_03_model_states.pt`. Nil for a name of another form.
    package func numbers(in pattern: [String]) -> [Int64]? {
        guard let first = pattern.first, pattern.count > 1, hasPrefix(first) else { return nil }
        var rest = Array(utf8)[first.utf8.count...]
        var numbers: [Int64] = []
        for text in pattern.dropFirst() {
            let digits = rest.prefix { (0x30...0x39).contains($0) }
            guard !digits.isEmpty, let number = Int64(String(decoding: digits, as: UTF8.self)) else { return nil }
            rest = rest.dropFirst(digits.count)
            guard rest.starts(with: text.utf8) else { return nil }
            rest = rest.dropFirst(text.utf8.count)
            numbers.append(number)
        }
        return rest.isEmpty ? numbers : nil
    }
}
