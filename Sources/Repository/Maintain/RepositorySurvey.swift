internal import Basics
internal import Logging
internal import ObjectStorage
internal import RepositoryFormat
internal import Synchronization

/// All that a collector or a check needs to know of a repository at one moment, read in the one order that is safe while
/// others write and collect:
///
/// 1. the condemned records (`settled`): only packs that were condemned *before* the snapshots were listed may be removed
///    on the strength of this survey;
/// 2. the snapshots: whoever commits later sees those records, or finds the packs gone;
/// 3. the index segments: a snapshot's segments are stored before it, so those of all listed snapshots are seen, or,
///    when somebody merges segments at this moment, their packs are found uncovered in step 6;
/// 4. the condemned records again (`condemned`): what else was given up meanwhile counts as such;
/// 5. the packs: a pack that was removed together with its record after step 1 is not taken for a good one, for it is
///    missing here;
/// 6. the footers of packs that no segment lists.
struct RepositorySurvey: Sendable {
    /// A pack as the store lists it.
    struct Pack: Hashable, Sendable {
        var kind: ChunkKind
        var size: UInt64
        var tag: String
        var modified: Timestamp
    }

    /// A condemned record as the store has it.
    struct Condemned: Sendable {
        var id: Identifier
        var modified: Timestamp
        var record: CondemnedRecord
    }

    /// The store's time when the survey began.
    let date: Timestamp
    /// Condemned records that were there before the snapshots were listed.
    let settled: [Condemned]
    /// Every condemned record.
    let records: [Condemned]
    /// Condemned records that cannot be read.
    let damagedRecords: [RepositoryIndex.DamagedObject]
    let snapshots: SnapshotListing
    /// Stored segments.
    let segments: [IndexSegment]
    /// Segments that cannot be read.
    let damagedSegments: [RepositoryIndex.DamagedObject]
    /// Stored index objects by name.
    let segmentObjects: [String: ObjectAttributes]
    /// What was read from the footers of uncovered packs.
    let recovered: IndexSegment?
    /// Uncovered packs whose footer cannot be read: what they hold is not known.
    let unreadable: [Identifier: RepositoryError]
    let packs: [Identifier: Pack]
    /// Objects where packs lie that have no pack's name; with `everything`, all objects that are no packs.
    let others: [ObjectAttributes]
    let catalog: ChunkCatalog

    /// Packs that are given up.
    var condemned: Set<Identifier> { Set(records.flatMap { $0.record.packs.map(\.id) }) }

    /// Every pack that the index lists, once.
    var indexed: [Identifier: IndexedPack] {
        RepositoryIndex(segments: catalog.segments, condemned: []).allPacks()
    }

    /// An index for reading and writing that holds what was seen, and treats `condemned` and missing packs as such.
    func index(condemned: Set<Identifier>) -> RepositoryIndex {
        let index = RepositoryIndex(segments: catalog.segments, condemned: condemned)
        index.markMissing(Set(indexed.keys.filter { packs[$0] == nil }))
        return index
    }
}

extension Repository {
    /// Takes a survey. `everything` also lists the objects that are neither packs nor known otherwise.
    ///
    /// Throws `.storage`, `.newerVersion`; damage is told in the survey.
    func survey(
        everything: Bool = false, _ progress: MaintenanceProgress.Handler
    ) async throws(RepositoryError) -> RepositorySurvey {
        do {
            progress(MaintenanceProgress(.surveying, done: 0, total: 6))
            let settled = try await surveyCondemned()
            let date = try await store.serverTime()
            progress(MaintenanceProgress(.surveying, done: 1, total: 6))
            let snapshots = try await listSnapshots()
            progress(MaintenanceProgress(.surveying, done: 2, total: 6))
            let (segments, damagedSegments, objects) = try await surveySegments()
            progress(MaintenanceProgress(.surveying, done: 3, total: 6))
            let present = try await surveyCondemned()
            let (packs, others) = try await surveyPacks(everything: everything)
            progress(MaintenanceProgress(.surveying, done: 4, total: 6))
            var covered = Set<Identifier>()
            // A segment without entries is a note of how long packs are kept; it says nothing of what they hold.
            for segment in segments where segment.count > 0 { covered.formUnion(segment.packs.map(\.id)) }
            let (recovered, unreadable) = try await surveyFooters(of: packs.filter { !covered.contains($0.key) })
            progress(MaintenanceProgress(.surveying, done: 6, total: 6))
            let condemned = Set(present.records.flatMap { $0.record.packs.map(\.id) })
            return RepositorySurvey(
                date: date, settled: settled.records, records: present.records, damagedRecords: present.damage,
                snapshots: snapshots, segments: segments, damagedSegments: damagedSegments, segmentObjects: objects,
                recovered: recovered, unreadable: unreadable, packs: packs, others: others,
                catalog: ChunkCatalog(
                    segments: segments + (recovered.map { [$0] } ?? []), condemned: condemned,
                    isPresent: { packs[$0] != nil }))
        } catch {
            throw RepositoryError(error, doing: "cannot survey the repository")
        }
    }

    private func surveyCondemned() async throws -> (
        records: [RepositorySurvey.Condemned], damage: [RepositoryIndex.DamagedObject]
    ) {
        var records: [RepositorySurvey.Condemned] = []
        var damage: [RepositoryIndex.DamagedObject] = []
        for object in try await store.listAll(prefix: ObjectNames.condemned) {
            guard let id = ObjectNames.identifier(of: object.key, under: ObjectNames.condemned) else { continue }
            do {
                let bytes = try await store.get(object.key, maximumBytes: 256 << 20)
                let record = try CondemnedRecord(decoding: bytes, id: id, keyring: keyring)
                records.append(.init(id: id, modified: object.modified, record: record))
            } catch let error as ObjectStorageError {
                if error.code == .notFound { continue }
                guard error.code == .tooLarge else { throw error }
                damage.append(.init(object: object.key, message: error.message))
            } catch let error as FormatError {
                if error.code == .newerVersion { throw error }
                damage.append(.init(object: object.key, message: error.message))
            }
        }
        return (records, damage)
    }

    private func surveySegments() async throws -> (
        [IndexSegment], [RepositoryIndex.DamagedObject], [String: ObjectAttributes]
    ) {
        let objects = try await store.listAll(prefix: ObjectNames.segments)
        let cache = SegmentCache(
            root: options.cacheDirectory, repositoryID: config.repositoryID, logger: options.logger)
        var segments: [IndexSegment] = []
        var damage: [RepositoryIndex.DamagedObject] = []
        for object in objects {
            guard let id = ObjectNames.identifier(of: object.key, under: ObjectNames.segments) else { continue }
            do {
                if let segment = try await loadSegment(id, cache) { segments.append(segment) }
            } catch let error as FormatError {
                if error.code == .newerVersion { throw error }
                damage.append(.init(object: object.key, message: error.message))
            }
        }
        return (segments, damage, Dictionary(objects.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first }))
    }

    /// Lists the packs page by page, so that only what is kept of them takes memory.
    private func surveyPacks(
        everything: Bool
    ) async throws -> ([Identifier: RepositorySurvey.Pack], [ObjectAttributes]) {
        var packs: [Identifier: RepositorySurvey.Pack] = [:]
        var others: [ObjectAttributes] = []
        for prefix in everything ? [""] : ChunkKind.allCases.map(\.packPrefix) {
            var token: String?
            repeat {
                let page = try await store.list(prefix: prefix, token: token)
                for object in page.objects {
                    guard let name = ObjectNames.parsePack(object.key) else {
                        others.append(object)
                        continue
                    }
                    packs[name.id] = .init(
                        kind: name.kind, size: object.size, tag: object.tag, modified: object.modified)
                }
                token = page.next
            } while token != nil
        }
        return (packs, others)
    }

    /// Reads the footers of packs that no segment lists, a few at once.
    private func surveyFooters(
        of packs: [Identifier: RepositorySurvey.Pack]
    ) async throws -> (IndexSegment?, [Identifier: RepositoryError]) {
        var rows: [IndexedPack] = []
        var entries: [IndexEntry] = []
        var unreadable: [Identifier: RepositoryError] = [:]
        try await withThrowingTaskGroup(of: (Identifier, Footer).self) { group in
            var pending = packs.makeIterator()
            func startNext() {
                guard let (id, pack) = pending.next() else { return }
                group.addTask { (id, try await self.footer(of: id, pack)) }
            }
            for _ in 0..<max(1, options.connections) { startNext() }
            while let (id, footer) = try await group.next() {
                switch footer {
                case .read(let pack, let blobs):
                    entries += blobs.flatMap { $0.entries(pack: UInt32(rows.count)) }
                    rows.append(pack)
                case .unreadable(let error): unreadable[id] = error
                case .gone: break
                }
                startNext()
            }
        }
        guard !rows.isEmpty else { return (nil, unreadable) }
        return (try IndexSegment(recovered: rows, entries: entries, id: try Identifier.random()), unreadable)
    }

    private enum Footer: Sendable {
        case read(IndexedPack, [PackedBlob])
        case unreadable(RepositoryError)
        case gone
    }

    private func footer(of id: Identifier, _ pack: RepositorySurvey.Pack) async throws -> Footer {
        do {
            let (indexed, blobs) = try await readFooter(id, pack.kind, size: pack.size)
            // The header is not authenticated by itself; a session that does not open is no session.
            if keyring.role.can(.read) { _ = try indexed.session.openKey(keyring: keyring) }
            return .read(indexed, blobs)
        } catch let error as FormatError {
            if error.code == .newerVersion { throw error }
            return .unreadable(RepositoryError(error))
        } catch let error as ObjectStorageError {
            guard error.code == .notFound else { throw error }
            return .gone
        }
    }
}
