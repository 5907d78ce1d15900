internal import Basics
internal import ObjectStorage
internal import RepositoryFormat

extension CollectionRun {
    /// Packs named in one record at the most: some 4 MB.
    private static let packsPerRecord = 64 << 10
    /// Chunks, and bytes of them, that are copied under one session at the most.
    private static let chunksPerCopy = 128 << 10
    private static let bytesPerCopy: UInt64 = 1 << 30

    /// A pack that is little used, and how much.
    private struct Candidate {
        var id: Identifier
        var pack: RepositorySurvey.Pack
        var usage: ChunkMarks.Usage
    }

    /// Condemns packs that nothing refers to, and those of which little is left, after that little was copied.
    ///
    /// Young packs, and those of sessions that are at work, are left alone. Answers whether something was condemned.
    mutating func condemn(_ marked: Marked) async throws -> Bool {
        let survey = marked.survey
        let atWork = try await sessionsAtWork(survey.date)
        let indexed = survey.indexed
        let condemned = survey.condemned
        var dead: [Identifier] = []
        var sparse: [Candidate] = []
        for (id, pack) in survey.packs where !condemned.contains(id) && survey.unreadable[id] == nil {
            // A pack without entries was not understood, so nothing is known of it.
            guard let usage = marked.usage[id], let session = indexed[id]?.session.sessionID else { continue }
            guard usage.live == 0 || usage.fraction < options.repackBelow else { continue }
            let isOldFrom = pack.modified.advanced(bySeconds: graceSeconds)
            guard isOldFrom <= survey.date || graceSeconds == 0 else {
                report.packsYoung += 1
                report.youngUntil = min(report.youngUntil ?? isOldFrom, isOldFrom)
                continue
            }
            guard !atWork.contains(session) else {
                report.packsAtWork += 1
                continue
            }
            if usage.live == 0 {
                dead.append(id)
            } else {
                sparse.append(Candidate(id: id, pack: pack, usage: usage))
            }
        }
        let chosen = choose(sparse, dead: dead, survey)
        if options.isDryRun {
            report.packsRepacked = UInt64(chosen.count)
            let packs = dead + chosen.map(\.id)
            report.packsCondemned = UInt64(packs.count)
            report.bytesCondemned = packs.reduce(0) { $0 + (survey.packs[$1]?.size ?? 0) }
            if !packs.isEmpty, graceSeconds > 0 {
                report.condemnedUntil = survey.date.advanced(bySeconds: graceSeconds)
            }
            return false
        }
        let spoilt = try await repack(chosen, dead: dead, marked)
        report.packsRepacked += UInt64(chosen.count { !spoilt.contains($0.id) })
        let packs = (dead + chosen.map(\.id)).filter { !spoilt.contains($0) }.sorted()
        for start in stride(from: 0, to: packs.count, by: Self.packsPerRecord) {
            try holder?.check()
            let named = packs[start..<min(start + Self.packsPerRecord, packs.count)].compactMap { id in
                survey.packs[id].map { CondemnedRecord.Pack(id: id, kind: $0.kind, tag: $0.tag) }
            }
            try await repository.store(CondemnedRecord(packs: named))
        }
        report.packsCondemned += UInt64(packs.count)
        report.bytesCondemned += packs.reduce(0) { $0 + (survey.packs[$1]?.size ?? 0) }
        if !packs.isEmpty, graceSeconds > 0 {
            report.condemnedUntil = survey.date.advanced(bySeconds: graceSeconds)
        }
        return !packs.isEmpty
    }

    /// Sessions whose object was touched not long ago. Their packs are spared, for economy: nothing refers to them yet.
    private func sessionsAtWork(_ date: Timestamp) async throws -> Set<Identifier> {
        guard graceSeconds > 0 else { return [] }
        var sessions = Set<Identifier>()
        for object in try await repository.store.listAll(prefix: ObjectNames.sessions) {
            guard let id = ObjectNames.identifier(of: object.key, under: ObjectNames.sessions),
                object.modified.advanced(bySeconds: max(graceSeconds, 600)) > date
            else { continue }
            sessions.insert(id)
        }
        return sessions
    }

    /// The emptiest packs first, until little enough is unused or the run's budget is spent; the report says why others
    /// stay.
    private mutating func choose(_ sparse: [Candidate], dead: [Identifier], _ survey: RepositorySurvey) -> [Candidate] {
        let condemned = survey.condemned
        let kept = survey.packs.filter { !condemned.contains($0.key) }
        let deadBytes = dead.reduce(UInt64(0)) { $0 + (kept[$1]?.size ?? 0) }
        var total = Double(kept.values.reduce(0) { $0 + $1.size } - deadBytes)
        var unused = Double(report.unusedBytes > deadBytes ? report.unusedBytes - deadBytes : 0)
        var budget = options.repackBytesLimit
        var chosen: [Candidate] = []
        for candidate in sparse.sorted(by: { ($0.usage.fraction, $0.id) < ($1.usage.fraction, $1.id) }) {
            guard unused > total * options.maximumUnusedFraction else {
                report.packsTolerated = UInt64(sparse.count - chosen.count)
                break
            }
            guard candidate.pack.size <= budget else {
                report.packsPostponed = UInt64(sparse.count - chosen.count)
                break
            }
            let saved = Double(Self.unused(candidate.pack, candidate.usage))
            budget -= candidate.pack.size
            unused -= saved
            total -= saved
            chosen.append(candidate)
        }
        return chosen
    }

    /// Copies what the chosen packs hold that is referred to. Answers the packs that must stay, because a chunk that is
    /// referred to and may lie in them could not be copied.
    private mutating func repack(
        _ chosen: [Candidate], dead: [Identifier], _ marked: Marked
    ) async throws -> Set<Identifier> {
        guard !chosen.isEmpty else { return [] }
        let survey = marked.survey
        // To the copying session all these packs are as good as gone: their chunks are new to it.
        let going = survey.condemned.union(dead).union(chosen.map(\.id))
        let copier = ChunkCopier(repository: repository, index: survey.index(condemned: going))
        var spoilt = Set<Identifier>()
        // Whole chunks of all packs first: what is stored as the difference to them finds them then.
        for isWhole in [true, false] {
            let packs = chosen.filter { isWhole || $0.usage.liveDifferences > 0 }
            try await repack(packs, isWhole: isWhole, copier, marked, &spoilt)
        }
        return spoilt
    }

    private mutating func repack(
        _ chosen: [Candidate], isWhole: Bool, _ copier: ChunkCopier, _ marked: Marked,
        _ spoilt: inout Set<Identifier>
    ) async throws {
        let survey = marked.survey
        var requests: [ChunkCopier.Request] = []
        var bytes: UInt64 = 0
        for (number, candidate) in chosen.enumerated() {
            do {
                requests += try await liveChunks(of: candidate, marked).filter { $0.isWhole == isWhole }
                bytes += candidate.pack.size
            } catch let error as FormatError {
                spoil(candidate.id, error.message, survey, &spoilt)
            } catch let error as ObjectStorageError {
                guard error.code == .notFound else { throw error }
                spoilt.insert(candidate.id)
            }
            let isFull = requests.count >= Self.chunksPerCopy || bytes >= Self.bytesPerCopy
            guard isFull || number == chosen.count - 1 else { continue }
            try holder?.check()
            let outcome = try await copier.copy(requests, progress)
            report.bytesRepacked += outcome.bytes
            for (key, error) in outcome.failed {
                for place in survey.catalog.places(of: key.id, kind: key.kind) {
                    spoil(survey.catalog.pack(of: place).id, error.message, survey, &spoilt)
                }
            }
            requests = []
            bytes = 0
        }
    }

    private mutating func spoil(
        _ id: Identifier, _ why: String, _ survey: RepositorySurvey, _ spoilt: inout Set<Identifier>
    ) {
        spoilt.insert(id)
        find(
            ObjectNames.pack(id, survey.packs[id]?.kind ?? .data),
            "it was not written anew, for a chunk in it that snapshots refer to could not be copied: \(why)")
    }

    /// Chunks of the pack that are marked there. The index has the beginnings of their ids, the footer all of them.
    private func liveChunks(of candidate: Candidate, _ marked: Marked) async throws -> [ChunkCopier.Request] {
        let (_, blobs) = try await repository.readFooter(
            candidate.id, candidate.pack.kind, size: candidate.pack.size)
        var requests: [ChunkCopier.Request] = []
        for member in blobs.flatMap(\.members) {
            let places = marked.survey.catalog.places(of: member.id, kind: candidate.pack.kind)
            let live = places.first {
                marked.survey.catalog.pack(of: $0).id == candidate.id && marked.marks.contains($0)
            }
            guard let live else { continue }
            requests.append(.init(key: .init(id: member.id, kind: candidate.pack.kind), isWhole: !live.hasBase))
        }
        guard UInt64(requests.count) == candidate.usage.liveCount else {
            throw FormatError(
                .damaged,
                "its footer names \(requests.count) chunks that are referred to, the index \(candidate.usage.liveCount)"
            )
        }
        return requests
    }
}
