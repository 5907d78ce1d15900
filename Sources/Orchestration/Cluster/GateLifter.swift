package import Kubernetes
package import Workloads

/// Lets restored workloads go that were held until the data of their claims is there.
package struct GateLifter: Sendable {
    private let client: KubernetesClient

    package init(_ client: KubernetesClient) { self.client = client }

    /// Lets go every held workload that has `claim`, whose data is whole, and no other claim that is missing or still being
    /// restored. Answers which ones. Kinds that the server does not serve, or does not let us list, hold nothing of ours.
    package func lift(namespace: String, claim: String) async throws -> [String] {
        var lifted: [String] = []
        for (gated, resource, workload) in try await find(in: namespace) {
            guard workload.claims.contains(where: { $0.name == claim }),
                gated.missing.isEmpty, gated.unfilled.allSatisfy({ $0 == claim })
            else { continue }
            _ = try await lift(resource, workload)
            lifted.append(workload.object.label)
        }
        return lifted
    }

    /// What a restore holds in a namespace, kind after kind. Throws `KubernetesError`.
    package func held(in namespace: String) async throws -> [GatedWorkload] {
        try await find(in: namespace).map(\.gated)
    }

    /// Whether a restore holds a workload; nil where none does. Throws what `WorkloadFinder.find` throws.
    package func held(_ reference: WorkloadReference) async throws -> GatedWorkload? {
        let live = try await WorkloadFinder(client).find(reference)
        guard live.object.annotations[BecalmAnnotation.gated] != nil else { return nil }
        return GatedWorkload(live.reference, live.workload, claims: try await claims(live.namespace))
    }

    /// A workload that was let go by its name.
    package struct Release: Sendable {
        /// As it was held.
        package var gated: GatedWorkload
        /// What else users should know, a line each.
        package var remarks: [String]
    }

    /// Lets a workload go that a restore holds. One whose data is not whole goes only if `takesDataAsItIs`; then its claims do
    /// not say any more that they are being restored, so that no later restore writes into them. Done again after a crash, it
    /// does what is left. Throws `not_held`, `claims_not_whole`, and `busy` while a mover writes into a claim.
    package func lift(_ reference: WorkloadReference, takesDataAsItIs: Bool) async throws -> Release {
        guard !reference.isHost else {
            throw JourneyError.usage("\(reference) is a process of this machine: no restore holds it")
        }
        let live = try await WorkloadFinder(client).find(reference)
        guard live.object.annotations[BecalmAnnotation.gated] != nil else {
            throw JourneyError(
                .failed, kind: "not_held", "\(live.object.label) is not held by a restore: there is nothing to let go")
        }
        let gated = GatedWorkload(live.reference, live.workload, claims: try await claims(live.namespace))
        try await requireNoMovers(gated, live)
        guard takesDataAsItIs || gated.isWhole else {
            throw JourneyError(
                .failed, kind: "claims_not_whole",
                "\(live.object.label) waits for \(gated.words): wait for its restore, or, where that has failed, delete it and these claims and restore them again; --force has it run with what is there"
            )
        }
        for claim in gated.unfilled {
            _ = try await client.patch(
                .persistentVolumeClaims, namespace: live.namespace, name: claim,
                .merge([
                    "metadata": [
                        "annotations": [RestoredObject.restoring: .null, RestoredObject.restoreBegins: .null]
                    ]
                ]))
        }
        let kept = try await lift(live.resource, live.workload)
        var remarks = kept.map {
            "\($0) of \(live.object.label) stays as it is: somebody has changed it since it was restored"
        }
        if !gated.unfilled.isEmpty {
            remarks.append(
                "the data of \(gated.unfilled.joined(separator: ", ")) is taken as it is: what is missing of it is not restored any more"
            )
        }
        return Release(gated: gated, remarks: remarks)
    }

    // MARK: Looking

    private func claims(_ namespace: String) async throws(KubernetesError) -> [KubernetesObject] {
        try await client.list(.persistentVolumeClaims, namespace: namespace).items
    }

    private func find(
        in namespace: String
    ) async throws(KubernetesError) -> [(gated: GatedWorkload, resource: APIResource, workload: Workload)] {
        let claims = try await claims(namespace)
        return try await NamespaceWorkloads(client: client).all(in: namespace).compactMap { resource, workload in
            guard workload.object.annotations[BecalmAnnotation.gated] != nil else { return nil }
            let reference = WorkloadReference(
                namespace: workload.object.namespace, kind: "\(resource)", name: workload.object.name)
            return (GatedWorkload(reference, workload, claims: claims), resource, workload)
        }
    }

    /// Throws `busy` when a Job of ours that has not come to its end has one of the claims.
    private func requireNoMovers(_ gated: GatedWorkload, _ live: LiveWorkload) async throws {
        for claim in gated.unfilled {
            let selector = LabelSelector(matching: [MoverJob.claimLabel: MoverJob.name("", claim)])
            let jobs = try await client.list(.jobs, namespace: live.namespace, ListOptions(labels: selector)).items
            guard let job = jobs.first(where: { !MoverStanding.isOver($0) }) else { continue }
            throw JourneyError(
                .busy, kind: "busy",
                "\(job.label) writes into the claim \(claim) of \(live.object.label): wait for it, or delete that Job first"
            )
        }
    }

    /// Answers the fields that somebody else has changed, which stay as they are.
    private func lift(_ resource: APIResource, _ workload: Workload) async throws -> [FieldPath] {
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
        return kept
    }
}
