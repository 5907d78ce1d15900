internal import Basics
internal import Kubernetes
internal import Logging
internal import Orchestration
internal import Workloads

/// `becalm.io/quiesce`: looks at workloads that users marked, writes down in the backup what it found, and has what they
/// need backed up with them.
///
/// With `mode: hold` it brings them to a standstill, too (`BackupHolds`): at the first call about the workload, its pods or
/// its claims, which mostly is one of `becalm.io/training-group`. An operation of the backup lets them go when the data of
/// their claims is stored, or cut as snapshots. With `mode: observe` it changes nothing in the cluster, and a workload that
/// runs though it should not is told as a warning.
struct QuiesceAction: BackupItemAction {
    let name = PluginName.quiesce
    private let environment: PluginEnvironment

    init(_ environment: PluginEnvironment) { self.environment = environment }

    /// A workload is stopped before its pods and claims, whichever comes first.
    private static let partResources = ["pods", ResourceKind.persistentVolumeClaim.resource]

    func appliesTo() async throws(VeleroError) -> ResourceSelector {
        let settings = try await BackupHolds(environment, for: .selection).settings
        let more = settings.mode == .hold ? Self.partResources.filter { !settings.resources.contains($0) } : []
        return ResourceSelector(resources: settings.resources + more)
    }

    func execute(item: [UInt8], backup: [UInt8]) async throws(VeleroError) -> BackupItemOutcome {
        let object = try ActionItem.object(item)
        let backup = try VeleroBackup(parsing: backup)
        var outcome = BackupItemOutcome(item: item)
        guard !backup.isFinalizing else { return outcome }
        let holds = try await BackupHolds(environment, for: .backup)
        let held = await holds.take(object, backup)
        // Once is enough for each; a process that died may not have told it. Velero takes one of an item: what else holds a
        // claim is told of by its own items.
        outcome.operation = held.lazy.filter { $0.record.state == .held && $0.record.asked != .checkpoint }
            .compactMap { try? $0.hold.identifier.text() }.first { environment.reported.isNew($0) }
        guard var workload = WorkloadCatalog.standard.workload(object) else { return outcome }
        if workload.kind == Pod().kind {
            // A pod that was stopped is made anew by its workload, and must not be restored beside it.
            guard let (hold, record) = held.first(where: { $0.record.standsStill && $0.hold.uid != object.uid }) else {
                return outcome
            }
            var found = CaptureRecord(workload, QuiescePolicy(consistency: record.asked))
            found.heldWith = "\(hold.reference)"
            workload.annotate(BecalmAnnotation.captured, found.text)
            outcome.item = workload.object.serialized()
            return outcome
        }
        // What another workload manages is stopped with that one.
        if let owner = object.controller, WorkloadCatalog.standard.kind(of: owner) != nil { return outcome }
        let mine = held.first { $0.hold.uid == object.uid }?.record
        let policy = holds.policy(object) ?? mine.map { QuiescePolicy(consistency: $0.asked) }
        guard workload.completion == nil, let policy else { return outcome }
        let record = CaptureRecord(workload, policy, mine)
        if mine == nil { report(workload, record, holds) }
        workload.annotate(BecalmAnnotation.captured, record.text)
        outcome.item = workload.object.serialized()
        outcome.additionalItems = workload.references()
            .filter { !$0.isOptional && $0.role != .owner }.map { ResourceIdentifier($0) }
        return outcome
    }

    /// Tells what the user should know of this backup.
    private func report(_ workload: Workload, _ record: CaptureRecord, _ holds: BackupHolds) {
        let metadata = holds.metadata(workload.object)
        for finding in workload.findings {
            environment.logger.log(
                level: finding.severity == .refusal ? .warning : .info, "\(finding.message)", metadata: metadata)
        }
        guard !record.isStopped, record.asked != .checkpoint else { return }
        environment.logger.warning(
            """
            \(workload.object.label) runs while it is backed up, though \(record.asked.rawValue) is asked for: stop it before \
            the backup, or its volumes are stored as they change
            """, metadata: metadata)
    }

    // MARK: Operations

    /// The hold that an operation of this backup is about; nil without a cluster.
    private func hold(_ identifier: OperationIdentifier, _ backup: [UInt8]) async throws(VeleroError) -> WorkloadHold? {
        guard let client = try await environment.cluster.client() else { return nil }
        let name = (try? VeleroBackup(parsing: backup).name) ?? ""
        return WorkloadHold(
            client: client, environment: environment, run: identifier.run, backupName: name, uid: identifier.uid,
            reference: WorkloadReference(identifier.subject))
    }

    func progress(operation: String, backup: [UInt8]) async throws(VeleroError) -> OperationStatus {
        let identifier: OperationIdentifier
        do throws(OperationAnswers.Refusal) {
            identifier = try OperationAnswers.identify(operation, of: backup, kinds: [.quiesce])
        } catch {
            return error.status
        }
        var status = OperationStatus(.running)
        do {
            guard let record = try await hold(identifier, backup)?.advance() else {
                return OperationAnswers.unknown(identifier)
            }
            let pause = record.pauseSeconds.map { ", stood still for \(Int($0.rounded())) s" } ?? ""
            switch record.state {
            case .stopping, .held, .releasing: status.description = "it stands still until its volumes are taken"
            case .others:
                status.outcome = .succeeded
                status.description = record.reason
            case .released:
                status.outcome = .succeeded
                status.description =
                    record.asked == .stop ? "its volumes are taken, and it stays stopped" : "it runs\(pause)"
            case .failed: status.outcome = .failed(record.reason + pause)
            }
        } catch {
            // What may pass; Velero's own time limit, and the journal's deadline, end what does not.
            status.description = "not known for now: \(error)"
        }
        status.updated = environment.clock.now()
        return status
    }

    func cancel(operation: String, backup: [UInt8]) async throws(VeleroError) {
        let identifier = try? OperationAnswers.identify(operation, of: backup, kinds: [.quiesce])
        guard let identifier else { return OperationAnswers.cancel(operation, environment.logger) }
        do {
            try await hold(identifier, backup)?.cancel()
        } catch {
            throw VeleroError(
                error, doing: "\(WorkloadReference(identifier.subject)) cannot be let go, which happens at its deadline"
            )
        }
    }
}
