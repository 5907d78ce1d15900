internal import Basics
internal import ObjectStorage
internal import RepositoryFormat
internal import Synchronization

/// Reading every pack.
extension VerifyRun {
    private struct Job: Sendable {
        var id: Identifier
        var pack: RepositorySurvey.Pack
        var indexed: IndexedPack
    }

    private struct Tally: Sendable {
        var findings: [(Job, PackReader.Findings)] = []
        var sound: [Identifier] = []
        var packs: UInt64 = 0
        var bytes: UInt64 = 0
        var chunks: UInt64 = 0
        var failure: RepositoryError?
    }

    /// Messages about one pack that are shown; all chunks count.
    private static let messagesPerPack = 3

    /// Reads the packs that are to be read, those checked longest ago first, until the budget is spent.
    mutating func readPacks(_ survey: RepositorySurvey, _ marker: TreeMarker) async throws {
        var ledger = VerifyLedger(repository: repository)
        let jobs = chooseJobs(survey, marker, ledger)
        report.packsToRead = UInt64(jobs.count)
        let fingerprints = expectedFingerprints(survey)
        let tally = try await read(jobs, fingerprints, survey.index(condemned: survey.condemned))
        report.packsRead = tally.packs
        report.bytesRead = tally.bytes
        report.chunksRead = tally.chunks
        for (job, findings) in tally.findings { judge(job, findings, survey, fingerprints) }
        noteMisplaced(
            tally.findings.filter { !$0.1.isGone && $0.1.fingerprint != fingerprints[$0.0.id] }, survey)
        ledger.note(tally.sound, at: repository.options.clock.now(), present: { survey.packs[$0] != nil })
    }

    private func chooseJobs(_ survey: RepositorySurvey, _ marker: TreeMarker, _ ledger: VerifyLedger) -> [Job] {
        let condemned = survey.condemned
        let usage = marker.marks.usage()
        let seed = UInt64(bitPattern: started.nanoseconds)
        var jobs: [(key: (Int64, UInt64), job: Job)] = []
        for (id, indexed) in survey.indexed {
            guard let pack = survey.packs[id], pack.kind == indexed.kind else { continue }
            let isLive = (usage[id]?.live ?? 0) > 0
            // What is given up, or of no use to the one snapshot, is not read.
            if !isLive && (condemned.contains(id) || options.snapshot != nil) { continue }
            // Packs that were never read come in an order that differs from run to run.
            let position = id.bytes.reduce(seed) { ($0 ^ UInt64($1)) &* 0x9e37_79b9_7f4a_7c15 }
            jobs.append(((ledger.checked[id] ?? 0, position), Job(id: id, pack: pack, indexed: indexed)))
        }
        return jobs.sorted { $0.key < $1.key }.map(\.job)
    }

    /// What stored segments say of each pack.
    private func expectedFingerprints(_ survey: RepositorySurvey) -> [Identifier: PackFingerprint] {
        var fingerprints: [Identifier: PackFingerprint] = [:]
        let segments = survey.catalog.segments
        var rows = segments.map { [PackFingerprint](repeating: PackFingerprint(), count: $0.packs.count) }
        survey.catalog.forEachOwnedEntry { segment, _, entry in rows[segment][Int(entry.pack)].add(entry) }
        for (number, segment) in segments.enumerated() {
            for (row, pack) in segment.packs.enumerated() where rows[number][row].count > 0 {
                fingerprints[pack.id] = rows[number][row]
            }
        }
        return fingerprints
    }

    private func read(
        _ jobs: [Job], _ fingerprints: [Identifier: PackFingerprint], _ index: RepositoryIndex
    ) async throws -> Tally {
        let repository = repository
        let progress = progress
        let deadline = options.budgetSeconds.map { started.advanced(bySeconds: $0) }
        return try await Interruption.offload(name: "becalm-verify") { interruption in
            let tally = Mutex(Tally())
            let next = Atomic<Int>(0)
            let keys = SessionKeys(keyring: repository.keyring)
            let bases = BasePool(repository: repository, keys: keys, rehash: false, index: index)
            let threads = max(1, min(repository.plan.ranges, jobs.count))
            WorkerThreads(count: threads, name: "becalm-verify") { _ in
                let reader = PackReader(repository: repository, keys: keys, bases: bases)
                while tally.withLock({ $0.failure == nil }) {
                    if let deadline, repository.options.clock.now() >= deadline { return }
                    let position = next.wrappingAdd(1, ordering: .relaxed).oldValue
                    guard position < jobs.count else { return }
                    let job = jobs[position]
                    do {
                        try interruption.check()
                        let findings = try reader.check(job.id, job.pack, indexed: job.indexed)
                        let isSound =
                            findings.messages.isEmpty && findings.bad.isEmpty && findings.lostBases.isEmpty
                            && !findings.isGone
                            && findings.fingerprint == fingerprints[job.id]
                        tally.withLock { tally in
                            tally.packs += 1
                            tally.bytes += findings.bytes
                            tally.chunks += findings.chunks
                            if isSound {
                                tally.sound.append(job.id)
                            } else {
                                tally.findings.append((job, findings))
                            }
                        }
                    } catch {
                        tally.withLock {
                            $0.failure = $0.failure ?? RepositoryError(error, doing: "cannot read pack \(job.id)")
                        }
                    }
                    let now = tally.withLock { ($0.packs, $0.bytes) }
                    progress(MaintenanceProgress(.reading, done: now.0, total: UInt64(jobs.count), bytes: now.1))
                }
            }.join()
            if let failure = tally.withLock({ $0.failure }) { throw failure }
            return tally.withLock { $0 }
        }
    }

    /// Notes what is wrong with a pack, and which chunks cannot be read.
    private mutating func judge(
        _ job: Job, _ findings: PackReader.Findings, _ survey: RepositorySurvey,
        _ fingerprints: [Identifier: PackFingerprint]
    ) {
        let name = ObjectNames.pack(job.id, job.pack.kind)
        if findings.isGone {
            // Collected since the survey: whoever needed it would have kept it.
            return
        }
        for key in findings.bad { badCopies[key, default: []].insert(job.id) }
        for (id, failure) in findings.lostBases {
            // One that was moved by a collector since the survey is no loss.
            guard let pack = failure.pack, !failure.error.isMissingObject else { continue }
            badCopies[.init(id: id, kind: .data), default: []].insert(pack)
            let object = ObjectNames.pack(pack, .data)
            guard !report.problems.contains(where: { $0.object == object }) else { continue }
            basesLostIn.insert(pack)
            add(VerifyProblem(object: object, kind: .pack, message: failure.error.message))
        }
        // What a base in it that could not be read has told already, it tells better itself.
        if !findings.messages.isEmpty, basesLostIn.remove(job.id) != nil {
            report.problems.removeAll { $0.object == name }
        }
        if findings.fingerprint != fingerprints[job.id] {
            add(
                VerifyProblem(
                    object: name, kind: .pack,
                    message:
                        "\(name) holds \(findings.fingerprint.count) chunks by its own account, the index lists \(fingerprints[job.id]?.count ?? 0), or places them elsewhere"
                ))
        }
        guard !findings.messages.isEmpty else { return }
        let shown = findings.messages.prefix(Self.messagesPerPack).joined(separator: "; ")
        let more = findings.messages.count - Self.messagesPerPack
        add(
            VerifyProblem(
                object: name, kind: .pack,
                message: "\(name) is damaged: \(shown)\(more > 0 ? "; and \(more) more" : "")"))
    }

    /// An index entry as far as it says where a chunk lies.
    private struct EntryKey: Hashable {
        var high: UInt64
        var low: UInt64
        var offset: UInt32

        init(_ entry: IndexEntry) {
            high = entry.high
            low = entry.low
            offset = entry.offset
        }
    }

    /// Entries of the index that their pack does not bear out.
    private mutating func noteMisplaced(_ found: [(Job, PackReader.Findings)], _ survey: RepositorySurvey) {
        guard !found.isEmpty else { return }
        var proven: [Identifier: Set<EntryKey>] = [:]
        for (job, findings) in found { proven[job.id] = Set(findings.entries.map { EntryKey($0) }) }
        let segments = survey.catalog.segments
        var misplaced = misplaced
        survey.catalog.forEachOwnedEntry { segment, row, entry in
            guard let keys = proven[segments[segment].packs[Int(entry.pack)].id], !keys.contains(EntryKey(entry)) else {
                return
            }
            misplaced.insert(Row(segment: segment, row: row))
        }
        self.misplaced = misplaced
    }
}
