internal import Basics
internal import ObjectStorage
internal import RepositoryFormat

extension CollectionRun {
    /// Copies what is referred to and lies in condemned packs only. Answers the packs that must stay all the same,
    /// because a chunk in them that is referred to could not be read.
    mutating func rescue(_ marked: Marked) async throws -> Set<Identifier> {
        let requests = marked.outcome.condemned
        guard !options.isDryRun else {
            report.chunksRescued = UInt64(requests.count)
            return []
        }
        let survey = marked.survey
        let copier = ChunkCopier(repository: repository, index: survey.index(condemned: survey.condemned))
        let outcome = try await copier.copy(requests, progress)
        report.chunksRescued += outcome.chunks
        report.bytesRescued += outcome.bytes
        var kept = Set<Identifier>()
        for (key, error) in outcome.failed {
            for place in survey.catalog.places(of: key.id, kind: key.kind) {
                let pack = survey.catalog.pack(of: place)
                kept.insert(pack.id)
                find(
                    ObjectNames.pack(pack.id, pack.kind),
                    "it is condemned but stays, for a chunk in it that snapshots refer to could not be copied: \(error.message)"
                )
            }
        }
        return kept
    }

    /// Removes packs that were condemned at least the grace period before this run listed the snapshots.
    ///
    /// Answers those that are gone now. A pack whose tag is another than the condemned one is condemned anew.
    mutating func remove(_ survey: RepositorySurvey, keeping kept: Set<Identifier>) async throws -> Set<Identifier> {
        var due: [Identifier: CondemnedRecord.Pack] = [:]
        var replaced: [CondemnedRecord.Pack] = []
        var waiting = Set<Identifier>()
        report.waitingUntil = nil
        let expired = Set(survey.settled.filter { isExpired($0, survey.date) }.map(\.id))
        for record in survey.records {
            for pack in record.record.packs {
                guard let listed = survey.packs[pack.id] else { continue }
                guard expired.contains(record.id), !kept.contains(pack.id) else {
                    waiting.insert(pack.id)
                    let isDueFrom = record.modified.advanced(bySeconds: graceSeconds)
                    if isDueFrom > survey.date {
                        report.waitingUntil = min(report.waitingUntil ?? isDueFrom, isDueFrom)
                    }
                    continue
                }
                guard listed.tag == pack.tag else {
                    replaced.append(.init(id: pack.id, kind: listed.kind, tag: listed.tag))
                    continue
                }
                due[pack.id] = pack
            }
        }
        report.packsWaiting = UInt64(waiting.subtracting(due.keys).count)
        if options.isDryRun {
            report.packsDeleted = UInt64(due.count)
            report.freedBytes = due.keys.reduce(0) { $0 + (survey.packs[$1]?.size ?? 0) }
            return []
        }
        try await condemnAnew(replaced.filter { due[$0.id] == nil })
        return try await delete(due, survey)
    }

    func isExpired(_ record: RepositorySurvey.Condemned, _ date: Timestamp) -> Bool {
        record.modified.advanced(bySeconds: graceSeconds) <= date
    }

    private mutating func condemnAnew(_ packs: [CondemnedRecord.Pack]) async throws {
        guard !packs.isEmpty else { return }
        for pack in packs {
            find(
                ObjectNames.pack(pack.id, pack.kind),
                "it is not the object that was condemned; was the store copied? It waits once more")
        }
        try await repository.store(CondemnedRecord(packs: packs))
    }

    private enum Removal: Sendable { case removed, gone, locked, replaced }

    private mutating func delete(
        _ due: [Identifier: CondemnedRecord.Pack], _ survey: RepositorySurvey
    ) async throws -> Set<Identifier> {
        var gone = Set<Identifier>()
        let total = UInt64(due.count)
        let store = repository.store
        var removals: [(CondemnedRecord.Pack, Removal)] = []
        let progress = progress
        try await withThrowingTaskGroup(of: (CondemnedRecord.Pack, Removal).self) { group in
            var pending = due.values.makeIterator()
            func startNext() {
                guard let pack = pending.next() else { return }
                group.addTask {
                    do {
                        try await store.delete(ObjectNames.pack(pack.id, pack.kind), ifTag: pack.tag)
                        return (pack, .removed)
                    } catch let error as ObjectStorageError {
                        switch error.code {
                        case .notFound: return (pack, .gone)
                        case .preconditionFailed: return (pack, .replaced)
                        case .locked: return (pack, .locked)
                        default: throw error
                        }
                    }
                }
            }
            for _ in 0..<max(1, repository.options.connections) { startNext() }
            while let removal = try await group.next() {
                removals.append(removal)
                progress(MaintenanceProgress(.deleting, done: UInt64(removals.count), total: total))
                startNext()
            }
        }
        for (pack, removal) in removals {
            switch removal {
            case .removed:
                gone.insert(pack.id)
                report.packsDeleted += 1
                report.freedBytes += survey.packs[pack.id]?.size ?? 0
            case .gone: gone.insert(pack.id)
            case .locked: report.packsRetained += 1
            case .replaced:
                find(
                    ObjectNames.pack(pack.id, pack.kind),
                    "somebody put another object in its place at this moment: it is left alone")
            }
        }
        return gone
    }
}

extension Repository {
    /// Stores a record; it counts from then on.
    func store(_ record: CondemnedRecord) async throws {
        let id = try Identifier.random()
        let condition: PutCondition = store.capabilities.createIfAbsent ? .ifAbsent : .none
        try await store.put(
            ObjectNames.condemnedRecord(id), bytes: try record.encoded(id: id, keyring: keyring),
            options: PutOptions(condition: condition))
    }
}
