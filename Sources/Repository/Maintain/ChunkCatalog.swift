internal import RepositoryFormat
internal import Sealing

/// Where all chunks lie at one moment, frozen: index segments and what became of their packs. Any thread may use it.
final class ChunkCatalog: Sendable {
    /// What a pack is good for.
    enum Standing: UInt8, Sendable {
        /// It is there and nobody has given it up.
        case good
        /// It is there and has been condemned: readable, but it will go.
        case condemned
        /// The store does not have it.
        case gone
    }

    /// An entry of the catalog: a row of a segment.
    struct Place: Hashable, Sendable {
        var segment: Int
        var row: Int
        /// Row of the segment's pack table.
        var packRow: Int
        var standing: Standing
        /// Bytes of the chunk as the index has them.
        var rawLength: UInt32
        /// Whether the chunk is stored as the difference to a base, and the base.
        var hasBase: Bool
        var base: ChunkID?
    }

    let segments: [IndexSegment]
    /// For each segment, for each of its packs.
    private let standings: [[Standing]]

    /// A catalog of `segments` where `packs` are in the store and `condemned` are given up.
    init(segments: [IndexSegment], condemned: Set<Identifier>, isPresent: (Identifier) -> Bool) {
        self.segments = segments
        standings = segments.map { segment in
            segment.packs.map { pack in
                guard isPresent(pack.id) else { return .gone }
                return condemned.contains(pack.id) ? .condemned : .good
            }
        }
    }

    /// The pack that a place lies in.
    func pack(of place: Place) -> IndexedPack { segments[place.segment].packs[place.packRow] }

    /// The chunk's canonical place: where a reader finds it (`RepositoryIndex.findForReading`). In this order: whole in a good
    /// pack; a difference in a good pack whose base is whole in a good one; whole in a condemned pack; any difference
    /// whose base is whole somewhere. Nil when there is none of those.
    func place(of id: ChunkID, kind: ChunkKind) -> Place? {
        let places = places(of: id, kind: kind).filter { $0.standing != .gone }
        let whole = best(places.filter { !$0.hasBase })
        if let whole, whole.standing == .good { return whole }
        let differences = places.filter { place in place.base.flatMap { wholePlace(of: $0, kind: kind) } != nil }
        if let difference = differences.first(where: { !restsOnCondemned($0, kind: kind) }) { return difference }
        return whole ?? best(differences)
    }

    /// Where the chunk can be read without another, and so be a base: in a good pack, else in a condemned one.
    func wholePlace(of id: ChunkID, kind: ChunkKind) -> Place? {
        best(places(of: id, kind: kind).filter { !$0.hasBase })
    }

    /// Whether the place, or the base that it needs, is in a pack that will go.
    func restsOnCondemned(_ place: Place, kind: ChunkKind) -> Bool {
        guard place.standing == .good else { return true }
        guard place.hasBase else { return false }
        return place.base.flatMap { wholePlace(of: $0, kind: kind) }?.standing != .good
    }

    private func best(_ places: [Place]) -> Place? {
        places.first { $0.standing == .good } ?? places.first { $0.standing == .condemned }
    }

    /// All places that the index gives for the chunk, those in missing packs too.
    func places(of id: ChunkID, kind: ChunkKind) -> [Place] {
        var places: [Place] = []
        for (number, segment) in segments.enumerated() {
            for row in segment.rows(of: id) {
                let entry = segment.entry(row)
                let packRow = Int(entry.pack)
                guard packRow < segment.packs.count, segment.packs[packRow].kind == kind else { continue }
                places.append(
                    Place(
                        segment: number, row: row, packRow: packRow, standing: standings[number][packRow],
                        rawLength: entry.rawLength, hasBase: entry.hasBase, base: entry.base))
            }
        }
        return places
    }

    /// Whether another segment than the last, which is the recovered one, lists a copy of the chunk of this entry of
    /// `recovered` in a pack that is there.
    func isListed(_ entry: IndexEntry, like recovered: IndexSegment) -> Bool {
        guard Int(entry.pack) < recovered.packs.count, let id = entry.shortID else { return false }
        return places(of: id, kind: recovered.packs[Int(entry.pack)].kind).contains {
            $0.segment < segments.count - 1 && $0.standing != .gone
        }
    }

    /// Calls `body` with every entry, its segment's number and its row; a pack that several segments list counts once,
    /// in the first that has entries of it, which is where `place` finds its chunks.
    func forEachOwnedEntry(_ body: (_ segment: Int, _ row: Int, _ entry: IndexEntry) throws -> Void) rethrows {
        var owners: [Identifier: Int] = [:]
        for (number, segment) in segments.enumerated() {
            // 0 not looked up yet, 1 owned by this segment, 2 by an earlier one.
            var ownership = [UInt8](repeating: 0, count: segment.packs.count)
            for row in 0..<segment.count {
                let entry = segment.entry(row)
                let packRow = Int(entry.pack)
                guard packRow < ownership.count else { continue }
                if ownership[packRow] == 0 {
                    let pack = segment.packs[packRow].id
                    let owner = owners[pack] ?? number
                    owners[pack] = owner
                    ownership[packRow] = owner == number ? 1 : 2
                }
                if ownership[packRow] == 1 { try body(number, row, entry) }
            }
        }
    }
}

extension IndexEntry {
    /// An id that the index cannot tell from the chunk's: it has the first half of it.
    fileprivate var shortID: ChunkID? {
        var bytes = [UInt8](repeating: 0, count: Digest.size)
        for index in 0..<8 {
            bytes[index] = UInt8(truncatingIfNeeded: high >> UInt64(56 - 8 * index))
            bytes[index + 8] = UInt8(truncatingIfNeeded: low >> UInt64(56 - 8 * index))
        }
        return Digest(bytes: bytes).map { ChunkID($0) }
    }
}
