internal import Basics
internal import Logging
internal import ObjectStorage
internal import RepositoryFormat
internal import Synchronization

/// What a repair did.
package struct RepairReport: Hashable, Sendable {
    /// Packs that no segment listed and that one lists now.
    package var packsIndexed: UInt64 = 0
    /// Of these, packs whose own list was damaged, so that their blobs were looked for one by one.
    package var packsSalvaged: UInt64 = 0
    package var chunksIndexed: UInt64 = 0
    package var segmentsWritten: UInt64 = 0
    /// Damaged segments that were removed.
    package var segmentsRemoved: UInt64 = 0
    /// Packs of which nothing can be read, by object name, with the reason.
    package var lost: [RepositoryIndex.DamagedObject] = []

    package init() {}
}

extension Repository {
    /// Segments that were read from the local cache, or before, and whose stored objects are damaged.
    func damagedBehindCache(
        _ survey: RepositorySurvey
    ) async throws -> [(segment: IndexSegment, damage: RepositoryIndex.DamagedObject)] {
        var damaged: [(IndexSegment, RepositoryIndex.DamagedObject)] = []
        for segment in survey.segments {
            let name = ObjectNames.segment(segment.id)
            do {
                let stored = try await store.get(name, maximumBytes: IndexSegmentLayout.maximumBytes)
                _ = try IndexSegmentLayout.open(stored, id: segment.id, keyring: keyring)
            } catch let error as ObjectStorageError {
                // Merged away meanwhile.
                if error.code == .notFound { continue }
                guard error.code == .tooLarge else { throw error }
                damaged.append((segment, .init(object: name, message: error.message)))
            } catch let error as FormatError {
                guard error.code == .damaged else { throw error }
                damaged.append((segment, .init(object: name, message: error.message)))
            }
        }
        return damaged
    }
}

/// Mends what can be mended without the original data.
package final class RepositoryRepair: Sendable {
    private let repository: Repository
    private let progress: MaintenanceProgress.Handler

    /// A repair of `repository`. `progress` is called from several threads.
    package init(repository: Repository, progress: @escaping MaintenanceProgress.Handler = { _ in }) {
        self.repository = repository
        self.progress = progress
    }

    /// Lists packs that no readable segment lists in new segments, then removes the segments that cannot be read.
    ///
    /// A pack tells what it holds in its footer; where that is damaged, by the headers of its blobs. Others may read and
    /// write meanwhile: a running backup's packs may get listed before their time, which harms nothing. Throws
    /// `.notPermitted` without the role `full`, `.busy` when the keys were changed meanwhile, `.storage`, `.newerVersion`,
    /// `.cancelled`.
    package func rebuildIndex() async throws(RepositoryError) -> RepairReport {
        do {
            try repository.require(.manage, to: "repair")
            // Under keys that we lack everything would look damaged.
            try await repository.refuseNewerKeys()
            let survey = try await repository.survey(progress)
            var report = RepairReport()
            let salvaged = try await salvage(survey, &report)
            // A segment may be whole in the local cache and damaged in the store.
            let cached = try await repository.damagedBehindCache(survey)
            try await publish(survey, salvaged, cached.map(\.segment), &report)
            for object in survey.damagedSegments.map(\.object) + cached.map(\.damage.object) {
                do {
                    try await repository.store.delete(object, ifTag: survey.segmentObjects[object]?.tag)
                    report.segmentsRemoved += 1
                } catch {
                    // Under retention it stays and is passed over by every reader.
                    guard [.locked, .notFound, .preconditionFailed].contains(error.code) else { throw error }
                }
            }
            return report
        } catch {
            throw RepositoryError(error, doing: "cannot rebuild the index of \(repository.store.location)")
        }
    }

    /// Gives up packs that `report` found damaged: writers then take what they hold for absent, so that the next backup
    /// stores anew what its sources still have. Readers go on using what is whole in them, and a collector removes them
    /// when nothing depends on them any more.
    ///
    /// Answers the packs' object names. Throws `.notPermitted` without the role `full`, `.busy` when the keys were changed
    /// meanwhile, `.storage`, `.cancelled`.
    package func giveUpDamaged(_ report: VerifyReport) async throws(RepositoryError) -> [String] {
        do {
            try repository.require(.manage, to: "repair")
            try await repository.refuseNewerKeys()
            var packs: [CondemnedRecord.Pack] = []
            var names: [String] = []
            let damaged = Set(report.problems.filter { $0.kind == .pack && !$0.isHarmless }.map(\.object))
            for name in damaged.sorted() {
                guard let (id, kind) = ObjectNames.parsePack(name) else { continue }
                do {
                    let present = try await repository.store.head(name)
                    packs.append(.init(id: id, kind: kind, tag: present.tag))
                    names.append(name)
                } catch {
                    // What is not there is absent to everybody as it is.
                    guard error.code == .notFound else { throw error }
                }
            }
            guard !packs.isEmpty else { return [] }
            try await repository.store(CondemnedRecord(packs: packs))
            return names
        } catch {
            throw RepositoryError(error, doing: "cannot give up damaged packs of \(repository.store.location)")
        }
    }

    private struct Salvaged: Sendable {
        var packs: [IndexedPack] = []
        var entries: [IndexEntry] = []
        var lost: [RepositoryIndex.DamagedObject] = []
    }

    /// Looks for blobs in uncovered packs whose footers cannot be read, one pack at a time.
    private func salvage(_ survey: RepositorySurvey, _ report: inout RepairReport) async throws -> Salvaged {
        guard !survey.unreadable.isEmpty else { return Salvaged() }
        let repository = repository
        let progress = progress
        // A pack whose header is damaged too may belong to a session that other packs name.
        let sessions = Array(Set(survey.indexed.values.map(\.session)))
        let salvaged = try await Interruption.offload(name: "becalm-salvage") { interruption in
            let opener = BlobOpener(keys: SessionKeys(keyring: repository.keyring))
            var salvaged = Salvaged()
            for (number, id) in survey.unreadable.keys.sorted().enumerated() {
                try interruption.check()
                progress(
                    MaintenanceProgress(.reading, done: UInt64(number), total: UInt64(survey.unreadable.count)))
                guard let pack = survey.packs[id] else { continue }
                let found = try repository.salvage(id, pack.kind, size: pack.size, sessions: sessions, opener)
                guard let (indexed, blobs) = found else {
                    salvaged.lost.append(
                        .init(
                            object: ObjectNames.pack(id, pack.kind),
                            message: survey.unreadable[id]?.message ?? "nothing in it can be read"))
                    continue
                }
                salvaged.entries += blobs.flatMap { $0.entries(pack: UInt32(salvaged.packs.count)) }
                salvaged.packs.append(indexed)
            }
            return salvaged
        }
        report.packsSalvaged = UInt64(salvaged.packs.count)
        report.lost = salvaged.lost
        for lost in salvaged.lost { repository.options.logger.warning("\(lost.object): \(lost.message)") }
        return salvaged
    }

    /// Publishes what was read from footers and what was salvaged, in segments of the usual size.
    private func publish(
        _ survey: RepositorySurvey, _ salvaged: Salvaged, _ cached: [IndexSegment], _ report: inout RepairReport
    ) async throws {
        var packs = salvaged.packs
        var entries = salvaged.entries
        for segment in cached + (survey.recovered.map { [$0] } ?? []) {
            let base = UInt32(packs.count)
            packs += segment.packs
            entries += segment.entries.lazy.filter { Int($0.pack) < segment.packs.count }.map { entry in
                var entry = entry
                entry.pack += base
                return entry
            }
        }
        report.segmentsWritten += try await repository.putSegments(packs, entries)
        report.packsIndexed += UInt64(Set(entries.map(\.pack)).count)
        report.chunksIndexed += UInt64(entries.count)
    }
}
