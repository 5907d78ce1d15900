internal import Basics
internal import ObjectStorage
internal import RepositoryFormat

/// Rewrites index segments: without packs that are gone, and many small ones as few large ones.
///
/// New segments are stored before the old ones are removed, and only those that this run has read are removed: whatever
/// an old segment says of packs that are there is said by a new one by then. Two collectors at once leave duplicates,
/// which the next run joins.
///
/// A segment with entries lists only packs that have entries in it, all of them; one without entries is a note of how
/// long packs are kept.
struct SegmentRewriter {
    /// A segment below this many entries is small, and so many small ones are left alone.
    static let smallEntries = 64 << 10
    static let smallSegments = 8

    let repository: Repository
    let survey: RepositorySurvey
    /// Packs that this run has removed.
    let gone: Set<Identifier>
    private(set) var written: UInt64 = 0
    private(set) var removed: UInt64 = 0
    /// Old segments that the store keeps under retention.
    private(set) var retained: UInt64 = 0

    init(repository: Repository, survey: RepositorySurvey, gone: Set<Identifier>) {
        self.repository = repository
        self.survey = survey
        self.gone = gone
    }

    private func isGone(_ id: Identifier) -> Bool { gone.contains(id) || survey.packs[id] == nil }

    /// Rewrites what needs it. Answers the packs that are gone and still named by a segment that could not be removed.
    mutating func rewrite() async throws -> Set<Identifier> {
        let inputs = chooseInputs()
        let notes = chooseNotes(besides: inputs)
        if !inputs.isEmpty || !notes.isEmpty {
            var emitted = Set<Identifier>()
            try await writeEntries(inputs, &emitted)
            try await writeNote(notes, &emitted)
            try await removeOld(inputs + notes)
        }
        return stale
    }

    private var removedIDs = Set<Identifier>()

    private var stale: Set<Identifier> {
        var stale = Set<Identifier>()
        for segment in survey.segments where !removedIDs.contains(segment.id) {
            for pack in segment.packs where isGone(pack.id) { stale.insert(pack.id) }
        }
        return stale
    }

    /// Segments with entries that name packs which are gone, name packs that another one names too, or are small.
    private func chooseInputs() -> [IndexSegment] {
        let candidates = survey.segments.filter { $0.count > 0 && !isLocked($0) }
        var listings: [Identifier: Int] = [:]
        for segment in candidates {
            for pack in segment.packs { listings[pack.id, default: 0] += 1 }
        }
        let small = candidates.filter { $0.count < Self.smallEntries }
        let joinsSmall = small.count > Self.smallSegments
        return candidates.filter { segment in
            (joinsSmall && segment.count < Self.smallEntries)
                || segment.packs.contains { isGone($0.id) || (listings[$0.id] ?? 0) > 1 }
        }
    }

    private func chooseNotes(besides inputs: [IndexSegment]) -> [IndexSegment] {
        let notes = survey.segments.filter { $0.count == 0 && !isLocked($0) }
        let isDue = notes.count > Self.smallSegments || notes.contains { $0.packs.contains { isGone($0.id) } }
        return isDue ? notes : []
    }

    /// Whether the store will refuse to remove the segment, as far as our own retention tells: to try would only add one
    /// more segment in each run.
    private func isLocked(_ segment: IndexSegment) -> Bool {
        guard let policy = repository.options.retention,
            let object = survey.segmentObjects[ObjectNames.segment(segment.id)]
        else { return false }
        return object.modified.advanced(bySeconds: policy.seconds) > survey.date
    }

    private mutating func writeEntries(_ inputs: [IndexSegment], _ emitted: inout Set<Identifier>) async throws {
        let known = survey.indexed
        var packs: [IndexedPack] = []
        var entries: [IndexEntry] = []
        for input in inputs {
            let taken = input.packs.map { !isGone($0.id) && !emitted.contains($0.id) }
            guard taken.contains(true) else { continue }
            if !entries.isEmpty, entries.count + input.count > IndexSegmentLayout.maximumEntries {
                try await put(packs, entries)
                packs = []
                entries = []
            }
            // Only packs with entries here get a row.
            var rows = [UInt32?](repeating: nil, count: input.packs.count)
            for number in 0..<input.count {
                var entry = input.entry(number)
                let row = Int(entry.pack)
                guard row < taken.count, taken[row] else { continue }
                if rows[row] == nil {
                    rows[row] = UInt32(packs.count)
                    let pack = input.packs[row]
                    packs.append(known[pack.id] ?? pack)
                    emitted.insert(pack.id)
                }
                entry.pack = rows[row] ?? 0
                entries.append(entry)
            }
        }
        if !entries.isEmpty { try await put(packs, entries) }
    }

    private mutating func writeNote(_ notes: [IndexSegment], _ emitted: inout Set<Identifier>) async throws {
        let known = survey.indexed
        var packs: [IndexedPack] = []
        for pack in notes.flatMap(\.packs) where !isGone(pack.id) && emitted.insert(pack.id).inserted {
            packs.append(known[pack.id] ?? pack)
        }
        if !packs.isEmpty { try await put(packs, []) }
    }

    private mutating func put(_ packs: [IndexedPack], _ entries: [IndexEntry]) async throws {
        try await repository.putSegment(
            IndexSegmentLayout.encode(packs: packs, entries: entries), id: try Identifier.random())
        written += 1
    }

    private mutating func removeOld(_ segments: [IndexSegment]) async throws {
        for segment in segments {
            do {
                try await repository.store.delete(ObjectNames.segment(segment.id), ifTag: nil)
                removedIDs.insert(segment.id)
                removed += 1
            } catch {
                guard error.code == .locked else { throw error }
                retained += 1
            }
        }
    }
}
