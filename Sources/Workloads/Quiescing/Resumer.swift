package import Basics
package import Kubernetes

/// Lets workloads go that somebody stopped: by their journals, whoever wrote them.
package struct Resumer: Sendable {
    package let client: KubernetesClient
    /// Who does it, for the journal while it is done.
    private let holder: String

    package init(_ client: KubernetesClient, holder: String) {
        self.client = client
        self.holder = holder
    }

    /// What came of one.
    package struct Resumption: Sendable {
        package var workload: WorkloadReference
        /// Seconds that it stood still, by the journal; 0 when it was never stopped.
        package var pauseSeconds: Double
        package var times: [QuiesceJournal.Step: Timestamp]
        package var remarks: [String]
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
        for target in targets {
            guard let resource = try await client.resource(target.kind),
                let object = try await client.find(resource, namespace: target.namespace, name: target.name),
                object.annotations[BecalmAnnotation.quiesced] != nil
            else { continue }
            isHeld = true
            remarks += try await TargetSwitch(client: client).release(target)
        }
        guard isHeld else {
            throw WorkloadError("\(live.object.label) is not held by Becalm: there is nothing to resume")
        }
        return Resumption(workload: live.reference, pauseSeconds: 0, times: [:], remarks: remarks)
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
    /// not keep the others.
    package func resumeExpired(namespace: String) async throws -> Sweep {
        var sweep = Sweep()
        let (entries, unreadable) = try await QuiesceJournal.list(client, namespace: namespace)
        for error in unreadable { sweep.failed.append(("", error)) }
        for (journal, listed) in entries {
            do {
                // By the server's clock, and as it is now.
                let (entry, now) = try await journal.read()
                guard let entry else { continue }
                guard entry.isOver(at: now) else {
                    sweep.left.append(entry)
                    continue
                }
                sweep.resumed.append(try await undo(journal, try await journal.takeOver(holder: holder, force: false)))
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

    /// Puts back what a journal that is ours says, and ends it. Done again after a crash, it does what is left.
    func undo(_ journal: QuiesceJournal, _ entry: QuiesceJournal.Entry) async throws -> Resumption {
        let entry = try await journal.advance(entry, to: .resuming)
        var remarks: [String] = []
        var failures: [any Error] = []
        for target in entry.targets {
            do {
                remarks += try await TargetSwitch(client: client).release(target)
            } catch {
                failures.append(error)
            }
        }
        if let first = failures.first { throw first }
        let now = try await journal.read().now
        try await journal.close(entry)
        let pause = entry.times[.stopping].map { max(0, now - $0) } ?? 0
        return Resumption(workload: entry.workload, pauseSeconds: pause, times: entry.times, remarks: remarks)
    }
}
