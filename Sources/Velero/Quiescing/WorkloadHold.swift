internal import Basics
internal import Kubernetes
internal import Logging
internal import Orchestration
internal import RepositoryFormat
internal import Workloads

/// A workload that a backup stops, and lets go when its volumes are taken: stored, or cut as snapshots that are stored.
///
/// A call brings it to a standstill and returns; it stays so, by its journal (`QuiesceJournal`), until an operation of the
/// backup sees that the movers of its volumes need it no more, or until its deadline, after which `becalm resume --expired` or the
/// next backup of it lets it go when no Velero is there any more. What has come of it is in a record (`HoldRecord`), so that each
/// call may be served by another process.
struct WorkloadHold: Sendable {
    /// How it is brought to a standstill.
    struct Terms: Sendable {
        /// What is asked for.
        var policy: QuiescePolicy
        /// Seconds until it is let go whatever happens, and that it may take to stop.
        var deadlineSeconds: Double
        var stopSeconds: Double
        /// How its volumes are looked at for the checkpoint; nil: whoever is asked is believed.
        var movers: MoverConfiguration?
    }

    let client: KubernetesClient
    let environment: PluginEnvironment
    /// The Backup's uid, and its name for people.
    let run: String
    let backupName: String
    /// The workload's uid.
    let uid: String
    let reference: WorkloadReference

    /// For the journal: this backup's and nobody else's.
    private var holder: String { Self.holder(backupName, run) }

    private static func holder(_ backupName: String, _ run: String) -> String { "velero/\(backupName)/\(run)" }

    /// The workloads of a namespace that a backup holds, or has begun to, by their journals.
    static func held(
        by backup: VeleroBackup, in namespace: String, _ client: KubernetesClient
    ) async throws -> [LiveWorkload] {
        let holder = holder(backup.name, backup.uid)
        var held: [LiveWorkload] = []
        for (_, entry) in try await QuiesceJournal.list(client, namespace: namespace).entries
        where entry.lease.holder == holder { held.append(try await WorkloadFinder(client).find(entry.workload)) }
        return held
    }

    private var recordRun: String { DetachedMover.run(for: ["quiesce", run, uid]) }
    private var journal: QuiesceJournal { QuiesceJournal(client, of: reference) }
    private var store: RunRecord { RunRecord(client, namespace: reference.namespace, run: recordRun) }

    /// Of the operation that lets it go.
    var identifier: OperationIdentifier {
        OperationIdentifier(
            kind: .quiesce, run: run, subject: ResourceIdentifier(reference), uid: uid,
            watched: ResourceIdentifier(
                group: APIResource.leases.group, resource: APIResource.leases.plural, namespace: reference.namespace,
                name: DetachedMover.leaseName(run: recordRun)))
    }

    /// What has come of it; nil where nothing has begun.
    func record() async throws(KubernetesError) -> HoldRecord? {
        try await store.read().flatMap { HoldRecord(parsing: $0) }
    }

    /// What goes on is kept for longer than anything holds, what came of it for a day.
    private func write(_ record: HoldRecord) async throws(KubernetesError) {
        let goesOn = record.state == .stopping || record.state == .held || record.state == .releasing
        try await store.write(record.text, keepSeconds: (goesOn ? Int(QuiesceOptions.longestDeadline) : 0) + 86_400)
    }

    // MARK: Holding

    /// Brings it to a standstill, or has it write a checkpoint, unless this backup has done so or failed to. Answers what
    /// has come of it. Throws what keeps the cluster from being asked; the workload runs then, or its journal's deadline
    /// has it run again.
    func take(_ live: LiveWorkload, _ terms: Terms) async throws -> HoldRecord {
        try await environment.holds.alone(recordRun) {
            let known = try await record()
            if let known, known.state != .stopping { return known }
            return try await hold(live, terms, after: known)
        }
    }

    /// `known` is what a process that died has left.
    private func hold(_ live: LiveWorkload, _ terms: Terms, after known: HoldRecord?) async throws -> HoldRecord {
        let now = environment.clock.now()
        var record =
            known ?? HoldRecord(.stopping, asked: terms.policy.consistency ?? .pause, began: now)
        for name in try await live.claims() where !record.claims.contains(where: { $0.name == name }) {
            let claim = try await client.find(.persistentVolumeClaims, namespace: live.namespace, name: name)
            if let claim { record.claims.append(.init(name: name, uid: claim.uid)) }
        }
        // Before anything is stopped: an operation that begins knows what to wait for.
        try await write(record)
        do {
            var terms = terms
            // The time runs from the first attempt.
            terms.deadlineSeconds = max(1, terms.deadlineSeconds - max(0, now - record.began))
            record.quiesce = try await quiesce(live, terms).json
            record.state = .held
        } catch let error as QuiesceError where error.code == .busy {
            (record.state, record.reason) = try await ofOthers(error)
        } catch let error where !Task.isCancelled {
            record.state = .failed
            record.reason = "\(error)"
        }
        do throws(KubernetesError) {
            try await write(record)
        } catch {
            // Nobody would let it go before its deadline.
            if record.state == .held { await letGoAfterFailure() }
            var failed = HoldRecord(.failed, asked: record.asked, began: record.began)
            failed.reason = "what came of it cannot be written down: \(error)"
            try await write(failed)
            return failed
        }
        return record
    }

    /// What to make of a workload that somebody else holds: one that stands still until somebody lets it go is as still as
    /// one of ours.
    private func ofOthers(_ error: QuiesceError) async throws -> (HoldRecord.State, String) {
        guard let entry = try await journal.read().entry, entry.step == .stopped || entry.step == .captured,
            entry.deadline == nil, try await Standstill(client, entry).disturbance() == nil
        else { return (.failed, "\(error)") }
        return (.others, "it is held by \(entry.lease.holder) until somebody resumes it")
    }

    private func quiesce(_ live: LiveWorkload, _ terms: Terms) async throws -> QuiesceRecord {
        var options = QuiesceOptions(holder: holder)
        options.policy.consistency = terms.policy.consistency
        options.policy.timeout = terms.policy.timeout
        options.deadlineSeconds = terms.deadlineSeconds
        options.stopSeconds = min(terms.stopSeconds, terms.deadlineSeconds)
        // Nobody stays to renew the lease, or to wait for pods after a failure.
        options.isManual = true
        options.readySeconds = 0
        let logger = environment.logger
        let report: @Sendable (QuiesceEvent) -> Void = { event in
            if case .remark(let text) = event { logger.info("\(text)") }
        }
        let isAsked = terms.policy.consistency == .checkpoint
        let (client, settled) = (client, options)
        let work: @Sendable (MoverObserver?) async throws -> QuiesceRecord = { observer in
            let quiescer = Quiescer(client, options: settled, observer: observer, report: report)
            return isAsked ? try await quiescer.holding(live) { _ in }.record : try await quiescer.quiesce(live)
        }
        guard terms.policy.request != nil, let movers = terms.movers else { return try await work(nil) }
        let request = MoverRun.Request(
            namespace: live.namespace, settings: movers.movers, access: nil, role: .writer,
            open: { throw VeleroError(.failed, "movers that look at volumes open no repository") })
        let pods = try await live.pods()
        var places: [MoverObserver.Place] = []
        for name in try await live.claims() {
            let claim = try await client.find(.persistentVolumeClaims, namespace: live.namespace, name: name)
            // Nothing can be seen on a device without a file system.
            guard let claim, claim["status", "phase"]?.string == "Bound", !claim.isBlockVolume else { continue }
            places.append(.init(claim: name, placement: MoverPlacement(of: claim, pods: pods)))
        }
        guard !places.isEmpty else { return try await work(nil) }
        let known = places
        return try await MoverRun.with(client, request, report: { _ in }) { run in
            try await work(MoverObserver(run, places: known))
        }
    }

    private func letGoAfterFailure() async {
        do {
            _ = try await release(atOnce: true)
        } catch {
            environment.logger.error(
                "\(reference) stands still and is let go at its deadline, or by 'becalm resume \(reference)': \(error)")
        }
    }

    // MARK: Letting go

    /// Lets it go where this backup holds it. Answers how long it stood still, and what should not have happened meanwhile;
    /// nil where it holds nothing. Throws `.notServing` while its routes wait for its pods: a call waits for nothing. With
    /// `atOnce`, for whom no other call follows, they are opened whatever its pods do.
    private func release(atOnce: Bool = false) async throws -> (pauseSeconds: Double, remarks: [String])? {
        guard let entry = try await journal.read().entry, entry.lease.holder == holder else { return nil }
        // What a process of ours took over in order to let it go looks like somebody at work.
        let resumer = Resumer(
            client, holder: holder, waitSeconds: 0, readySeconds: atOnce ? 0 : Resumer.readySeconds)
        let resumption = try await resumer.resume(reference, force: true)
        for notice in resumption.notices { environment.logger.warning("\(notice)") }
        return (resumption.pauseSeconds, resumption.remarks)
    }

    /// Looks how far the movers of its volumes are, lets it go when they have what they store, and answers how it stands then; nil
    /// where nothing is known of it, and then nothing of this backup holds it. Throws what may pass.
    func advance() async throws -> HoldRecord? {
        guard var record = try await record() else {
            _ = try await release()
            return nil
        }
        switch record.state {
        case .released, .failed, .others: return record
        case .stopping:
            // A call that is at work, or a process that died in one: its journal has a deadline.
            let (entry, now) = try await journal.read()
            if let entry, entry.lease.holder == holder, !entry.isOver(at: now) { return record }
            _ = try await release()
            record.state = .failed
            record.reason =
                "it was not brought to a standstill: the plugin's process ended, or the cluster did not answer"
        case .held where record.asked == .checkpoint:
            record.state = .released
            record.pauseSeconds = 0
        case .held:
            let (entry, now) = try await journal.read()
            record.reason = try await spoiled(entry, now)
            if record.reason.isEmpty, try await !areTaken(record.claims) { return record }
            if record.reason.isEmpty, record.asked == .stop {
                record.state = .released
                break
            }
            // By now; a process that dies before it could ask leaves this.
            if let began = entry?.times[.stopping] { record.pauseSeconds = max(0, now - began) }
            record.state = .releasing
            try await write(record)
            fallthrough
        case .releasing:
            do {
                if let (pause, remarks) = try await release() {
                    record.pauseSeconds = pause
                    if record.reason.isEmpty { record.reason = remarks.first ?? "" }
                }
            } catch let error as QuiesceError where error.code == .notServing {
                // It runs, and the next call opens its routes, or somebody else does meanwhile and knows of nothing else.
                if record.reason.isEmpty, let first = error.remarks.first {
                    record.reason = first
                    try await write(record)
                }
                return record
            }
            record.state = record.reason.isEmpty ? .released : .failed
        }
        try await write(record)
        return record
    }

    /// Why what this backup holds does not stand still any more, or must not; empty while it does.
    private func spoiled(_ entry: QuiesceJournal.Entry?, _ now: Timestamp) async throws -> String {
        guard let entry, entry.lease.holder == holder else {
            return "somebody let it go before its volumes were stored"
        }
        if entry.isOver(at: now) {
            return
                "its deadline was over before its volumes were stored, and it was let go: give it more time with `deadline`"
        }
        return try await Standstill(client, entry).disturbance().map { "it did not stand still: \($0)" } ?? ""
    }

    /// Lets it go whatever its volumes need.
    func cancel() async throws {
        guard var record = try await record() else {
            _ = try await release(atOnce: true)
            return
        }
        guard record.state == .stopping || record.state == .held || record.state == .releasing else { return }
        record.pauseSeconds = try await release(atOnce: true)?.pauseSeconds
        record.state = .failed
        record.reason = "the operation was cancelled before its volumes were stored"
        try await write(record)
    }

    /// Whether no mover of this backup reads one of the claims any more: those that have ended, and those that read a copy
    /// whose snapshot is cut.
    private func areTaken(_ claims: [HoldRecord.Claim]) async throws -> Bool {
        for claim in claims {
            let subject = VolumeMovers.Subject(
                kind: .volumeBackup, run: run, namespace: reference.namespace, name: claim.name, uid: claim.uid)
            let mover = DetachedMover(client, namespace: reference.namespace, run: subject.moverRun)
            if try await !mover.hasTaken() { return false }
        }
        return true
    }
}

extension ResourceIdentifier {
    /// A workload by the name that means the same everywhere.
    init(_ reference: WorkloadReference) {
        self.init(groupResource: reference.kind, namespace: reference.namespace, name: reference.name)
    }
}

extension WorkloadReference {
    /// The workload that an operation is about.
    init(_ identifier: ResourceIdentifier) {
        self.init(namespace: identifier.namespace, kind: identifier.groupResource, name: identifier.name)
    }
}
