internal import Kubernetes
internal import Logging
internal import Orchestration
internal import Workloads

/// `becalm.io/volume-backup`: decides which claims' data is Becalm's to store, by the backup's volume policies and the
/// claims' annotations, and has a Job of the cluster store it.
///
/// Data is read from the volume, or from a copy made of a CSI snapshot (`source`), which the call has cut; the Job's pod waits
/// until the copy is there. The Job goes on after the call, as an operation of the backup. When it has ended, the stored claim is given the
/// annotation `becalm.io/volume-snapshot`, which says where its data is. What keeps a Job from beginning is told as an
/// error of the backup; the claim itself stays in it.
struct VolumeBackupAction: BackupItemAction {
    let name = PluginName.volumeBackup
    private let environment: PluginEnvironment

    init(_ environment: PluginEnvironment) { self.environment = environment }

    private enum Volumes: String, CaseIterable { case marked, all }

    /// What the ConfigMap says.
    private struct Settings {
        /// Volumes that no policy speaks of: those that are marked, or all.
        var volumes: Volumes
        /// Where volumes are read that no policy says it of.
        var source: VolumeSource
        var limits = SnapshotLimits()
        /// Movers side by side on a volume that many nodes can mount, where no policy says it.
        var shards: Int
        /// Where data goes; nil where nothing is said of it.
        var mover: MoverConfiguration?

        init(_ configuration: inout PluginConfiguration, _ environment: PluginEnvironment) throws(VeleroError) {
            volumes = try configuration.choice("volumes", default: .marked)
            source = try configuration.choice("source", default: .auto)
            shards = try configuration.number("shards", default: 1, in: MoverParameters.shardRange)
            let most = GoDuration(seconds: Int64(SnapshotLimits.longestSeconds))
            limits.cutSeconds = Double(
                try configuration.duration(
                    "snapshotTimeout", default: GoDuration(seconds: Int64(limits.cutSeconds)), most: most
                ).seconds)
            limits.readySeconds = Double(
                try configuration.duration(
                    "snapshotReadyTimeout", default: GoDuration(seconds: Int64(limits.readySeconds)), most: most
                ).seconds)
            mover = try MoverConfiguration(&configuration, environment)
        }
    }

    /// Whose volume it is.
    enum Decision: Hashable {
        /// Ours, with how it is read.
        case ours(MoverParameters)
        /// Not ours, and why.
        case others(String)
    }

    private func settings(for use: PluginConfiguration.Use) async throws(VeleroError) -> Settings {
        try await PluginConfiguration.settings(name, environment, for: use) { (configuration) throws(VeleroError) in
            try Settings(&configuration, environment)
        }
    }

    func appliesTo() async throws(VeleroError) -> ResourceSelector {
        return ResourceSelector(resources: [ResourceKind.persistentVolumeClaim.resource])
    }

    func execute(item: [UInt8], backup: [UInt8]) async throws(VeleroError) -> BackupItemOutcome {
        let claim = try ActionItem.object(item)
        let backup = try VeleroBackup(parsing: backup)
        guard ResourceKind.persistentVolumeClaim.matches(claim) else { return BackupItemOutcome(item: item) }
        let unchanged = BackupItemOutcome(item: Self.withoutPlace(claim)?.serialized() ?? item)
        if backup.isFinalizing { return await finished(claim, backup) ?? unchanged }
        let settings = try await settings(for: .backup)
        let metadata: Logger.Metadata = ["namespace": "\(claim.namespace)", "name": "\(claim.name)"]
        if RestoredObject.isPartial(claim) {
            environment.logger.warning(
                "\(claim.label) is not known to be whole, whoever stores its data: a restore into it is at work, or has failed; what is stored says so when it is restored",
                metadata: metadata)
        }
        let decision: Decision
        do throws(VeleroError) {
            decision = try await decide(claim, backup, settings.volumes)
        } catch {
            // As below: the claim itself stays in the backup.
            environment.logger.error(
                "whether the data of \(claim.label) is Becalm's to store cannot be told, and nobody may have stored it: \(error)",
                metadata: metadata)
            return unchanged
        }
        switch decision {
        case .others(let reason):
            environment.logger.debug("\(claim.label) is not Becalm's to store: \(reason)", metadata: metadata)
        case .ours(let parameters):
            do {
                var outcome = unchanged
                outcome.operation = try await begin(claim, backup, parameters, settings)
                outcome.postOperationItems = [
                    ResourceIdentifier(.persistentVolumeClaim, namespace: claim.namespace, name: claim.name)
                ]
                return outcome
            } catch {
                // Not an error of the call, which would keep the claim itself out of the backup.
                environment.logger.error(
                    "the data of \(claim.label) is not in this backup: it is given to Becalm, and \(error)",
                    metadata: metadata)
            }
        }
        return unchanged
    }

    /// The claim without where data of another backup is, which it may have of a restore; nil where it says none.
    private static func withoutPlace(_ claim: KubernetesObject) -> KubernetesObject? {
        guard claim.annotations[BecalmAnnotation.volumeSnapshot] != nil else { return nil }
        var claim = claim
        claim.setAnnotation(BecalmAnnotation.volumeSnapshot, nil)
        return claim
    }

    // MARK: Moving

    private func subject(_ claim: KubernetesObject, _ backup: VeleroBackup) -> VolumeMovers.Subject {
        VolumeMovers.Subject(
            kind: .volumeBackup, run: backup.uid, namespace: claim.namespace, name: claim.name, uid: claim.uid)
    }

    /// Begins to store a claim's data; answers the operation.
    private func begin(
        _ claim: KubernetesObject, _ backup: VeleroBackup, _ parameters: MoverParameters, _ settings: Settings
    ) async throws -> String {
        guard !backup.uid.isEmpty else {
            throw VeleroError(.invalidArgument, "the backup has no uid; this is a fault of who sent it")
        }
        let movers = try await VolumeMovers(settings.mover, environment)
        do {
            let subject = subject(claim, backup)
            let source = parameters.source ?? settings.source
            let pods = try await movers.client.list(.pods, namespace: claim.namespace).items
            let copying = try await movers.copying(claim, subject, source: source, limits: settings.limits)
            // A copy is one node's, and a device is read by one.
            let isShared = copying == nil && !claim.isBlockVolume && claim.accessModes.contains("ReadWriteMany")
            let shards = isShared ? parameters.shards ?? settings.shards : 1
            return try await movers.start(
                .backup(shard: shards > 1 ? nil : 0, of: shards), subject, isBlock: claim.isBlockVolume,
                copying: copying,
                placement: MoverPlacement(of: claim, pods: pods), timeout: backup.itemOperationTimeout)
        } catch {
            throw VeleroError(error, doing: "its mover cannot be started")
        }
    }

    /// The claim with where its data is, once its mover has ended; nil where nothing was moved for it.
    private func finished(_ claim: KubernetesObject, _ backup: VeleroBackup) async -> BackupItemOutcome? {
        let metadata: Logger.Metadata = ["namespace": "\(claim.namespace)", "name": "\(claim.name)"]
        do {
            guard let client = try await environment.cluster.client(),
                let mover = VolumeMovers.mover(subject(claim, backup).identifier, client),
                case .ended(let ending) = try await mover.standing(), let place = ClaimSnapshot(ending)
            else { return nil }
            var stored = claim
            stored.setAnnotation(BecalmAnnotation.volumeSnapshot, "\(place)")
            return BackupItemOutcome(item: stored.serialized())
        } catch {
            environment.logger.error(
                "where the data of \(claim.label) is stored cannot be written down: \(error)", metadata: metadata)
            return nil
        }
    }

    /// Where data goes, for calls that are about operations; nil where that cannot be told now.
    private func mover() async -> MoverConfiguration? { try? await settings(for: .backup).mover }

    /// Whose a volume is. A policy of the backup decides; where none speaks of it, the claim's annotation, then `volumes`.
    private func decide(
        _ claim: KubernetesObject, _ backup: VeleroBackup, _ volumes: Volumes
    ) async throws(VeleroError) -> Decision {
        if claim["spec", "volumeName"]?.string?.isEmpty ?? true { return .others("it has no volume") }
        if EphemeralClaim.isOne(claim) { return .others("it is deleted with its pod") }
        if let policies = try await BackupPolicies(of: backup, environment) {
            let decision = try await policies.decide(claim)
            for note in decision.undecided {
                environment.logger.warning(
                    "\(claim.label): \(note)", metadata: ["namespace": "\(claim.namespace)", "name": "\(claim.name)"])
            }
            switch decision.action {
            case .skip: return .others("a volume policy skips it")
            case .fileSystemBackup, .snapshot: return .others("a volume policy gives it to Velero")
            case .custom(let parameters):
                return try MoverParameters(parameters).map { .ours($0) }
                    ?? .others("a volume policy gives it to somebody else")
            case nil: break
            }
        }
        switch claim.annotations[BecalmAnnotation.volumeBackup] {
        case "true": return .ours(MoverParameters())
        case "false": return .others("its annotation \(BecalmAnnotation.volumeBackup) says so")
        case nil: return volumes == .all ? .ours(MoverParameters()) : .others("nothing gives it to Becalm")
        case let other?:
            throw VeleroError(
                .invalidArgument,
                "\(claim.label): the annotation \(BecalmAnnotation.volumeBackup) is true or false, not `\(other.prefix(80))`"
            )
        }
    }

    func progress(operation: String, backup: [UInt8]) async throws(VeleroError) -> OperationStatus {
        do throws(OperationAnswers.Refusal) {
            let identifier = try OperationAnswers.identify(operation, of: backup, kinds: [.volumeBackup])
            return await VolumeMovers.status(identifier, environment, configuration: mover) { _, _ in }
        } catch {
            return error.status
        }
    }

    func cancel(operation: String, backup: [UInt8]) async throws(VeleroError) {
        let identifier = try? OperationAnswers.identify(operation, of: backup, kinds: [.volumeBackup])
        guard let identifier else { return OperationAnswers.cancel(operation, environment.logger) }
        try await VolumeMovers.cancel(identifier, environment, configuration: mover)
    }
}

/// Claims that Kubernetes makes for a pod's ephemeral volumes.
enum EphemeralClaim {
    /// Whether a claim is deleted with a pod, which is what owns it.
    ///
    /// The pod is its controller, and its name begins with the pod's (Kubernetes, generic ephemeral volumes); a
    /// StatefulSet's claim that goes with its pod has the pod as an owner, too, and is none.
    static func isOne(_ claim: KubernetesObject) -> Bool {
        guard let owner = claim.controller else { return false }
        return owner.kind == Pod().kind.kind && owner.apiVersion == "v1" && claim.name.hasPrefix(owner.name + "-")
    }
}
