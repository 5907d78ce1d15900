internal import Kubernetes
internal import Logging
internal import Workloads

/// `becalm.io/quiesce`: looks at workloads that users marked, writes down in the backup what it found, and has what they
/// need backed up with them.
///
/// It changes nothing in the cluster: a workload that is to be still in the backup is stopped before, and one that still
/// runs is told as a warning.
struct QuiesceAction: BackupItemAction {
    let name = PluginName.quiesce
    private let environment: PluginEnvironment

    init(_ environment: PluginEnvironment) { self.environment = environment }

    private enum Consistency: String, CaseIterable { case none, checkpoint, pause, stop }

    /// What the ConfigMap says.
    private struct Settings {
        var resources: [String]
        /// For workloads that do not say themselves.
        var consistency: Consistency
        /// For checkpoints of workloads that do not say themselves.
        var timeout: GoDuration

        init(_ configuration: inout PluginConfiguration) throws(VeleroError) {
            resources = try configuration.list("resources", default: WorkloadResources.quiesced)
            consistency = try configuration.choice("consistency", default: .none)
            timeout = try configuration.duration(
                "timeout", default: GoDuration(seconds: 600), most: QuiescePolicy.longestTimeout)
        }
    }

    private func settings(for use: PluginConfiguration.Use) async throws(VeleroError) -> Settings {
        try await PluginConfiguration.settings(name, environment, for: use) { (configuration) throws(VeleroError) in
            try Settings(&configuration)
        }
    }

    func appliesTo() async throws(VeleroError) -> ResourceSelector {
        ResourceSelector(resources: try await settings(for: .selection).resources)
    }

    func execute(item: [UInt8], backup: [UInt8]) async throws(VeleroError) -> BackupItemOutcome {
        let object = try ActionItem.object(item)
        let backup = try VeleroBackup(parsing: backup)
        let unchanged = BackupItemOutcome(item: item)
        guard !backup.isFinalizing, var workload = WorkloadCatalog.standard.workload(object) else { return unchanged }
        // What another workload manages is stopped with that one.
        if let owner = object.controller, WorkloadCatalog.standard.kind(of: owner) != nil { return unchanged }
        let settings = try await settings(for: .backup)
        guard workload.completion == nil, let policy = policy(object, settings) else { return unchanged }

        let record = CaptureRecord(workload, policy)
        report(workload, record)
        workload.annotate(BecalmAnnotation.captured, record.text)
        var outcome = BackupItemOutcome(item: workload.object.serialized())
        outcome.additionalItems = workload.references()
            .filter { !$0.isOptional && $0.role != .owner }.map { ResourceIdentifier($0) }
        return outcome
    }

    /// What is asked for; nil for nothing. Annotations that cannot be read keep the object in the backup and make the
    /// backup PartiallyFailed: an error of the call would leave the object out.
    private func policy(_ object: KubernetesObject, _ settings: Settings) -> QuiescePolicy? {
        var policy: QuiescePolicy?
        do throws(WorkloadError) {
            policy = try QuiescePolicy(of: object)
        } catch {
            environment.logger.error("\(error.message)", metadata: Self.metadata(object))
            return nil
        }
        if policy == nil, settings.consistency == .none { return nil }
        var result = policy ?? QuiescePolicy()
        result.consistency =
            result.consistency ?? QuiescePolicy.Consistency(rawValue: settings.consistency.rawValue) ?? .checkpoint
        result.timeout = result.timeout ?? settings.timeout
        return result
    }

    /// Tells what the user should know of this backup.
    private func report(_ workload: Workload, _ record: CaptureRecord) {
        let metadata = Self.metadata(workload.object)
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

    /// Velero files entries by these.
    private static func metadata(_ object: KubernetesObject) -> Logger.Metadata {
        ["namespace": "\(object.namespace)", "name": "\(object.name)"]
    }

    func progress(operation: String, backup: [UInt8]) async throws(VeleroError) -> OperationStatus {
        OperationAnswers.progress(operation, of: backup, kinds: [.quiesce])
    }

    func cancel(operation: String, backup: [UInt8]) async throws(VeleroError) {
        OperationAnswers.cancel(operation, environment.logger)
    }
}

/// What a backup found of a workload, as an annotation of the stored object: `becalm.io/captured`.
struct CaptureRecord: Sendable {
    var asked: QuiescePolicy.Consistency
    /// Whether nothing of it ran, by its own status.
    var isStopped: Bool
    /// Codes of what was found.
    var findings: [String]

    /// What is to be written down of a workload.
    init(_ workload: Workload, _ policy: QuiescePolicy) {
        asked = policy.consistency ?? .checkpoint
        isStopped = workload.standing == .stopped
        findings = workload.findings.map(\.code)
    }

    /// The annotation's value: JSON.
    var text: String {
        let json: JSONValue = [
            "asked": .string(asked.rawValue), "findings": .array(findings.map { .string($0) }),
            "standing": isStopped ? "stopped" : "running", "version": 1,
        ]
        return String(decoding: json.serialized(escapingHTML: false), as: UTF8.self)
    }
}
