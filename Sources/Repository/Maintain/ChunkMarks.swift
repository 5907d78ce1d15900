internal import RepositoryFormat
internal import Synchronization

/// One bit for each entry of a catalog: whether something still refers to the chunk there. Any thread may set them.
final class ChunkMarks: Sendable {
    private let catalog: ChunkCatalog
    private let words: Mutex<[[UInt64]]>

    /// No entry marked. Takes an eighth of a byte for each.
    init(catalog: ChunkCatalog) {
        self.catalog = catalog
        words = Mutex(catalog.segments.map { [UInt64](repeating: 0, count: ($0.count + 63) / 64) })
    }

    /// Marks the places and answers, for each, whether it was unmarked before.
    func insert(_ places: [ChunkCatalog.Place]) -> [Bool] {
        words.withLock { words in
            places.map { place in
                let bit: UInt64 = 1 << UInt64(place.row & 63)
                let isNew = words[place.segment][place.row >> 6] & bit == 0
                words[place.segment][place.row >> 6] |= bit
                return isNew
            }
        }
    }

    /// Whether the place is marked.
    func contains(_ place: ChunkCatalog.Place) -> Bool {
        words.withLock { $0[place.segment][place.row >> 6] & (1 << UInt64(place.row & 63)) != 0 }
    }

    /// The marked rows of one of the catalog's segments.
    func marked(in segment: Int) -> [Int] {
        words.withLock { words in
            (0..<catalog.segments[segment].count).filter { words[segment][$0 >> 6] & (1 << UInt64($0 & 63)) != 0 }
        }
    }

    /// How much of a pack is referred to, by what the chunks take in it; of a group's members, by their own lengths.
    struct Usage: Hashable, Sendable {
        var total: UInt64 = 0
        var live: UInt64 = 0
        /// Chunks that are referred to.
        var liveCount: UInt64 = 0

        /// Those that are stored as the difference to a base.
        var liveDifferences: UInt64 = 0

        /// From 0, nothing, to 1, everything.
        var fraction: Double { total == 0 ? 0 : Double(live) / Double(total) }
    }

    /// The usage of every pack that has entries.
    func usage() -> [Identifier: Usage] {
        // The words are copied out, so that the long loop holds no lock.
        let words = words.withLock { $0 }
        var rows = catalog.segments.map { [Usage](repeating: Usage(), count: $0.packs.count) }
        catalog.forEachOwnedEntry { segment, row, entry in
            // A chunk costs its header too, so that empty ones count.
            let weight = UInt64(entry.isGroup ? entry.rawLength : entry.sealedLength) + UInt64(BlobHeader.size)
            rows[segment][Int(entry.pack)].total += weight
            if words[segment][row >> 6] & (1 << UInt64(row & 63)) != 0 {
                rows[segment][Int(entry.pack)].live += weight
                rows[segment][Int(entry.pack)].liveCount += 1
                rows[segment][Int(entry.pack)].liveDifferences += entry.hasBase ? 1 : 0
            }
        }
        var usage: [Identifier: Usage] = [:]
        for (number, segment) in catalog.segments.enumerated() {
            for (row, pack) in segment.packs.enumerated() where rows[number][row].total > 0 {
                usage[pack.id] = rows[number][row]
            }
        }
        return usage
    }
}
