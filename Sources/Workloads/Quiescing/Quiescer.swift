internal import Basics
package import Kubernetes

/// Brings workloads to a standstill at a consistent point, and lets them go again.
///
/// Every step is in the journal before it is taken. Whatever goes wrong on the way, a cancelled task included, the workload
/// is let go before the error is thrown; what a killed process leaves, `Resumer` undoes.
package struct Quiescer: Sendable {
    package let client: KubernetesClient
    private let options: QuiesceOptions
    private let observer: (any CheckpointObserver)?
    private let report: @Sendable (QuiesceEvent) -> Void

    /// `observer` sees the workload's volumes; without one, a checkpoint that is asked for is believed when whoever was
    /// asked says that it is done. `report` is told of steps as they begin, from any task.
    package init(
        _ client: KubernetesClient, options: QuiesceOptions, observer: (any CheckpointObserver)? = nil,
        report: @escaping @Sendable (QuiesceEvent) -> Void = { _ in }
    ) {
        self.client = client
        self.options = options
        self.observer = observer
        self.report = report
    }

    // MARK: The two ways

    /// Brings it to a standstill and leaves it so, until the deadline (`QuiesceOptions.isManual`) or, with the consistency
    /// `stop`, until somebody resumes it.
    package func quiesce(_ live: LiveWorkload) async throws -> QuiesceRecord {
        let (entry, record) = try await begin(live)
        return try await renewing(entry) {
            try await self.undoing(live, entry) {
                try await self.beforeDeadline(live) { try await self.still(live, entry, record).record }
            }
        }
    }

    /// Brings it to a standstill, runs `body` meanwhile and lets it go, unless it is to stay stopped. With the consistency
    /// `checkpoint` it runs all the while. `body` is cancelled at the deadline, when the journal is lost, and when somebody disturbs the
    /// standstill, which throws `.disturbed` also where only a look at the end shows it. Once the workload is let go nothing
    /// loses the result any more: what keeps its routes closed is a remark.
    package func holding<R: Sendable>(
        _ live: LiveWorkload, _ body: @escaping @Sendable (StandstillWatch) async throws -> R
    ) async throws -> (result: R, record: QuiesceRecord) {
        let (entry, record) = try await begin(live)
        let (result, ended, back) = try await renewing(entry) {
            try await self.undoing(live, entry) { () async throws -> (R, QuiesceRecord, Resumer.LetGo?) in
                let result = try await self.beforeDeadline(live) {
                    let stood = try await self.still(live, entry, record)
                    let watch = StandstillWatch(
                        live, stood.record, stood.endures ? Standstill(self.client, stood.entry) : nil)
                    let result = try await watch.guarding { try await body(watch) }
                    return (result, stood.record, try await self.advance(live, stood.entry, .captured))
                }
                var ended = result.1
                ended.times = result.2.times
                guard ended.consistency != .stop else {
                    _ = try await QuiesceJournal(self.client, of: live.reference).advance(
                        result.2, to: .captured, keeping: true)
                    return (result.0, ended, nil)
                }
                self.report(.step(.resuming))
                let resumer = self.resumer(readySeconds: self.options.readySeconds)
                let back = try await resumer.putBack(self.journal(live), result.2)
                return (result.0, ended, back)
            }
        }
        guard let back else { return (result, ended) }
        return (result, await finish(live, back, ended))
    }

    // MARK: Steps

    private func journal(_ live: LiveWorkload) -> QuiesceJournal { QuiesceJournal(client, of: live.reference) }

    private func advance(
        _ live: LiveWorkload, _ entry: QuiesceJournal.Entry, _ step: QuiesceJournal.Step
    ) async throws -> QuiesceJournal.Entry {
        let entry = try await journal(live).advance(entry, to: step)
        report(.step(step))
        return entry
    }

    /// Looks for traps, and opens the journal.
    private func begin(_ live: LiveWorkload) async throws -> (QuiesceJournal.Entry, QuiesceRecord) {
        let policy = try await policy(of: live)
        let consistency = policy.consistency ?? .pause
        var record = QuiesceRecord(workload: live.reference, consistency: consistency)
        if let completion = live.workload.completion {
            throw QuiesceError(
                .refused,
                "\(live.object.label) has ended (\(completion)): there is nothing to bring to a standstill; to back up its volumes, name a Pod that mounts them, with --consistency checkpoint"
            )
        }
        for finding in try await Traps(client: client, live: live).findings() {
            // Only stopping springs them.
            let isSprung = finding.severity == .refusal && consistency != .checkpoint
            let isDeletion = finding.code == "claims-deleted-with-owner"
            guard !isSprung || isDeletion || policy.overrides.contains(finding.code) else {
                throw QuiesceError(
                    .refused,
                    "\(finding.message) (override with --override \(finding.code), or the annotation \(BecalmAnnotation.override))"
                )
            }
            record.remarks.append(finding.message)
            report(.remark(finding.message))
        }
        if consistency != .checkpoint, policy.request == nil,
            let remark = SaveGrace.remark(live, pods: try await live.pods())
        {
            record.remarks.append(remark)
            report(.remark(remark))
        }
        let targets = consistency == .checkpoint ? [] : try await StopPlan(client).targets(of: live)
        let opening = QuiesceJournal.Opening(
            holder: options.holder, consistency: consistency, deadlineSeconds: options.deadlineSeconds,
            isManual: options.isManual)
        let entry = try await journal(live).begin(live, opening, targets: targets)
        report(.step(.requested))
        return (entry, record)
    }

    /// What the user asks for, then what the workload's annotations say, or its pods', then what a policy file says.
    package func policy(of live: LiveWorkload) async throws -> QuiescePolicy {
        var policy = options.policy
        let said = try QuiescePolicy(of: live.object)
        if let said { policy = policy.filled(from: said) }
        // Traps that are accepted say nothing of how it is asked.
        var asked = said
        asked?.overrides = []
        if asked == nil || asked == QuiescePolicy(), let pod = try await live.pods().first,
            let said = try QuiescePolicy(of: pod)
        {
            policy = policy.filled(from: said)
        }
        let kind = live.workload.kind
        let rule = options.policies?.rule(
            namespace: live.namespace, kinds: [live.reference.kind, kind.resource, kind.kind], name: live.object.name)
        if let rule { policy = policy.filled(from: rule.policy) }
        return policy
    }

    /// What a workload was brought to.
    private struct Stood: Sendable {
        var entry: QuiesceJournal.Entry
        var record: QuiesceRecord
        /// Whether it stands still until it is let go, so that others can disturb it: not one that runs on, nor one that has ended.
        var endures: Bool
    }

    /// Asks for a checkpoint and stops the workload, as far as either is wanted.
    private func still(
        _ live: LiveWorkload, _ opened: QuiesceJournal.Entry, _ begun: QuiesceRecord
    ) async throws -> Stood {
        var (entry, record, endures) = (opened, begun, false)
        let policy = try await policy(of: live)
        if let request = policy.request {
            (entry, record) = try await checkpoint(live, entry, record, policy, request)
        } else if record.consistency == .checkpoint {
            record.remarks.append(QuiesceRecord.notAsked)
            report(.remark(QuiesceRecord.notAsked))
        }
        if record.consistency != .checkpoint {
            let drainer = Drainer(client: client, live: live, policy: policy, options: options, report: report)
            let drained = try await drainer.drain(entry)
            entry = drained.entry
            record.remarks += drained.remarks
            entry = try await advance(live, entry, .stopping)
            record.stopped = ContinuousClock().now
            let known = try await live.ownership()
            entry = try await stop(live, entry)
            let (kept, holder) = (journal(live), options.holder)
            let stillness = Stillness(
                client: client, live: live, targets: entry.targets, known: known, awaitsControllers: true
            ) {
                try await kept.check(holder: holder)
            }
            try await stillness.wait(seconds: options.stopSeconds)
            var now = live
            guard try await now.refresh() else {
                throw QuiesceError(
                    .lost, "\(live.object.label) was deleted while it was being stopped: there is nothing to hold")
            }
            endures = now.workload.completion == nil
            for remark in try await endings(now, entry.targets) {
                record.remarks.append(remark)
                report(.remark(remark))
            }
            let isKept = record.consistency == .stop && options.isManual
            entry = try await journal(live).advance(entry, to: .stopped, keeping: isKept)
            report(.step(.stopped))
        }
        record.times = entry.times
        return Stood(entry: entry, record: record, endures: endures)
    }

    /// What is to be said of a workload, or a Job of it, that has ended while it was being stopped: none had when that began.
    private func endings(_ now: LiveWorkload, _ targets: [StopTarget]) async throws -> [String] {
        var ended = [(now.object.label, now.workload.completion)]
        let finder = WorkloadFinder(client)
        let job = BatchJob().kind
        for target in targets where target.uid != now.object.uid && target.kind.kind == job.kind {
            guard let resource = try await client.resource(target.kind), resource.group == job.group,
                let object = try await client.find(resource, namespace: target.namespace, name: target.name),
                object.uid == target.uid
            else { continue }
            ended.append((target.label, try await finder.live(object)?.workload.completion))
        }
        return ended.compactMap { label, completion in
            completion.map {
                "\(label) ended (\($0)) while it was being stopped, and nothing starts it again: where that is how its pods answer SIGTERM, work that they had left is lost, and what was taken is where a new one goes on"
            }
        }
    }

    private func checkpoint(
        _ live: LiveWorkload, _ opened: QuiesceJournal.Entry, _ begun: QuiesceRecord, _ policy: QuiescePolicy,
        _ request: QuiescePolicy.Request
    ) async throws -> (QuiesceJournal.Entry, QuiesceRecord) {
        var (entry, record) = (try await advance(live, opened, .checkpointing), begun)
        let seconds = policy.timeout.map { Double($0.nanoseconds) / 1e9 } ?? options.checkpointSeconds
        record.before = try await observer?.newest()
        record.request = "\(request.words), \((policy.ranks ?? .all).rawValue) ranks"
        let requester = CheckpointRequester(client: client, policy: policy)
        let answers = try await requester.ask(
            request, pods: try await live.pods(), of: live.object.label, seconds: seconds)
        record.answers = answers.map { ($0.pod, $0.text) }
        if let observer {
            record.after = try await observer.newer(than: record.before, seconds: seconds)
        } else {
            let remark = "nobody looked whether the checkpoint is complete: what was asked for it said that it is done"
            record.remarks.append(remark)
            report(.remark(remark))
        }
        entry = try await advance(live, entry, .checkpointed)
        return (entry, record)
    }

    /// Stops every target, and those that only show once the first ones are stopped: Jobs that a CronJob has begun
    /// meanwhile.
    private func stop(_ live: LiveWorkload, _ entry: QuiesceJournal.Entry) async throws -> QuiesceJournal.Entry {
        var entry = entry
        var stopped: Set<String> = []
        while true {
            let left = entry.targets.filter { !stopped.contains($0.uid) && $0.method != .drain }
            guard !left.isEmpty else { return entry }
            for target in left {
                try await TargetSwitch(client: client).stop(target)
                stopped.insert(target.uid)
            }
            let found = try await StopPlan(client).targets(of: live).filter { !stopped.contains($0.uid) }
            if !found.isEmpty { entry = try await journal(live).add(found, to: entry) }
        }
    }

    private func resumer(readySeconds: Double) -> Resumer {
        let report = report
        return Resumer(client, holder: options.holder, readySeconds: readySeconds) { report(.remark($0)) }
    }

    /// Has the routes of a workload opened that is let go, by the lease that this renews. A task that is cancelled opens them
    /// at once.
    private func finish(_ live: LiveWorkload, _ back: Resumer.LetGo, _ ended: QuiesceRecord) async -> QuiesceRecord {
        var record = ended
        // By this machine's clock: the server's answers tell whole seconds.
        record.pauseSeconds = record.stopped.map { $0.duration(to: back.letGo) / .seconds(1) } ?? 0
        record.times = back.entry.times
        var remarks = back.remarks
        do {
            do {
                let resumer = resumer(readySeconds: options.readySeconds)
                remarks += try await resumer.finish(journal(live), back).notices
            } catch _ where Task.isCancelled {
                let (resumer, journal) = (resumer(readySeconds: 0), journal(live))
                let opening = OwnedTask<[String], any Error> { try await resumer.finish(journal, back).notices }
                remarks += try await opening.outcome().get()
            }
        } catch let error as QuiesceError where error.code == .lost || error.code == .busy {
            // Somebody else has ended it, or does.
        } catch {
            remarks.append(
                "\(live.object.label) runs again, and what was to be done then is not: \(error); 'becalm resume \(live.reference)' does it, or 'becalm resume --expired'"
            )
        }
        record.remarks += remarks
        for remark in remarks { report(.remark(remark)) }
        return record
    }

    // MARK: Care

    /// Runs `body` until the deadline, by which somebody else may let the workload go.
    private func beforeDeadline<R: Sendable>(
        _ live: LiveWorkload, _ body: @escaping @Sendable () async throws -> R
    ) async throws -> R {
        let late = KubernetesError(
            .timedOut, "\(live.object.label) was held for \(Int(options.deadlineSeconds)) s, its deadline")
        do {
            return try await Deadline.run(seconds: options.deadlineSeconds, or: late, body)
        } catch let error as KubernetesError where error.message == late.message {
            throw QuiesceError(
                .notInTime, "\(late.message), and it runs again: give it more time with --deadline", cause: error)
        }
    }

    /// Runs `body`; whatever it throws, the workload is let go first. A cancelled task does so too.
    private func undoing<R: Sendable>(
        _ live: LiveWorkload, _ entry: QuiesceJournal.Entry, _ body: () async throws -> R
    ) async throws -> R {
        do {
            return try await body()
        } catch {
            let (client, journal, holder) = (client, journal(live), options.holder)
            await waitForEnding(live)
            // Who cancels does not wait for pods either.
            let resumer = resumer(readySeconds: Task.isCancelled ? 0 : options.readySeconds)
            let ending = EndingPods(client: client, live: live)
            // Not the cancelled task's: it has to be done all the same.
            let undoing = OwnedTask<String?, any Error> {
                guard let now = try await journal.read().entry else {
                    // Somebody else has undone it, perhaps before the last change of ours.
                    for target in entry.targets { _ = try await TargetSwitch(client: client).release(target) }
                    let routes = try await PoolFinder(client).routes(drainedFor: live.reference)
                    _ = try await resumer.openRoutes(routes, for: live.reference, uid: live.object.uid)
                    return nil
                }
                // What another one holds is his to undo.
                guard now.lease.holder == holder else { return nil }
                let warning = now.step == .stopping ? await ending.warning() : nil
                _ = try await resumer.undo(journal, now)
                return warning
            }
            let outcome = await undoing.outcome()
            if case .failure(let left) = outcome {
                // Somebody else undoes it.
                if let left = left as? QuiesceError, left.code == .lost || left.code == .busy { throw error }
                throw QuiesceError(
                    .notResumed,
                    "\(error); and it could not be let go: \(left); 'becalm resume \(live.reference)' does it, or 'becalm resume --expired' once its deadline is past",
                    cause: error)
            }
            if case .success(let warning?) = outcome {
                guard var told = error as? QuiesceError else {
                    report(.remark(warning))
                    throw error
                }
                told.message += "; \(warning)"
                throw told
            }
            throw error
        }
    }

    /// Has pods end of a workload that was not stopped in time before it is let go: as long as their grace lasts, and never beyond its
    /// deadline, by which it has to run. A task that is cancelled does not wait: it may be killed a moment later, and the fields
    /// have to be back by then.
    private func waitForEnding(_ live: LiveWorkload) async {
        guard !Task.isCancelled, options.readySeconds > 0 else { return }
        do {
            let (entry, now) = try await journal(live).read()
            guard let entry, entry.lease.holder == options.holder, entry.step == .stopping else { return }
            let seconds = entry.deadline.map { $0 - now - Self.undoSeconds } ?? options.readySeconds
            try await EndingPods(client: client, live: live).wait(seconds: seconds, now: now) { report(.remark($0)) }
        } catch {
            // Letting it go is what counts, and says what still ends then.
        }
    }

    /// Seconds of the deadline that are left for putting fields back.
    private static let undoSeconds = 10.0

    /// Runs `body` while the journal's lease is renewed, if anybody must; a lease that is lost ends it.
    private func renewing<R: Sendable>(
        _ entry: QuiesceJournal.Entry, _ body: @escaping @Sendable () async throws -> R
    ) async throws -> R {
        if options.isManual { return try await body() }
        let journal = QuiesceJournal(client, of: entry.workload)
        return try await withThrowingTaskGroup(of: R?.self) { group in
            defer { group.cancelAll() }
            group.addTask { try await body() }
            group.addTask {
                while true {
                    do {
                        try await Task.sleep(for: .seconds(QuiesceJournal.renewalSeconds))
                    } catch {
                        return nil
                    }
                    do {
                        try await journal.renew(entry)
                    } catch let error as QuiesceError where error.code == .lost {
                        // The body has just closed it.
                        if Task.isCancelled { return nil }
                        throw error
                    } catch let error as KubernetesError where error.code != .cancelled {
                        // A server that is away for a while: the next renewal tries again, and every step of the body, too.
                        continue
                    }
                }
            }
            while let ended = try await group.next() {
                if let result = ended { return result }
            }
            throw CancellationError()
        }
    }
}

extension QuiescePolicy.Request {
    /// What is asked, in words, without arguments: these may hold secrets.
    var words: String {
        switch self {
        case .command(let words): "command \(words.first ?? "")"
        case .signal(let name): "signal \(name)"
        case .http(let method, let port, let path): "\(method) \(port)\(path.prefix { $0 != "?" })"
        case .file(let path): "file \(path)"
        }
    }
}
