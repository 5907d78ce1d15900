package import Kubernetes
package import Workloads

/// Lets restored workloads go that were held until the data of their claims is there.
package struct GateLifter: Sendable {
    private let client: KubernetesClient

    package init(_ client: KubernetesClient) { self.client = client }

    /// Lets go every held workload all of whose data is there, now that that of `claim` is, but for those that wait for a user.
    /// Answers which ones. Kinds that the server does not serve, or does not let us list, hold nothing of ours.
    package func lift(namespace: String, claim: String) async throws -> [String] {
        var lifted: [String] = []
        for (gated, resource, workload) in try await find(in: namespace) {
            guard !gated.isByHand, gated.obstacle == nil, gated.missing.isEmpty, gated.incomplete.isEmpty,
                gated.unfilled.allSatisfy({ $0 == claim })
            else { continue }
            // A second mover of a claim that is whole already, of another restore of the same data, ends later.
            guard try await writer(of: gated.claims.filter { $0 != claim }, namespace: namespace) == nil else {
                continue
            }
            _ = try await lift(resource, workload)
            lifted.append(workload.object.label)
        }
        return lifted
    }

    /// What a restore holds in a namespace, kind after kind; with `claim` only what has a claim of that name. Kinds that cannot
    /// be listed are passed over. Throws `KubernetesError` where claims cannot be.
    package func held(in namespace: String, having claim: String? = nil) async throws -> [GatedWorkload] {
        try await find(in: namespace, having: claim, passesOverFailures: true).map(\.gated)
    }

    /// Whether a restore holds a workload; nil where none does. Throws `KubernetesError`.
    package func held(_ live: LiveWorkload) async throws -> GatedWorkload? {
        guard live.object.annotations[BecalmAnnotation.gated] != nil else { return nil }
        let runtime = try await RuntimeClaims(client).look(at: live.workload, namespace: live.namespace)
        return GatedWorkload(
            live.reference, live.workload, names: try await live.claims(), runtime: runtime,
            claims: try await claims(live.namespace))
    }

    /// A workload that was let go by its name.
    package struct Release: Sendable {
        /// As it was held.
        package var gated: GatedWorkload
        /// What else users should know, a line each.
        package var remarks: [String]
    }

    /// Lets a workload go that a restore holds. One whose data is not whole goes only if `takesDataAsItIs`; its claims then
    /// say that they are incomplete and not any more that they are being restored: no restore writes into them, and others that
    /// wait for them wait on. Done again after a crash, it does what is left. Throws `not_held`, `claims_not_whole`, and `busy`
    /// while a mover may write into a claim of it, or a backup holds it, too.
    package func lift(_ reference: WorkloadReference, takesDataAsItIs: Bool) async throws -> Release {
        guard !reference.isHost else {
            throw JourneyError.usage("\(reference) is a process of this machine: no restore holds it")
        }
        let live = try await WorkloadFinder(client).find(reference)
        guard let gated = try await held(live) else {
            throw JourneyError(
                .failed, kind: "not_held", "\(live.object.label) is not held by a restore: there is nothing to let go")
        }
        // What cannot be put back is told of before anything is changed.
        var trial = live.workload
        try trial.liftGate()
        if let entry = try await QuiesceJournal(client, of: live.reference).read().entry {
            throw JourneyError(
                .busy, kind: "busy",
                "\(live.object.label) is held for a backup, too, by \(entry.lease.holder): wait for that, or end it with 'becalm resume \(live.reference)'"
            )
        }
        guard takesDataAsItIs || gated.isWhole else {
            throw JourneyError(
                .failed, kind: "claims_not_whole",
                "\(live.object.label) waits for \(gated.words): wait for the restore, or, where that has failed, delete the workload and these claims and restore them again; --force has it run with what is there"
            )
        }
        try await requireNoMovers(gated, live)
        if !gated.unfilled.isEmpty {
            for claim in gated.unfilled { try await take(claim, live.namespace) }
            // One that has begun meanwhile is seen now, or has seen that it is not wanted.
            try await requireNoMovers(gated, live)
        }
        let (kept, isLeftToKueue) = try await lift(live.resource, live.workload)
        var remarks = Self.remarks(gated)
        remarks += kept.map {
            "\($0) of \(live.object.label) stays as it is: somebody has changed it since it was restored"
        }
        if isLeftToKueue { remarks.append("\(live.object.label) is in a queue: Kueue starts it when it admits it") }
        return Release(gated: gated, remarks: remarks)
    }

    private static func remarks(_ gated: GatedWorkload) -> [String] {
        gated.unfilled.map {
            "the data of claim \($0) is taken as it is: what is missing of it is not restored any more (\(RestoredObject.incomplete))"
        }
            + gated.missing.map { name in
                gated.templated.contains(name)
                    ? "claim \(name) is not there: \(gated.workload) gets an empty one, which a restore leaves as it is"
                    : "claim \(name) is not there: pods do not start before it is"
            }
    }

    // MARK: Looking

    private func claims(_ namespace: String) async throws(KubernetesError) -> [KubernetesObject] {
        try await client.list(.persistentVolumeClaims, namespace: namespace).items
    }

    private func find(
        in namespace: String, having claim: String? = nil, passesOverFailures: Bool = false
    ) async throws(KubernetesError) -> [(gated: GatedWorkload, resource: APIResource, workload: Workload)] {
        let claims = try await claims(namespace)
        let workloads = NamespaceWorkloads(client: client, passesOverFailures: passesOverFailures)
        var found: [(gated: GatedWorkload, resource: APIResource, workload: Workload)] = []
        for (resource, workload) in try await workloads.all(in: namespace) {
            guard workload.object.annotations[BecalmAnnotation.gated] != nil else { continue }
            let runtime = try await RuntimeClaims(client).look(at: workload, namespace: namespace)
            let reference = WorkloadReference(
                namespace: workload.object.namespace, kind: "\(resource)", name: workload.object.name)
            let gated = GatedWorkload(reference, workload, runtime: runtime, claims: claims)
            guard claim.map({ gated.claims.contains($0) || gated.obstacle != nil }) ?? true else { continue }
            found.append((gated, resource, workload))
        }
        return found
    }

    /// A pod that writes into the claim and may run, or a Job that may make one; nil for none. A pod may outlive its Job. Those of
    /// the run `besides` do not count. Throws `KubernetesError`.
    package func writer(
        of claim: String, namespace: String, besides run: String? = nil
    ) async throws(KubernetesError) -> KubernetesObject? {
        let options = ListOptions(labels: LabelSelector(matching: [MoverJob.claimLabel: MoverJob.name("", claim)]))
        let jobs = try await client.list(.jobs, namespace: namespace, options).items
            .filter { !MoverStanding.isOver($0) && MoverJob.writes($0["spec", "template", "spec"]) }
        let pods = try await client.list(.pods, namespace: namespace, options).items
            .filter { $0.mayRun && MoverJob.writes($0["spec"]) }
        return (jobs + pods).first { run == nil || $0.labels[BecalmAnnotation.run] != run }
    }

    private func writer(of claims: [String], namespace: String) async throws -> KubernetesObject? {
        for claim in claims {
            if let writer = try await writer(of: claim, namespace: namespace) { return writer }
        }
        return nil
    }

    /// Throws `busy` while something may write into one of its claims, those included that are yet to be.
    private func requireNoMovers(_ gated: GatedWorkload, _ live: LiveWorkload) async throws {
        guard let mover = try await writer(of: gated.claims, namespace: live.namespace) else { return }
        throw JourneyError(
            .busy, kind: "busy",
            "\(mover.label) may still write into a claim of \(live.object.label): wait until it has ended; deleting a mover's Job ends it"
        )
    }

    // MARK: Changing

    /// Says of a claim that is not whole that nobody is to fill it any more. Throws `.conflict` where it was changed meanwhile.
    private func take(_ name: String, _ namespace: String) async throws(KubernetesError) {
        guard let claim = try await client.find(.persistentVolumeClaims, namespace: namespace, name: name),
            let text = claim.annotations[RestoredObject.restoring]
        else { return }
        let annotations: JSONValue = [
            RestoredObject.incomplete: .string(text), RestoredObject.restoring: .null,
            RestoredObject.restoreBegins: .null,
        ]
        _ = try await client.patch(
            .persistentVolumeClaims, namespace: namespace, name: name,
            .merge([
                "metadata": ["annotations": annotations, "resourceVersion": .string(claim.resourceVersion)]
            ]))
    }

    /// Answers the fields that somebody else has changed, which stay as they are, and whether they are left to Kueue.
    private func lift(
        _ resource: APIResource, _ workload: Workload
    ) async throws -> (kept: [FieldPath], isLeftToKueue: Bool) {
        let kueue = KueueWorkload().kind
        let kueueIsServed = try await client.resource(group: kueue.group, kind: kueue.kind) != nil
        let adapter = workload.adapter
        var kept: [FieldPath] = []
        _ = try await client.updating(resource, namespace: workload.object.namespace, name: workload.object.name) {
            (object) throws(WorkloadError) in
            var workload = Workload(object, adapter)
            kept = try workload.liftGate(kueueIsServed: kueueIsServed)
            object = workload.object
        }
        return (kept, kueueIsServed && workload.isStartedByKueue)
    }
}
