package import Basics
package import Kubernetes
internal import Synchronization

/// Lets workloads go that somebody stopped: by their journals, whoever wrote them.
package struct Resumer: Sendable {
    package let client: KubernetesClient
    /// Who does it, for the journal while it is done.
    private let holder: String
    /// Seconds that one call waits for pods to be Ready.
    private let waitSeconds: Double
    /// Seconds from when a workload is let go to when its routes are opened whatever its pods do.
    private let readySeconds: Double
    private let report: @Sendable (String) -> Void

    /// Routes that were drained are opened when the workload's pods are Ready. A call waits `waitSeconds` for that, and then
    /// throws `.notServing`; the next call goes on. After `readySeconds`, or at once where these are 0, they are opened whatever
    /// the pods do. `report` is told before it waits.
    package init(
        _ client: KubernetesClient, holder: String, waitSeconds: Double = .infinity,
        readySeconds: Double = Self.readySeconds,
        report: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        self.client = client
        self.holder = holder
        self.waitSeconds = waitSeconds
        self.readySeconds = readySeconds
        self.report = report
    }

    /// Seconds from when a workload is let go to when its routes are opened though its pods are not Ready: their endpoint
    /// picker sends nothing to those, and what comes up later is found without us.
    package static let readySeconds = 600.0

    /// What came of one.
    package struct Resumption: Sendable {
        package var workload: WorkloadReference
        /// Seconds that it stood still, by the journal; 0 when it was never stopped.
        package var pauseSeconds: Double
        package var times: [QuiesceJournal.Step: Timestamp]
        /// What somebody else did meanwhile to what stopped it, and what of that was gone.
        package var remarks: [String]
        /// What else a user should know, of its routes: nothing that spoils what was taken while it stood still.
        package var notices: [String] = []
        /// When its fields were put back, by this machine's clock.
        var letGo = ContinuousClock().now
    }

    /// Lets one workload go. What a person stopped, anyone may; what a backup holds that is at work, only with `force`.
    /// Throws `.busy` then, and `WorkloadError` when nothing holds it.
    package func resume(_ reference: WorkloadReference, force: Bool = false) async throws -> Resumption {
        let finder = WorkloadFinder(client)
        // A workload that was deleted while it was stopped has left its journal.
        let reference = try await finder.canonical(reference)
        let journal = QuiesceJournal(client, of: reference)
        let (entry, now) = try await journal.read()
        guard let entry else { return try await resumeWithoutJournal(try await finder.find(reference)) }
        guard force || entry.isManual || entry.isOver(at: now) || entry.deadline == nil else {
            throw QuiesceError(
                .busy,
                "\(reference) is held by \(entry.lease.holder), which is at work (step \(entry.step.rawValue)): wait for it, or let go with --force"
            )
        }
        return try await undo(journal, try await journal.takeOver(holder: holder, force: true))
    }

    /// A workload of which somebody deleted the journal says itself what held it.
    private func resumeWithoutJournal(_ live: LiveWorkload) async throws -> Resumption {
        let targets = try await StopPlan(client).targets(of: live)
        var remarks: [String] = []
        var isHeld = false
        let routes = try await PoolFinder(client).routes(drainedFor: live.reference)
        for target in targets {
            guard let resource = try await client.resource(target.kind),
                let object = try await client.find(resource, namespace: target.namespace, name: target.name),
                object.annotations[BecalmAnnotation.quiesced] != nil
            else { continue }
            isHeld = true
            remarks += try await TargetSwitch(client: client).release(target)
        }
        let notices = try await openRoutes(routes, for: live.reference, uid: live.object.uid)
        guard isHeld || !routes.isEmpty else {
            guard live.object.annotations[BecalmAnnotation.gated] == nil else {
                throw WorkloadError(
                    "\(live.object.label) is held by a restore, not for a backup: 'becalm resume --restored \(live.reference)' lets it go once its data is there"
                )
            }
            throw WorkloadError("\(live.object.label) is not held by Becalm: there is nothing to resume")
        }
        return Resumption(
            workload: live.reference, pauseSeconds: 0, times: [:], remarks: remarks, notices: notices)
    }

    /// Opens routes that are drained for a workload whose journal is gone. Answers what users should know.
    func openRoutes(
        _ routes: [KubernetesObject], for reference: WorkloadReference, uid: String
    ) async throws -> [String] {
        guard !routes.isEmpty else { return [] }
        let targets = try routes.map { route in
            var target = StopTarget(route, .drain)
            target.pools = Array(try RouteDrain(of: route)?.pools ?? [])
            // How many served nobody knows any more.
            target.servingPods = 1
            return target
        }
        return try await open(targets, for: reference, uid: uid, seconds: min(readySeconds, waitSeconds)) {}
    }

    /// What came of letting all of those go that are over.
    package struct Sweep: Sendable {
        package var resumed: [Resumption] = []
        /// What could not be let go, and why.
        package var failed: [(workload: String, error: any Error)] = []
        /// Those that are not over yet.
        package var left: [QuiesceJournal.Entry] = []
    }

    /// Lets every workload go whose journal is over, in a namespace or (without one) in all. One that cannot be let go does
    /// not keep the others. It waits for no pods: a workload that was let go and does not serve yet is among those that are
    /// left, and the next call opens its routes.
    package func resumeExpired(namespace: String) async throws -> Sweep {
        var sweep = Sweep()
        let (entries, unreadable) = try await QuiesceJournal.list(client, namespace: namespace)
        for error in unreadable { sweep.failed.append(("", error)) }
        let quick = Resumer(client, holder: holder, waitSeconds: 0, readySeconds: readySeconds, report: report)
        for (journal, listed) in entries {
            do {
                // By the server's clock, and as it is now.
                let (entry, now) = try await journal.read()
                guard let entry else { continue }
                guard entry.isOver(at: now) else {
                    sweep.left.append(entry)
                    continue
                }
                let taken = try await journal.takeOver(holder: holder, force: false)
                sweep.resumed.append(try await quick.undo(journal, taken))
            } catch let error as QuiesceError where error.code == .notServing {
                report("\(listed.workload) waits for its pods to be Ready: \(error.message)")
                sweep.left.append(listed)
            } catch let error as QuiesceError where error.code == .busy || error.code == .lost {
                // Somebody else was faster.
                sweep.left.append(listed)
            } catch {
                if let error = error as? KubernetesError, error.code == .cancelled { throw error }
                sweep.failed.append(("\(listed.workload)", error))
            }
        }
        return sweep
    }

    // MARK: Undoing

    /// A workload whose fields are back, and whose routes may be closed yet.
    struct LetGo: Sendable {
        var entry: QuiesceJournal.Entry
        /// The server's time.
        var now: Timestamp
        var remarks: [String]
        /// Seconds that it stood still.
        var pauseSeconds: Double
        /// When its fields were put back, by this machine's clock.
        var letGo: ContinuousClock.Instant
    }

    /// Puts back what a journal that is ours says, and ends it. Done again after a crash, it does what is left. Throws
    /// `.notServing` when routes wait for pods that are not Ready yet.
    func undo(_ journal: QuiesceJournal, _ entry: QuiesceJournal.Entry) async throws -> Resumption {
        try await finish(journal, try await putBack(journal, entry))
    }

    /// Puts the fields back that a journal of ours names.
    func putBack(_ journal: QuiesceJournal, _ entry: QuiesceJournal.Entry) async throws -> LetGo {
        var entry = try await journal.advance(entry, to: .resuming)
        var remarks: [String] = []
        var failures: [any Error] = []
        for target in entry.targets where target.method != .drain {
            let held = entry
            do {
                // Each may take longer than a lease lasts, and what another one holds by then is not ours to start.
                remarks += try await TargetSwitch(client: client).release(target, noted: target.held) {
                    try await journal.renew(held)
                }
            } catch let error as QuiesceError where error.code == .lost {
                throw error
            } catch {
                failures.append(error)
                continue
            }
            if target.held != nil { entry = try await journal.noteRestored(target, in: entry) }
        }
        if let first = failures.first { throw first }
        let letGo = ContinuousClock().now
        let now = try await journal.read().now
        // Others may open its routes, long after.
        let isDrained = entry.targets.contains { $0.method == .drain }
        if isDrained { entry = try await journal.noteLetGo(entry, remarks) }
        let pause = entry.times[.stopping].map { max(0, (entry.letGo ?? now) - $0) } ?? 0
        return LetGo(
            entry: entry, now: now, remarks: isDrained ? entry.remarks : remarks, pauseSeconds: pause, letGo: letGo)
    }

    /// Opens the routes of what is let go, and ends its journal. Throws `.notServing` as `undo` does.
    func finish(_ journal: QuiesceJournal, _ back: LetGo) async throws -> Resumption {
        let entry = back.entry
        let notices: [String]
        do {
            notices = try await open(entry.targets.filter { $0.method == .drain }, journal, entry, back.now)
        } catch var error as QuiesceError where error.code == .notServing {
            error.remarks = back.remarks
            try await journal.pass(entry)
            throw error
        }
        try await journal.close(entry)
        return Resumption(
            workload: entry.workload, pauseSeconds: back.pauseSeconds, times: entry.times, remarks: back.remarks,
            notices: notices, letGo: back.letGo)
    }

    /// Opens the routes of a journal, whose lease is renewed meanwhile. Answers what users should know.
    private func open(
        _ targets: [StopTarget], _ journal: QuiesceJournal, _ entry: QuiesceJournal.Entry, _ now: Timestamp
    ) async throws -> [String] {
        guard !targets.isEmpty else { return [] }
        let left = readySeconds - max(0, now - (entry.times[.resuming] ?? now))
        let clock = ContinuousClock()
        let renewed = Mutex(clock.now)
        return try await open(
            targets, for: entry.workload, uid: entry.uid, seconds: min(left, waitSeconds), isLast: waitSeconds >= left
        ) {
            let isDue = renewed.withLock { last in
                guard last.duration(to: clock.now) >= .seconds(QuiesceJournal.renewalSeconds) else { return false }
                last = clock.now
                return true
            }
            if isDue { try await journal.renew(entry) }
        }
    }

    /// Waits until a workload serves, for at most `seconds`, and opens its routes. With `isLast` they are opened then
    /// whatever its pods do. One that cannot be opened does not keep the others. Answers what users should know.
    private func open(
        _ targets: [StopTarget], for reference: WorkloadReference, uid: String, seconds: Double, isLast: Bool = true,
        check: @escaping @Sendable () async throws -> Void
    ) async throws -> [String] {
        let wait = ServingWait(
            client: client, reference: reference, uid: uid, pools: Set(targets.flatMap(\.pools)),
            pods: targets.map(\.servingPods).max() ?? 0)
        let routes = targets.map(\.label).joined(separator: ", ")
        var notices: [String] = []
        var serves = false
        let end = ContinuousClock().now.advanced(by: .seconds(seconds))
        do {
            switch try await wait.wait(until: end, report: report, for: routes, check: check) {
            case .serves: serves = true
            case .gone: break
            case .starts(let words) where isLast:
                let after = readySeconds > 0 ? " after \(Int(readySeconds)) s" : ""
                notices.append(
                    "\(words)\(after): \(routes) got its weight back all the same, for its endpoint picker sends nothing to pods that are not"
                )
            case .starts(let words):
                throw QuiesceError(
                    .notServing,
                    "\(words): \(routes) gets its weight back when all are; 'becalm resume \(reference)' and 'becalm resume --expired' go on with it"
                )
            }
        } catch let error as KubernetesError where error.code == .forbidden {
            notices.append(
                "whether the pods of \(reference) are Ready cannot be seen, so \(routes) got its weight back at once: \(error.message)"
            )
        } catch let error
            where isLast && ContinuousClock().now >= end && !Task.isCancelled && !(error is QuiesceError)
        {
            notices.append(
                "whether the pods of \(reference) are Ready cannot be told, so \(routes) got its weight back: \(error)")
        }
        var failures: [any Error] = []
        for target in targets {
            do {
                // Where none of its pods served, those of others do not serve for it.
                let serves = serves && target.servingPods > 0
                notices += try await TargetSwitch(client: client).open(target, for: reference, serves: serves)
            } catch {
                failures.append(error)
            }
        }
        if let first = failures.first { throw first }
        return notices
    }
}
