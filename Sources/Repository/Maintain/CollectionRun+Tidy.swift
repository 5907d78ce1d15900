internal import Basics
internal import ObjectStorage
internal import RepositoryFormat

extension CollectionRun {
    /// Seconds after which a journal is of no use to anybody, and a damaged condemned record is given up.
    private static let journalSeconds = 7 * 86_400.0
    /// Records of forgotten snapshots are joined when there are more.
    private static let forgottenRecords = 64

    /// Lists packs that no segment lists and that snapshots need: before anything is removed, for a copy that is to go may
    /// be the only one that is listed.
    mutating func adopt(_ marked: Marked) async throws {
        guard let recovered = marked.survey.recovered, !options.isDryRun else { return }
        let condemned = marked.survey.condemned
        let isNeeded = recovered.packs.map { !condemned.contains($0.id) && (marked.usage[$0.id]?.live ?? 0) > 0 }
        let entries = recovered.entries.filter { Int($0.pack) < isNeeded.count && isNeeded[Int($0.pack)] }
        report.segmentsWritten += try await repository.putSegments(recovered.packs, entries)
    }

    /// Rewrites the index without what is gone, then removes condemned records that no segment needs any more.
    mutating func tidyIndex(_ marked: Marked, gone: Set<Identifier>) async throws {
        let survey = marked.survey
        progress(MaintenanceProgress(.tidying))
        try holder?.check()
        var rewriter = SegmentRewriter(repository: repository, survey: survey, gone: gone)
        let stale = try await rewriter.rewrite()
        report.segmentsWritten += rewriter.written
        report.segmentsRemoved += rewriter.removed
        for record in survey.settled where isExpired(record, survey.date) {
            let isDone = record.record.packs.allSatisfy { pack in
                let isReplaced = survey.packs[pack.id].map { $0.tag != pack.tag } ?? false
                return isReplaced
                    || ((gone.contains(pack.id) || survey.packs[pack.id] == nil) && !stale.contains(pack.id))
            }
            guard isDone else { continue }
            try await removeObject(ObjectNames.condemnedRecord(record.id))
        }
    }

    /// Removes an object of bookkeeping; one that is under retention stays for a later run.
    @discardableResult
    private func removeObject(_ name: String, ifTag tag: String? = nil) async throws -> Bool {
        do {
            try await repository.store.delete(name, ifTag: tag)
            return true
        } catch {
            guard [.locked, .notFound, .preconditionFailed].contains(error.code) else { throw error }
            return false
        }
    }

    /// Removes what runs that died left behind, and joins small records.
    mutating func tidyLeftovers(date: Timestamp) async throws {
        try holder?.check()
        let store = repository.store
        for object in try await store.listAll(prefix: ObjectNames.sessions)
        where object.modified.advanced(bySeconds: max(graceSeconds, 86_400)) <= date {
            // Only if its session has not touched it in this moment.
            if try await removeObject(object.key, ifTag: object.tag) { report.leftoversRemoved += 1 }
        }
        for object in try await store.listAll(prefix: ObjectNames.journals)
        where object.modified.advanced(bySeconds: Self.journalSeconds) <= date {
            if try await removeObject(object.key, ifTag: object.tag) { report.leftoversRemoved += 1 }
        }
        try await tidyDamagedRecords(date)
        try await joinForgotten()
    }

    /// A condemned record that cannot be read condemns nothing: its packs are looked at anew. It goes after a week.
    private mutating func tidyDamagedRecords(_ date: Timestamp) async throws {
        let keyring = repository.keyring
        for object in try await repository.store.listAll(prefix: ObjectNames.condemned) {
            do {
                let bytes = try await repository.store.get(object.key, maximumBytes: 256 << 20)
                guard let id = ObjectNames.identifier(of: object.key, under: ObjectNames.condemned) else { continue }
                _ = try CondemnedRecord(decoding: bytes, id: id, keyring: keyring)
            } catch let error as FormatError {
                guard error.code == .damaged else { throw error }
                let isOld = object.modified.advanced(bySeconds: max(graceSeconds, Self.journalSeconds)) <= date
                find(
                    object.key,
                    "\(error.message): the packs it condemned are looked at anew\(isOld ? "; it was removed" : "")")
                if isOld { try await removeObject(object.key, ifTag: object.tag) }
            } catch let error as ObjectStorageError {
                guard error.code == .notFound else { throw error }
            }
        }
    }

    /// Many records of forgotten snapshots become one, which is stored before they are removed.
    private mutating func joinForgotten() async throws {
        let (records, _) = try await repository.loadForgotten()
        guard records.count > Self.forgottenRecords else { return }
        var snapshots: [Identifier: ForgottenRecord.Snapshot] = [:]
        for snapshot in records.values.flatMap(\.snapshots) { snapshots[snapshot.id] = snapshot }
        let joined = ForgottenRecord(snapshots: snapshots.values.sorted { $0.id < $1.id })
        try await repository.putForgotten(joined)
        for id in records.keys.sorted() { try await removeObject(ObjectNames.forgottenRecord(id)) }
    }
}
