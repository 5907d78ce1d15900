internal import Basics
package import RepositoryFormat
internal import Sealing

/// One immutable segment of the index, ready to be searched in place.
package final class IndexSegment: Sendable {
    package let id: Identifier
    package let layout: IndexSegmentLayout
    package let packs: [IndexedPack]
    private let mapped: MappedBytes

    /// Throws `.damaged` when the plain bytes are not a segment.
    init(id: Identifier, mapped: MappedBytes, isStored: Bool = true) throws(FormatError) {
        self.id = id
        self.mapped = mapped
        let layout = try IndexSegmentLayout(plain: mapped.bytes, isStored: isStored)
        self.layout = layout
        var packs: [IndexedPack] = []
        packs.reserveCapacity(layout.packCount)
        for row in 0..<layout.packCount { packs.append(try layout.pack(row, in: mapped.bytes)) }
        self.packs = packs
    }

    /// A segment in memory, of packs whose footers were read because no stored segment covers them. It may be larger than
    /// a stored one: `Repository.putSegments` stores it in pieces.
    package convenience init(recovered packs: [IndexedPack], entries: [IndexEntry], id: Identifier) throws(FormatError)
    {
        try self.init(
            id: id, mapped: MappedBytes(IndexSegmentLayout.encode(packs: packs, entries: entries)), isStored: false)
    }

    /// All entries, in the order of their ids.
    package var entries: [IndexEntry] { (0..<count).map { entry($0) } }

    /// Entries in it.
    package var count: Int { layout.entryCount }

    /// The entry in `row`, which must be below `count`.
    package func entry(_ row: Int) -> IndexEntry {
        precondition(row >= 0 && row < count)
        var entry = bare(row)
        if entry.hasBase { entry.base = layout.base(of: row, in: mapped.bytes) }
        return entry
    }

    /// The entry in `row` without its base.
    private func bare(_ row: Int) -> IndexEntry {
        guard let base = mapped.bytes.baseAddress else { preconditionFailure("an empty mapping has no entries") }
        return IndexEntry(at: base + layout.entriesOffset + row * IndexEntry.size)
    }

    /// Rows whose entries are for `id`: the filter first, then interpolation over the uniform ids.
    package func rows(of id: ChunkID) -> Range<Int> {
        let (high, low) = id.digest.prefix
        let filter = UnsafeRawBufferPointer(
            rebasing: mapped.bytes[
                layout.filterOffset..<layout.filterOffset + layout.filterBlockCount * SplitBlockFilter.blockSize])
        guard count > 0, SplitBlockFilter.mayContain(high, in: filter) else { return 0..<0 }
        let first = lowerBound(high, low)
        var end = first
        while end < count, bare(end).matches(id) { end += 1 }
        return first..<end
    }

    /// The first row that is not below (high, low).
    private func lowerBound(_ high: UInt64, _ low: UInt64) -> Int {
        var lower = 0
        var upper = count
        // Interpolate while the range is long: ids are uniform, so a few steps bring it to a handful of rows.
        var step = 0
        while upper - lower > 32, step < 8 {
            let from = bare(lower).high
            let to = bare(upper - 1).high
            guard high > from else { break }
            guard high <= to else { return narrow(upper - 1, upper, high, low) }
            let span = Double(to - from)
            guard span > 0 else { break }
            let guess = lower + Int(Double(high - from) / span * Double(upper - 1 - lower))
            let probe = min(max(guess, lower), upper - 1)
            let margin = 16
            let left = max(lower, probe - margin)
            let right = min(upper, probe + margin)
            if isBelow(bare(left), high, low) { lower = left } else { upper = left + 1 }
            if right - 1 > lower, right - 1 < upper {
                if isBelow(bare(right - 1), high, low) { lower = right } else { upper = right }
            }
            step += 1
        }
        return narrow(lower, upper, high, low)
    }

    private func narrow(_ from: Int, _ to: Int, _ high: UInt64, _ low: UInt64) -> Int {
        var lower = from
        var upper = to
        while lower < upper {
            let middle = (lower + upper) / 2
            if isBelow(bare(middle), high, low) { lower = middle + 1 } else { upper = middle }
        }
        return lower
    }

    private func isBelow(_ entry: IndexEntry, _ high: UInt64, _ low: UInt64) -> Bool {
        (entry.high, entry.low) < (high, low)
    }
}
