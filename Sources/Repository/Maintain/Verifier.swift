internal import Basics
internal import ObjectStorage
internal import RepositoryFormat

/// Checks a repository without changing it: damage is answered, never thrown.
package final class Verifier: Sendable {
    private let repository: Repository
    private let progress: MaintenanceProgress.Handler

    /// A verifier of `repository`. `progress` is called from several threads.
    package init(repository: Repository, progress: @escaping MaintenanceProgress.Handler = { _ in }) {
        self.repository = repository
        self.progress = progress
    }

    /// Checks as deep as `options` say. Others may write and collect meanwhile.
    ///
    /// Throws `.notPermitted` for a writer, who cannot read trees; `.noSuchName` when the one snapshot asked for does not
    /// exist; `.newerVersion`, `.storage`, `.cancelled`.
    package func verify(_ options: VerifyOptions) async throws(RepositoryError) -> VerifyReport {
        do {
            try repository.require(.read, to: "verify, for that is to read what is stored")
            var run = VerifyRun(repository, options, progress)
            return try await run.execute()
        } catch {
            throw RepositoryError(error, doing: "cannot verify \(repository.store.location)")
        }
    }
}

/// One check.
struct VerifyRun {
    let repository: Repository
    let options: VerifyOptions
    let progress: MaintenanceProgress.Handler
    let started: Timestamp
    var report: VerifyReport
    /// Chunks that cannot be read from anywhere, and the object that is to blame.
    var bad: [TreeMarker.Key: String] = [:]
    /// Chunks that cannot be read from these packs.
    var badCopies: [TreeMarker.Key: Set<Identifier>] = [:]
    /// Packs that are known to be damaged only by bases in them that could not be read.
    var basesLostIn: Set<Identifier> = []
    /// Packs that are shorter than the index says.
    var shortened: Set<Identifier> = []
    /// Rows of the index at whose places no such chunk was found.
    var misplaced: Set<Row> = []

    /// A row of a segment of the survey's catalog.
    struct Row: Hashable, Sendable {
        var segment: Int
        var row: Int
    }

    init(_ repository: Repository, _ options: VerifyOptions, _ progress: @escaping MaintenanceProgress.Handler) {
        self.repository = repository
        self.options = options
        self.progress = progress
        started = repository.options.clock.now()
        report = VerifyReport(depth: options.depth)
    }

    mutating func execute() async throws -> VerifyReport {
        try await repository.refuseNewerKeys()
        var survey = try await repository.survey(everything: true, progress)
        if let missing = lostPacks(survey), !missing.isEmpty {
            // Packs may have been collected while the survey was taken: only what is missing twice is missing.
            survey = try await repository.survey(everything: true, progress)
        }
        let chosen = try choose(survey)
        report.snapshots = UInt64(chosen.count)
        report.packs = UInt64(survey.packs.count)
        report.packBytes = survey.packs.values.reduce(0) { $0 + $1.size }
        try await checkHead()
        checkPacks(survey)
        try await checkRecords(survey)
        if options.snapshot == nil { checkOthers(survey) }
        try await checkChains(survey)
        if options.depth >= .index {
            for (_, damage) in try await repository.damagedBehindCache(survey) {
                add(
                    VerifyProblem(
                        object: damage.object, kind: .segment,
                        message: "\(damage.message): the local cache still has it, rebuild the index"))
            }
            let marker = try await walk(survey, chosen)
            checkLostSegments(survey, marker)
            if options.depth == .full { try await readPacks(survey, marker) }
        }
        try await traceDamage(survey, chosen)
        report.problems.sort { ($0.object, $0.message) < ($1.object, $1.message) }
        return report
    }

    mutating func add(_ problem: VerifyProblem) { report.problems.append(problem) }

    /// The snapshots to look at.
    private func choose(_ survey: RepositorySurvey) throws -> [ListedSnapshot] {
        guard let wanted = options.snapshot else { return survey.snapshots.snapshots }
        let found = survey.snapshots.snapshots.filter { $0.id == wanted }
        let isDamaged = survey.snapshots.damage.contains { $0.object == ObjectNames.snapshot(wanted) }
        guard !found.isEmpty || isDamaged else {
            throw RepositoryError(.noSuchName, "there is no snapshot \(wanted): 'becalm snapshots' lists them")
        }
        return found
    }

    /// Packs of the index that are not there and were not given up; nil when there are none to speak of.
    private func lostPacks(_ survey: RepositorySurvey) -> [Identifier]? {
        let condemned = survey.condemned
        return survey.indexed.keys.filter { survey.packs[$0] == nil && !condemned.contains($0) }
    }

    // MARK: Walking

    /// Walks the trees; what is missing or unreadable is noted as bad.
    private mutating func walk(_ survey: RepositorySurvey, _ chosen: [ListedSnapshot]) async throws -> TreeMarker {
        var roots: [ChunkID] = []
        for snapshot in chosen {
            do {
                roots += try snapshot.manifest?.rootPages() ?? []
            } catch {
                add(
                    VerifyProblem(
                        object: ObjectNames.snapshot(snapshot.id), kind: .snapshot,
                        message: "\(error.message): restore the object from a copy, or forget the snapshot"))
            }
        }
        let reader = ChunkReader(repository: repository, index: survey.index(condemned: survey.condemned))
        let marker = TreeMarker(catalog: survey.catalog, reader: reader)
        let progress = progress
        try await Interruption.offload(name: "becalm-mark") { [roots] interruption in
            try marker.mark(roots: roots, interruption, progress)
        }
        let outcome = marker.outcome
        report.treeChunks = outcome.trees
        report.dataChunks = outcome.data
        for key in outcome.missing { bad[key] = blame(key, survey) ?? ObjectNames.segments }
        for key in outcome.mismatched where bad[key] == nil { bad[key] = holder(of: key, survey) }
        for (id, error) in outcome.unreadable {
            let key = TreeMarker.Key(id: id, kind: .tree)
            let object = holder(of: key, survey)
            bad[key] = object
            add(VerifyProblem(object: object, kind: .pack, message: error.message))
        }
        if !outcome.mismatched.isEmpty {
            add(
                VerifyProblem(
                    object: ObjectNames.segments, kind: .segment,
                    message:
                        "the index gives \(counted(outcome.mismatched.count, "chunk")) another length than the trees do"
                ))
        }
        let unknown = outcome.missing.filter { bad[$0] == ObjectNames.segments }
        if !unknown.isEmpty {
            add(
                VerifyProblem(
                    object: ObjectNames.segments, kind: .segment,
                    message:
                        "snapshots refer to \(counted(unknown.count, "chunk")) that no pack holds: rebuild the index; if they stay lost, back up the files again"
                ))
        }
        return marker
    }

    /// A pack that no segment lists is left over or at work, unless a snapshot refers to what is in it: then the index has
    /// lost a segment, for segments are stored before snapshots.
    private mutating func checkLostSegments(_ survey: RepositorySurvey, _ marker: TreeMarker) {
        guard let recovered = survey.recovered else { return }
        let rows = marker.marks.marked(in: survey.catalog.segments.count - 1)
        // A copy that a collector was about to list may be there beside one that is listed still.
        let needed = Set(
            rows.map { recovered.entry($0) }.filter { !survey.catalog.isListed($0, like: recovered) }.map(\.pack))
        let lost = recovered.packs.enumerated().filter { needed.contains(UInt32($0.offset)) }.map(\.element)
        guard !lost.isEmpty else { return }
        let names = Set(lost.map { ObjectNames.pack($0.id, $0.kind) })
        report.problems.removeAll { names.contains($0.object) && $0.isHarmless }
        add(
            VerifyProblem(
                object: ObjectNames.segments, kind: .segment,
                message:
                    "an index segment is lost: none names \(counted(lost.count, "pack")) that snapshots need (\(names.min() ?? "")): run 'becalm verify --rebuild-index'"
            ))
    }

    /// The name of the pack where the chunk would be read, or of the index when there is none.
    private func holder(of key: TreeMarker.Key, _ survey: RepositorySurvey) -> String {
        guard let place = survey.catalog.place(of: key.id, kind: key.kind) else { return ObjectNames.segments }
        return ObjectNames.pack(survey.catalog.pack(of: place).id, key.kind)
    }

    /// The object to blame when the chunk cannot be read, judged by what is known without reading it; else nil.
    ///
    /// A difference cannot be read without its base. `depth` counts those on the way: a base is no difference itself.
    func blame(_ key: TreeMarker.Key, _ survey: RepositorySurvey, depth: Int = 0) -> String? {
        if let known = bad[key] { return known }
        let catalog = survey.catalog
        var culprit: String?
        // One copy that is whole is enough.
        for place in catalog.places(of: key.id, kind: key.kind) {
            let pack = catalog.pack(of: place)
            let isBad =
                place.standing == .gone || badCopies[key]?.contains(pack.id) == true
                || misplaced.contains(Row(segment: place.segment, row: place.row)) || isBeyondEnd(place, survey)
            if !isBad, place.hasBase {
                guard let base = place.base, depth == 0 else { continue }
                guard let object = blame(.init(id: base, kind: key.kind), survey, depth: 1) else { return nil }
                culprit = culprit ?? object
                continue
            }
            guard isBad else { return nil }
            culprit = culprit ?? ObjectNames.pack(pack.id, pack.kind)
        }
        return culprit ?? ObjectNames.segments
    }

    /// Whether the chunk lies where its pack has been cut off.
    private func isBeyondEnd(_ place: ChunkCatalog.Place, _ survey: RepositorySurvey) -> Bool {
        let pack = survey.catalog.pack(of: place)
        guard shortened.contains(pack.id), let listed = survey.packs[pack.id] else { return false }
        let entry = survey.catalog.segments[place.segment].entry(place.row)
        return UInt64(entry.offset) + UInt64(BlobHeader.size) + UInt64(entry.sealedLength) > listed.size
    }
}
