internal import Basics
package import RepositoryFormat
internal import Synchronization

/// All that is known of where chunks lie: segments, and packs that count as absent. Any thread may use it.
package final class RepositoryIndex: Sendable {
    private struct State {
        var segments: [IndexSegment] = []
        /// Packs that a collector has given up.
        var condemned: Set<Identifier> = []
        /// Packs that the store was seen not to have.
        var missing: Set<Identifier> = []
        /// Segments made from pack footers that no stored segment covers.
        var unpublished: [IndexSegment] = []
    }

    private let state = Mutex(State())
    /// What was found damaged while loading; each names an object.
    package let damage: [DamagedObject]

    /// A stored object that could not be read.
    package struct DamagedObject: Hashable, Sendable {
        package var object: String
        package var message: String

        package init(object: String, message: String) {
            self.object = object
            self.message = message
        }
    }

    package init(segments: [IndexSegment], condemned: Set<Identifier>, damage: [DamagedObject] = []) {
        self.damage = damage
        state.withLock {
            $0.segments = segments
            $0.condemned = condemned
        }
    }

    /// The segments, oldest first.
    package var segments: [IndexSegment] { state.withLock { $0.segments } }

    /// Packs that count as absent for writers.
    package var condemned: Set<Identifier> { state.withLock { $0.condemned } }

    /// Adds a segment that was just published.
    package func add(_ segment: IndexSegment) { state.withLock { $0.segments.append(segment) } }

    /// Adds a segment that was made from pack footers and is stored nowhere.
    func addRecovered(_ segment: IndexSegment) {
        state.withLock {
            $0.segments.append(segment)
            $0.unpublished.append(segment)
        }
    }

    /// Recovered segments that are to be stored, each answered once.
    func takeUnpublished() -> [IndexSegment] {
        state.withLock { state in
            defer { state.unpublished = [] }
            return state.unpublished
        }
    }

    /// Replaces what is known of condemned packs.
    package func setCondemned(_ packs: Set<Identifier>) { state.withLock { $0.condemned = packs } }

    /// Packs that the store was seen not to have.
    package var missing: Set<Identifier> { state.withLock { $0.missing } }

    /// Notes that the store does not have these packs.
    package func markMissing(_ packs: Set<Identifier>) { state.withLock { $0.missing.formUnion(packs) } }

    /// The same index, as it would be if the store lacked these packs too: to find other copies of what is damaged there.
    func avoiding(_ packs: Set<Identifier>) -> RepositoryIndex {
        let copy = RepositoryIndex(segments: [], condemned: [], damage: damage)
        let present = state.withLock { $0 }
        copy.state.withLock {
            $0 = present
            $0.missing.formUnion(packs)
        }
        return copy
    }

    /// A chunk that a writer may rely on: in a pack that is neither condemned nor missing. Nil when there is none.
    ///
    /// One that is stored as a difference counts only if `findWhole` finds its base.
    package func find(_ id: ChunkID, kind: ChunkKind) -> ChunkLocation? {
        locate(id, kind: kind, includingCondemned: false)
    }

    /// As `find`, but only a copy that needs no other chunk to be read: what may be the base of another.
    package func findWhole(_ id: ChunkID, kind: ChunkKind) -> ChunkLocation? {
        locate(id, kind: kind, includingCondemned: false, differences: .none)
    }

    /// A chunk for reading: condemned packs serve too, after all others; and a difference whose base is in no pack, so
    /// that whoever reads it can say so.
    package func findForReading(_ id: ChunkID, kind: ChunkKind) -> ChunkLocation? {
        locate(id, kind: kind, includingCondemned: false) ?? locate(id, kind: kind, includingCondemned: true)
            ?? locate(id, kind: kind, includingCondemned: true, differences: .all)
    }

    /// A copy of a base for reading.
    func findBase(_ id: ChunkID, kind: ChunkKind) -> ChunkLocation? {
        findWhole(id, kind: kind) ?? locate(id, kind: kind, includingCondemned: true, differences: .none)
    }

    /// Which copies that are stored as differences count.
    private enum Differences { case none, withBase, all }

    private func locate(
        _ id: ChunkID, kind: ChunkKind, includingCondemned: Bool, differences: Differences = .withBase
    ) -> ChunkLocation? {
        let (segments, condemned, missing) = state.withLock { ($0.segments, $0.condemned, $0.missing) }
        var second: ChunkLocation?
        for segment in segments {
            for row in segment.rows(of: id) {
                let entry = segment.entry(row)
                guard Int(entry.pack) < segment.packs.count else { continue }
                let pack = segment.packs[Int(entry.pack)]
                guard pack.kind == kind, !missing.contains(pack.id), includingCondemned || !condemned.contains(pack.id)
                else { continue }
                let location = ChunkLocation(
                    pack: pack.id, kind: kind, session: pack.session, offset: entry.offset,
                    sealedLength: entry.sealedLength, rawLength: entry.rawLength, isGroup: entry.isGroup,
                    base: entry.base, codec: entry.codec, segment: segment.id, row: row)
                guard entry.hasBase else { return location }
                guard second == nil else { continue }
                switch differences {
                case .none: break
                case .all: second = location
                case .withBase:
                    if let base = entry.base,
                        locate(base, kind: kind, includingCondemned: includingCondemned, differences: .none) != nil
                    {
                        second = location
                    }
                }
            }
        }
        return second
    }

    /// Every pack that some segment lists, once; where several do, with the latest retention.
    package func allPacks() -> [Identifier: IndexedPack] {
        var packs: [Identifier: IndexedPack] = [:]
        for segment in segments {
            for pack in segment.packs {
                if let known = packs[pack.id], known.retainedUntil >= pack.retainedUntil { continue }
                packs[pack.id] = pack
            }
        }
        return packs
    }
}
