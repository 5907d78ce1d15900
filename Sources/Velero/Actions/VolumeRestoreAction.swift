internal import Kubernetes
internal import Logging
internal import Orchestration
internal import Repository
internal import RepositoryFormat
internal import Workloads

/// `becalm.io/volume-restore`: leaves out claims that their pods get anew, and has a Job of the cluster bring back the data
/// of those that `becalm.io/volume-backup` stored.
///
/// The Job's pod waits for the claim, which Velero creates after the call. Where the claim's volume is made for the first pod
/// that wants it (`WaitForFirstConsumer`), the Job begins when Velero asks for the first time how far it is: all else of the
/// restore is there by then, and the volume is made where the workload's pods can run, together with their others. Until its data is whole, the claim has the
/// annotation `becalm.io/restoring`; then workloads that are held and all of whose claims are whole are let go. A claim that
/// is there already keeps its data.
///
/// Claims that controllers make of templates (of StatefulSets, LeaderWorkerSets, JobSets) are restored: the controllers
/// take a claim that is there under the name, and its data is what a backup is for.
struct VolumeRestoreAction: RestoreItemAction {
    let name = PluginName.volumeRestore
    private let environment: PluginEnvironment

    init(_ environment: PluginEnvironment) { self.environment = environment }

    private enum EphemeralClaims: String, CaseIterable { case skip, restore }

    /// What the ConfigMap says.
    private struct Settings {
        var ephemeralClaims: EphemeralClaims
        /// Where data comes from; nil where nothing is said of it.
        var mover: MoverConfiguration?

        init(_ configuration: inout PluginConfiguration, _ environment: PluginEnvironment) throws(VeleroError) {
            ephemeralClaims = try configuration.choice("ephemeralClaims", default: .skip)
            mover = try MoverConfiguration(&configuration, environment)
        }
    }

    private func settings(for use: PluginConfiguration.Use) async throws(VeleroError) -> Settings {
        try await PluginConfiguration.settings(name, environment, for: use) { (configuration) throws(VeleroError) in
            try Settings(&configuration, environment)
        }
    }

    func appliesTo() async throws(VeleroError) -> ResourceSelector {
        return ResourceSelector(resources: [ResourceKind.persistentVolumeClaim.resource])
    }

    func execute(
        item: [UInt8], original: [UInt8], restore: [UInt8]
    ) async throws(VeleroError) -> RestoreItemOutcome {
        let claim = try ActionItem.object(item)
        let stored = try ActionItem.object(original, "the item of the backup")
        let restore = try VeleroRestore(parsing: restore)
        var outcome = RestoreItemOutcome(item: item)
        guard ResourceKind.persistentVolumeClaim.matches(claim) else { return outcome }
        let settings = try await settings(for: .restore)
        if settings.ephemeralClaims == .skip, EphemeralClaim.isOne(stored) {
            environment.logger.info(
                "\(claim.label) is not restored: it belongs to a pod, which gets a new one",
                metadata: ["namespace": "\(claim.namespace)", "name": "\(claim.name)"])
            outcome.isSkipped = true
            return outcome
        }
        guard let text = stored.annotations[BecalmAnnotation.volumeSnapshot] else {
            outcome.item = await plain(claim, restore)?.serialized() ?? item
            return outcome
        }
        guard let snapshot = ClaimSnapshot(text) else {
            throw VeleroError(
                .failed,
                "\(claim.label) is not restored, for it would be empty: its data was stored by a newer version of Becalm's "
                    + "plugin; restore with that version")
        }
        guard !restore.isFinalizing else { return outcome }
        do {
            return try await begin(claim, snapshot, restore, settings)
        } catch {
            throw VeleroError(error, doing: "\(claim.label) is not restored, for it would be empty")
        }
    }

    /// A claim whose data is not ours to bring back, with what is so of its data: that of the claim which is there, or what was so
    /// when it was stored. Nil where there is nothing to change.
    private func plain(_ claim: KubernetesObject, _ restore: VeleroRestore) async -> KubernetesObject? {
        var made = claim
        let there: KubernetesObject?
        do {
            there = try await environment.cluster.client()?.find(
                .persistentVolumeClaims, namespace: restore.target(of: claim.namespace), name: claim.name)
        } catch {
            environment.logger.info("whether \(claim.label) is there is not known: \(error)")
            there = nil
        }
        if let there {
            RestoredObject.copyMarks(of: there, to: &made)
        } else {
            RestoredObject.carryMarks(&made)
        }
        if made.annotations[RestoredObject.incomplete] != nil {
            environment.logger.warning(
                "\(claim.label) is not known to be whole: a restore into it had not come to its end when it was stored",
                metadata: ["namespace": "\(claim.namespace)", "name": "\(claim.name)"])
        }
        return made == claim ? nil : made
    }

    // MARK: Moving

    /// Begins to bring the data back.
    private func begin(
        _ claim: KubernetesObject, _ snapshot: ClaimSnapshot, _ restore: VeleroRestore, _ settings: Settings
    ) async throws -> RestoreItemOutcome {
        guard !restore.uid.isEmpty else {
            throw VeleroError(.invalidArgument, "the restore has no uid; this is a fault of who sent it")
        }
        let movers = try await VolumeMovers(settings.mover, environment)
        let namespace = restore.target(of: claim.namespace)
        let text = "\(snapshot)"
        let there = try await movers.client.find(.persistentVolumeClaims, namespace: namespace, name: claim.name)
        if let there, there.annotations[RestoredObject.restoring] != text {
            environment.logger.warning(
                "\(there.label) is there already and keeps the data that it has: delete it first to have that restored",
                metadata: ["namespace": "\(namespace)", "name": "\(claim.name)"])
            // What a restore that updates what is there writes.
            var kept = claim
            kept.setAnnotation(BecalmAnnotation.volumeSnapshot, nil)
            RestoredObject.copyMarks(of: there, to: &kept)
            return RestoreItemOutcome(item: kept.serialized())
        }
        let repository = try await movers.open()
        guard repository.config.repositoryID == snapshot.id.repository else {
            throw VeleroError(
                .notFound,
                "its data is in repository \(snapshot.id.repository), and the configured one is \(repository.config.repositoryID): name the other one in the plugin's ConfigMap"
            )
        }
        let found = try await repository.findSnapshot("\(snapshot.id.snapshot)")
        var made = try RestoredObject.claim(claim, namespace: claim.namespace, classes: [:], snapshot: text)
        made.setAnnotation(BecalmAnnotation.volumeSnapshot, nil)
        // Less than the device had takes nothing of it.
        if made.isBlockVolume, let manifest = found.manifest {
            try made.requestStorage(Quantity.device(bytes: manifest.totals.bytes))
        }
        let subject = Self.subject(restore, namespace, claim.name)
        guard try await isLate(there, made, movers, restore) else {
            var outcome = RestoreItemOutcome(item: made.serialized())
            outcome.operation = try await movers.start(
                .restore(snapshot: "\(snapshot.id.snapshot)", path: [MoverJob.volumeName]), subject,
                isBlock: claim.isBlockVolume, placement: MoverPlacement(), timeout: restore.itemOperationTimeout)
            if there != nil { try await requireMark(subject.identifier, movers.client) }
            return outcome
        }
        made.setAnnotation(RestoredObject.restoreBegins, restore.uid)
        var outcome = RestoreItemOutcome(item: made.serialized())
        outcome.operation = try subject.identifier.text()
        return outcome
    }

    /// Whether the mover begins when the workload is there. A claim that an earlier restore of the same data has left, which
    /// Velero leaves as it is, is told whose it is now: that of the earlier one does not begin any more.
    private func isLate(
        _ there: KubernetesObject?, _ made: KubernetesObject, _ movers: VolumeMovers, _ restore: VeleroRestore
    ) async throws -> Bool {
        guard try await ClaimBinding(movers.client).mayWait(there ?? made) else { return false }
        // What keeps every mover from its repository is told now, while nothing is there yet.
        _ = try await movers.configuration.access(environment)
        if let there {
            _ = try await movers.client.patch(
                .persistentVolumeClaims, namespace: there.namespace, name: there.name,
                .merge(["metadata": ["annotations": [RestoredObject.restoreBegins: .string(restore.uid)]]]))
        }
        return true
    }

    /// The claim has no uid yet: a restore makes it once.
    private static func subject(
        _ restore: VeleroRestore, _ namespace: String, _ name: String
    ) -> VolumeMovers.Subject {
        VolumeMovers.Subject(kind: .volumeRestore, run: restore.uid, namespace: namespace, name: name, uid: "")
    }

    /// Begins what was to begin when all of the restore is there. Once that is done the claim says so no more; until then
    /// each call does it again, which changes nothing of what is done. Answers what it waits for; nil for nothing.
    private func beginLate(_ identifier: OperationIdentifier, _ restore: [UInt8]) async throws -> String? {
        guard let client = try await environment.cluster.client() else { return nil }
        let (namespace, name) = (identifier.watched.namespace, identifier.subject.name)
        let claim = try await client.find(.persistentVolumeClaims, namespace: namespace, name: name)
        guard let claim, claim.annotations[RestoredObject.restoreBegins] == identifier.run,
            let snapshot = claim.annotations[RestoredObject.restoring].flatMap(ClaimSnapshot.init)
        else { return nil }
        let restore = try VeleroRestore(parsing: restore)
        let movers = try await VolumeMovers(await mover(), environment)
        let plan = try await ClaimBinding(client).plan(for: claim)
        var placement = plan.placement
        if plan.waits {
            switch try await binding(plan, identifier, movers).advance() {
            case .bound:
                // Since the claim was looked at: with the volume is known who has it.
                let bound = try await client.get(.persistentVolumeClaims, namespace: namespace, name: name)
                placement = try await ClaimBinding(client).plan(for: bound).placement
            case .waiting(let reason):
                let words = reason.isEmpty ? "" : ": \(reason)"
                return "volumes are made together: \(plan.together.joined(separator: ", "))\(words)"
            case .apart(let reason):
                environment.logger.warning(
                    "\(claim.label) gets a volume by itself, which may be where no pod can have it and the others of its pod (\(plan.together.joined(separator: ", "))): \(reason)",
                    metadata: ["namespace": "\(namespace)", "name": "\(name)"])
            }
        } else if !plan.together.isEmpty {
            try await binding(plan, identifier, movers).remove()
        }
        _ = try await movers.start(
            .restore(snapshot: "\(snapshot.id.snapshot)", path: [MoverJob.volumeName]),
            Self.subject(restore, namespace, name), isBlock: claim.isBlockVolume,
            placement: placement, timeout: restore.itemOperationTimeout)
        try await requireMark(identifier, client)
        try await markBegun(claim, client)
        return nil
    }

    /// Ends a mover that has been begun for a claim of which somebody has said meanwhile that it is not to be filled any more,
    /// and throws; who says so looks for movers after that (`GateLifter`), so that one of the two sees the other.
    private func requireMark(_ identifier: OperationIdentifier, _ client: KubernetesClient) async throws {
        let (namespace, name) = (identifier.watched.namespace, identifier.subject.name)
        let claim = try await client.find(.persistentVolumeClaims, namespace: namespace, name: name)
        guard let claim, claim.annotations[RestoredObject.restoring] == nil else { return }
        try await VolumeMovers.cancel(identifier, environment, configuration: mover)
        throw VeleroError(
            .failed, "\(claim.label) is not to be filled any more: somebody has its workload run with what is there")
    }

    /// What makes the volumes of one pod: the same for all of its claims.
    private func binding(
        _ plan: ClaimBinding.Plan, _ identifier: OperationIdentifier, _ movers: VolumeMovers
    ) -> DetachedBinding {
        DetachedBinding(
            movers.client, namespace: identifier.watched.namespace, run: identifier.run, plan,
            settings: movers.configuration.movers)
    }

    /// Has nothing begin any more.
    private func forgetBeginning(_ identifier: OperationIdentifier) async throws(VeleroError) {
        do {
            guard let client = try await environment.cluster.client() else { return }
            let claim = try await client.find(
                .persistentVolumeClaims, namespace: identifier.watched.namespace, name: identifier.subject.name)
            guard let claim, claim.annotations[RestoredObject.restoreBegins] == identifier.run else { return }
            try await markBegun(claim, client)
            let plan = try await ClaimBinding(client).plan(for: claim)
            if !plan.together.isEmpty {
                try await binding(plan, identifier, VolumeMovers(await mover(), environment)).remove()
            }
        } catch {
            throw VeleroError(error, doing: "the restore of \(identifier.subject.name) cannot be kept from beginning")
        }
    }

    private func markBegun(_ claim: KubernetesObject, _ client: KubernetesClient) async throws {
        _ = try await client.patch(
            .persistentVolumeClaims, namespace: claim.namespace, name: claim.name,
            .merge(["metadata": ["annotations": [RestoredObject.restoreBegins: .null]]]))
    }

    /// Says that a claim's data is whole, and lets go what waited for it.
    private func finish(
        _ identifier: OperationIdentifier, _ ending: DetachedMover.Ending, _ client: KubernetesClient
    ) async throws {
        let (namespace, name) = (identifier.watched.namespace, identifier.subject.name)
        // What lacks something is for people to look at.
        guard ending.result.status == .done else { return }
        let claim = try await client.find(.persistentVolumeClaims, namespace: namespace, name: name)
        guard let claim, let text = claim.annotations[RestoredObject.restoring],
            let snapshot = ClaimSnapshot(text), "\(snapshot.id.snapshot)" == ending.result.snapshot
        else { return }
        let lifter = GateLifter(client)
        // Of another restore of the same data, which ends later.
        guard try await lifter.writer(of: name, namespace: namespace, besides: mover(identifier)) == nil else { return }
        for label in try await lifter.lift(namespace: namespace, claim: name) {
            environment.logger.info("\(label) is let go: the data of all its claims is there")
        }
        _ = try await client.patch(
            .persistentVolumeClaims, namespace: namespace, name: name,
            .merge(["metadata": ["annotations": [RestoredObject.restoring: .null]]]))
    }

    /// The run of an operation's mover.
    private func mover(_ identifier: OperationIdentifier) -> String {
        DetachedMover.run(ofLease: identifier.watched.name) ?? ""
    }

    private func mover() async -> MoverConfiguration? { try? await settings(for: .backup).mover }

    func progress(operation: String, restore: [UInt8]) async throws(VeleroError) -> OperationStatus {
        do throws(OperationAnswers.Refusal) {
            let identifier = try OperationAnswers.identify(operation, of: restore, kinds: [.volumeRestore])
            var status = await VolumeMovers.status(identifier, environment, configuration: mover) {
                try await beginLate(identifier, restore)
            } finish: { client, ending in
                try await finish(identifier, ending, client)
            }
            if case .failed(let reason) = status.outcome {
                status.outcome = .failed(reason + (await stillHeld(identifier)))
            }
            return status
        } catch {
            return error.status
        }
    }

    /// What waits for data that does not come, in words that follow why; empty where that is nothing, or cannot be seen.
    private func stillHeld(_ identifier: OperationIdentifier) async -> String {
        do {
            guard let client = try await environment.cluster.client() else { return "" }
            let held = try await GateLifter(client).held(
                in: identifier.watched.namespace, having: identifier.subject.name)
            guard let first = held.first else { return "" }
            let others = held.count > 1 ? " and \(held.count - 1) more" : ""
            return
                "; \(first.workload)\(others) stays held: restore again, or 'becalm resume --restored --force' has it run with what is there"
        } catch {
            environment.logger.info("what waits for \(identifier.subject.name) is not known: \(error)")
            return ""
        }
    }

    func cancel(operation: String, restore: [UInt8]) async throws(VeleroError) {
        let identifier = try? OperationAnswers.identify(operation, of: restore, kinds: [.volumeRestore])
        guard let identifier else { return OperationAnswers.cancel(operation, environment.logger) }
        // Both, whatever becomes of one of them: Velero does not ask again.
        var failure: VeleroError?
        do throws(VeleroError) { try await forgetBeginning(identifier) } catch { failure = error }
        try await VolumeMovers.cancel(identifier, environment, configuration: mover)
        if let failure { throw failure }
    }

    /// Nothing is waited for; Velero asks only about what an outcome asked it to wait for.
    func areReady(_ items: [ResourceIdentifier], restore: [UInt8]) async throws(VeleroError) -> Bool { true }
}
