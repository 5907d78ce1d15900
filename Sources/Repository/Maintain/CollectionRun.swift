internal import Basics
internal import Logging
internal import ObjectStorage
internal import RepositoryFormat

/// One run of the collector; see `Collector` for the rules.
struct CollectionRun {
    let repository: Repository
    let options: PruneOptions
    /// Nil in a dry run.
    let holder: CollectorClaimHolder?
    let progress: MaintenanceProgress.Handler
    var report = PruneReport()

    init(
        _ repository: Repository, _ options: PruneOptions, holder: CollectorClaimHolder?,
        _ progress: @escaping MaintenanceProgress.Handler
    ) {
        self.repository = repository
        self.options = options
        self.holder = holder
        self.progress = progress
        report.isDryRun = options.isDryRun
    }

    /// Seconds of grace in this run.
    var graceSeconds: Double { Double(options.graceSeconds ?? repository.config.graceSeconds) }

    /// A survey and what the walk over its snapshots found.
    struct Marked: Sendable {
        let survey: RepositorySurvey
        let marks: ChunkMarks
        let outcome: TreeMarker.Outcome
        let usage: [Identifier: ChunkMarks.Usage]
    }

    /// Throws what `Collector.prune` throws.
    mutating func execute() async throws {
        let marked = try await mark()
        describe(marked)
        try await warnOfWriters(marked.survey)
        try await rescueAndRemove(marked)
        let isCondemned = try await condemn(marked)
        if graceSeconds == 0, isCondemned, !options.isDryRun {
            // What was condemned a moment ago may go once a walk that began afterwards agrees.
            try await rescueAndRemove(try await mark())
        }
        guard !options.isDryRun else { return }
        try await tidyLeftovers(date: marked.survey.date)
        if report.packsDeleted > 0 { try await lookForLostSnapshots(since: marked.survey) }
    }

    private mutating func rescueAndRemove(_ marked: Marked) async throws {
        try holder?.check()
        let kept = try await rescue(marked)
        try holder?.check()
        try await adopt(marked)
        let gone = try await remove(marked.survey, keeping: kept)
        guard !options.isDryRun else { return }
        try await tidyIndex(marked, gone: gone)
    }

    private mutating func describe(_ marked: Marked) {
        report.snapshots = UInt64(marked.survey.snapshots.snapshots.count)
        report.packsTotal = UInt64(marked.survey.packs.count)
        report.bytesTotal = marked.survey.packs.values.reduce(0) { $0 + $1.size }
        let condemned = marked.survey.condemned
        for (id, pack) in marked.survey.packs where !condemned.contains(id) {
            guard let usage = marked.usage[id] else { continue }
            report.unusedBytes += Self.unused(pack, usage)
        }
        for damage in marked.survey.damagedSegments {
            find(damage.object, "\(damage.message): 'becalm verify' tells what it means, a repair rebuilds the index")
        }
        for (id, error) in marked.survey.unreadable.sorted(by: { $0.key < $1.key }) {
            let kind = marked.survey.packs[id]?.kind ?? .data
            find(ObjectNames.pack(id, kind), "it is left alone, for nobody knows what it holds: \(error.message)")
        }
        if !marked.outcome.missing.isEmpty {
            find(
                ObjectNames.segments,
                "snapshots refer to \(counted(marked.outcome.missing.count, "chunk")) that no pack holds: 'becalm verify' names the files"
            )
        }
    }

    /// Bytes of a pack that nothing refers to, by the chunks' lengths.
    static func unused(_ pack: RepositorySurvey.Pack, _ usage: ChunkMarks.Usage) -> UInt64 {
        min(pack.size, UInt64(Double(pack.size) * (1 - usage.fraction)))
    }

    mutating func find(_ object: String, _ message: String) {
        let finding = PruneReport.Finding(object: object, message: message)
        guard !report.findings.contains(finding) else { return }
        repository.options.logger.warning("\(object): \(message)")
        report.findings.append(finding)
    }

    /// With no grace, writers at work lose what they have stored: say so.
    private mutating func warnOfWriters(_ survey: RepositorySurvey) async throws {
        guard graceSeconds == 0 else { return }
        for object in try await repository.store.listAll(prefix: ObjectNames.sessions)
        where survey.date - object.modified < 60 {
            find(
                object.key,
                "somebody writes to the repository at this moment: without a grace period that run begins anew")
        }
    }

    // MARK: Walking

    /// Surveys and walks. What is missing at first may have been moved by another collector: three looks decide.
    func mark() async throws -> Marked {
        var attempt = 1
        while true {
            let survey = try await repository.survey(progress)
            if let damage = survey.snapshots.damage.first {
                throw RepositoryError(
                    .damaged,
                    "\(damage.object) cannot be read, so nobody knows what it refers to: remove it with 'becalm forget', or restore the object from a copy, then prune again (\(damage.message))"
                )
            }
            let marked = try await walk(survey)
            let outcome = marked.outcome
            if outcome.missing.isEmpty && outcome.unreadable.isEmpty { return marked }
            guard attempt == 3 else {
                attempt += 1
                continue
            }
            if outcome.unreadable.isEmpty && outcome.missing.allSatisfy({ $0.kind == .data }) { return marked }
            throw try await unreadableTree(survey, outcome)
        }
    }

    private func walk(_ survey: RepositorySurvey, only: [ListedSnapshot]? = nil) async throws -> Marked {
        var roots: [ChunkID] = []
        for snapshot in only ?? survey.snapshots.snapshots { roots += try Self.roots(of: snapshot) }
        let reader = ChunkReader(repository: repository, index: survey.index(condemned: survey.condemned))
        let marker = TreeMarker(catalog: survey.catalog, reader: reader)
        let progress = progress
        return try await Interruption.offload(name: "becalm-mark") { [roots] interruption in
            try marker.mark(roots: roots, interruption, progress)
            return Marked(
                survey: survey, marks: marker.marks, outcome: marker.outcome, usage: marker.marks.usage())
        }
    }

    private static func roots(of snapshot: ListedSnapshot) throws -> [ChunkID] {
        try snapshot.manifest(to: "see what snapshots refer to").rootPages()
    }

    /// The error that names the snapshot whose tree cannot be read.
    private func unreadableTree(_ survey: RepositorySurvey, _ outcome: TreeMarker.Outcome) async throws
        -> RepositoryError
    {
        var hit: [Identifier] = []
        for snapshot in survey.snapshots.snapshots {
            let own = try await walk(survey, only: [snapshot]).outcome
            guard own.unreadable.isEmpty && own.missing.allSatisfy({ $0.kind == .data }) else {
                hit.append(snapshot.id)
                continue
            }
        }
        let reason =
            outcome.unreadable.min { $0.key < $1.key }?.value.message
            ?? "tree chunk \(outcome.missing.filter { $0.kind == .tree }.map(\.id).min()?.description ?? "") is in no pack"
        let names = hit.prefix(3).map(\.description).joined(separator: ", ") + (hit.count > 3 ? ", …" : "")
        return RepositoryError(
            .damaged,
            "directories of \(counted(hit.count, "snapshot")) (\(names)) cannot be read, so nobody knows what they refer to: remove them with 'becalm forget', or repair the repository, then prune again (\(reason))"
        )
    }

    // MARK: After removing

    /// Looks at snapshots that were committed after the walk: one that relies on what is gone now is reported at once.
    private mutating func lookForLostSnapshots(since survey: RepositorySurvey) async throws {
        let known = Set(survey.snapshots.snapshots.map(\.id))
        let now = try await repository.listSnapshots()
        guard now.snapshots.contains(where: { !known.contains($0.id) }) else { return }
        let fresh = try await repository.survey(progress)
        for snapshot in fresh.snapshots.snapshots where !known.contains(snapshot.id) {
            let outcome = try await walk(fresh, only: [snapshot]).outcome
            guard !outcome.missing.isEmpty || !outcome.unreadable.isEmpty else { continue }
            find(
                ObjectNames.snapshot(snapshot.id),
                "it was committed by a writer that had been stopped for longer than the grace period, and lacks \(counted(outcome.missing.count + outcome.unreadable.count, "chunk")): unless its writer withdraws it, remove it with 'becalm forget \(snapshot.id)'"
            )
        }
    }
}
