internal import Basics
internal import Kubernetes

/// Has gateways send a workload nothing more and waits until its servers have answered what they have begun, before its pods
/// are stopped.
struct Drainer: Sendable {
    let client: KubernetesClient
    let live: LiveWorkload
    let policy: QuiescePolicy
    let options: QuiesceOptions
    /// Told of a step that has begun, and of what users should know.
    let report: @Sendable (QuiesceEvent) -> Void

    private var journal: QuiesceJournal { QuiesceJournal(client, of: live.reference) }

    /// Drains what is to be drained. Answers the journal as it is then, and what users should know. Throws `.refused` when it
    /// cannot be done and the policy demands it, `.notInTime` when the servers are not idle in time and it does, and `.lost`.
    func drain(_ opened: QuiesceJournal.Entry) async throws -> (entry: QuiesceJournal.Entry, remarks: [String]) {
        var entry = opened
        var remarks: [String] = []
        func say(_ remark: String) {
            remarks.append(remark)
            report(.remark(remark))
        }
        let plan: DrainPlan
        do {
            plan = try await DrainPlan.make(client, for: live)
        } catch let error where policy.drain == .off && !Task.isCancelled {
            say("whether requests reach \(live.object.label) through a gateway is not known: \(error)")
            return (entry, remarks)
        }
        if policy.drain == .off {
            for target in plan.targets {
                say(
                    "\(target.label) sends requests to \(live.object.label), and its policy says not to drain it: those under way are cut off when it stops"
                )
            }
            return (entry, remarks)
        }
        // What ends by itself serves nobody: nothing is said of it for want of a permission.
        let mayServe = !live.workload.adapter.runsToCompletion || policy.drain == .required
        for refusal in plan.refusals where mayServe {
            try refuse("whether requests reach \(live.object.label) through a gateway is not known: \(refusal)", say)
        }
        for remark in plan.remarks { say(remark) }
        // What a dead holder has drained is among them.
        let left = Set(entry.targets.filter { $0.method == .drain }.map(\.uid))
        guard !plan.targets.isEmpty || !left.isEmpty else { return (entry, remarks) }
        entry = try await journal.add(plan.targets, to: entry)
        entry = try await journal.advance(entry, to: .draining)
        report(.step(.draining))
        var drained: [StopTarget] = []
        for target in entry.targets where target.method == .drain {
            let refusal: String
            do throws(any Error) {
                try await TargetSwitch(client: client).drain(target, for: live.reference)
                drained.append(target)
                continue
            } catch let error as WorkloadError {
                refusal = error.message
            } catch let error as KubernetesError where error.code == .forbidden || error.code == .invalid {
                refusal = "\(target.label) still sends requests to \(live.object.label): \(error.message)"
            }
            // What is as it was needs nobody to put it back, who may not be able to either.
            if !left.contains(target.uid) { entry = try await journal.remove(target, from: entry) }
            try refuse(refusal, say)
        }
        // Nothing ends by waiting where requests still come.
        guard !drained.isEmpty else { return (entry, remarks) }
        let outcome = try await wait(for: plan.servers, drained)
        for remark in outcome.remarks { say(remark) }
        for target in outcome.reopened {
            try refuse(
                "\(target.label) sends requests to \(live.object.label) again: somebody else changed its weights back, as GitOps does that keeps them",
                say)
        }
        if !outcome.left.isEmpty {
            let shown = outcome.left.prefix(3).joined(separator: "; ")
            let more = outcome.left.count > 3 ? "; and \(outcome.left.count - 3) more" : ""
            let words =
                "\(live.object.label) is not idle after \(Int(seconds.rounded())) s (\(shown)\(more))"
            guard policy.drain != .required else {
                throw QuiesceError(
                    .notInTime, "\(words); give it more time with \(BecalmAnnotation.drainTimeout)")
            }
            say("\(words), and is stopped all the same: what is under way has the pods' termination grace")
        }
        return (entry, remarks)
    }

    /// Seconds that its servers may take.
    private var seconds: Double {
        policy.drainTimeout.map { Double($0.nanoseconds) / 1e9 } ?? options.drainSeconds
    }

    private func wait(for servers: [DrainPlan.Server], _ routes: [StopTarget]) async throws -> IdleWait.Outcome {
        let (kept, holder) = (journal, options.holder)
        let wait = IdleWait(
            client: client, namespace: live.namespace, servers: servers, routes: routes,
            settleSeconds: options.settleSeconds
        ) { try await kept.check(holder: holder) }
        return try await wait.wait(seconds: seconds)
    }

    /// What cannot be done ends it only where the policy demands a drain.
    private func refuse(_ words: String, _ say: (String) -> Void) throws {
        guard policy.drain != .required else {
            throw QuiesceError(.refused, "\(words); its policy demands a drain (\(BecalmAnnotation.drain))")
        }
        say("\(words); those under way are cut off when it stops")
    }
}
