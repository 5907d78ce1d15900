internal import Basics
internal import Kubernetes
internal import Logging
internal import Orchestration
internal import Workloads

/// What `becalm.io/quiesce` is set to do, and the workloads that a backup holds: asked by every call of Velero's that may be
/// the first about a workload.
struct BackupHolds: Sendable {
    let environment: PluginEnvironment
    let settings: Settings

    enum Consistency: String, CaseIterable { case none, checkpoint, pause, stop }
    enum Mode: String, CaseIterable { case observe, hold }

    /// What the ConfigMap says.
    struct Settings: Sendable {
        var resources: [String]
        var mode: Mode
        /// For workloads that do not say themselves.
        var consistency: Consistency
        /// For checkpoints of workloads that do not say themselves.
        var timeout: GoDuration
        /// How long a workload may be held, and may take to stop.
        var deadline: GoDuration
        var stopTimeout: GoDuration
        /// How checkpoints are looked for; nil: whoever is asked for one is believed.
        var movers: MoverConfiguration?

        init(_ configuration: inout PluginConfiguration, _ environment: PluginEnvironment) throws(VeleroError) {
            resources = try configuration.list("resources", default: WorkloadResources.quiesced)
            mode = try configuration.choice("mode", default: .observe)
            consistency = try configuration.choice("consistency", default: .none)
            timeout = try configuration.duration(
                "timeout", default: GoDuration(seconds: 600), most: QuiescePolicy.longestTimeout)
            deadline = try configuration.duration(
                "deadline", default: GoDuration(seconds: 1800),
                most: GoDuration(seconds: Int64(QuiesceOptions.longestDeadline)))
            stopTimeout = try configuration.duration(
                "stopTimeout", default: GoDuration(seconds: 600), most: QuiescePolicy.longestTimeout)
            movers = try MoverConfiguration(&configuration, environment)
        }
    }

    /// Reads the settings, from the ConfigMap of `becalm.io/quiesce`.
    init(_ environment: PluginEnvironment, for use: PluginConfiguration.Use) async throws(VeleroError) {
        self.environment = environment
        settings = try await PluginConfiguration.settings(.quiesce, environment, for: use) {
            (configuration) throws(VeleroError) in
            try Settings(&configuration, environment)
        }
    }

    /// Stops the workload that an item is or belongs to, where that is asked for; nil for nothing to hold. What goes wrong
    /// is told as an error of the backup, once for each workload: an error of the call would leave the item out.
    @discardableResult
    func take(_ object: KubernetesObject, _ backup: VeleroBackup) async -> (hold: WorkloadHold, record: HoldRecord)? {
        do {
            guard settings.mode == .hold, !backup.isFinalizing, !backup.uid.isEmpty,
                let client = try await environment.cluster.client()
            else { return nil }
            var last: (hold: WorkloadHold, record: HoldRecord)?
            for live in try await workloads(of: object, backup, client) {
                guard let held = try await take(live, backup) else { continue }
                if held.record.state == .failed, environment.reported.isNew("hold \(held.hold.uid) \(backup.uid)") {
                    environment.logger.error(
                        "\(live.object.label) is not held for this backup, and its volumes are stored as they change: \(held.record.reason)",
                        metadata: metadata(live.object))
                }
                last = held
            }
            return last
        } catch {
            let message = "\(object.label): what it belongs to is not held for this backup: \(error)"
            if environment.reported.isNew("\(backup.uid) \(message)") {
                environment.logger.error("\(message)", metadata: metadata(object))
            }
            return nil
        }
    }

    private func take(
        _ live: LiveWorkload, _ backup: VeleroBackup
    ) async throws -> (hold: WorkloadHold, record: HoldRecord)? {
        guard live.workload.completion == nil, let client = try await environment.cluster.client() else { return nil }
        let hold = WorkloadHold(
            client: client, environment: environment, run: backup.uid, backupName: backup.name, uid: live.object.uid,
            reference: live.reference)
        // Before its marks, which may be on pods that are gone by now.
        if let known = try await hold.record(), known.state != .stopping { return (hold, known) }
        let pods = try await live.pods()
        let marked = [live.object] + pods.prefix(1)
        guard let policy = marked.lazy.compactMap({ policy($0, isDefault: $0.uid == live.object.uid) }).first
        else { return nil }
        // Who writes no checkpoint when asked, and is not to be stopped, is left alone.
        if policy.consistency == .checkpoint, policy.request == nil { return nil }
        if policy.consistency != .checkpoint {
            var claims: [KubernetesObject] = []
            for name in try await live.claims() {
                let claim = try await client.find(.persistentVolumeClaims, namespace: live.namespace, name: name)
                if let claim { claims.append(claim) }
            }
            let obstacle = HoldObstacle(backup: backup, environment: environment)
            if let reason = try await obstacle.reason(pods, claims: claims) {
                if environment.reported.isNew("obstacle \(hold.uid) \(backup.uid)") {
                    environment.logger.warning(
                        "\(live.object.label) is not stopped for this backup: \(reason)",
                        metadata: metadata(live.object))
                }
                return nil
            }
        }
        let terms = WorkloadHold.Terms(
            policy: policy, deadlineSeconds: Double(settings.deadline.seconds),
            stopSeconds: Double(settings.stopTimeout.seconds),
            movers: settings.movers)
        environment.logger.info(
            "\(live.object.label) is brought to a standstill (\(policy.consistency?.rawValue ?? ""))",
            metadata: metadata(live.object))
        return (hold, try await hold.take(live, terms))
    }

    /// The outermost workloads that an item is, belongs to or is mounted by, each once.
    private func workloads(
        of object: KubernetesObject, _ backup: VeleroBackup, _ client: KubernetesClient
    ) async throws -> [LiveWorkload] {
        let finder = WorkloadFinder(client)
        var found: [LiveWorkload] = []
        func add(_ live: LiveWorkload) {
            if !found.contains(where: { $0.object.uid == live.object.uid }) { found.append(live) }
        }
        guard ResourceKind.persistentVolumeClaim.matches(object) else {
            if let live = try await finder.root(of: object) { add(live) }
            return found
        }
        for pod in try await client.list(.pods, namespace: object.namespace).items
        where pod.labels[BecalmAnnotation.run] == nil
            && Pod().podTemplates(pod).contains(where: { $0.claimNames.contains(object.name) })
        {
            if let live = try await finder.root(of: pod) { add(live) }
        }
        // What a process that died has stopped has no pods any more.
        for reference in try await WorkloadHold.held(by: backup, in: object.namespace, client) {
            let live = try await finder.find(reference)
            if try await live.claims().contains(object.name) { add(live) }
        }
        return found
    }

    /// What is asked for; nil for nothing. Annotations that cannot be read keep the object in the backup and make the
    /// backup PartiallyFailed: an error of the call would leave the object out.
    func policy(_ object: KubernetesObject, isDefault: Bool = true) -> QuiescePolicy? {
        var policy: QuiescePolicy?
        do throws(WorkloadError) {
            policy = try QuiescePolicy(of: object)
        } catch {
            if environment.reported.isNew(error.message) {
                environment.logger.error("\(error.message)", metadata: metadata(object))
            }
            return nil
        }
        if policy == nil, settings.consistency == .none || !isDefault { return nil }
        var result = policy ?? QuiescePolicy()
        result.consistency =
            result.consistency ?? QuiescePolicy.Consistency(rawValue: settings.consistency.rawValue) ?? .checkpoint
        result.timeout = result.timeout ?? settings.timeout
        return result
    }

    /// Velero files entries by these.
    func metadata(_ object: KubernetesObject) -> Logger.Metadata {
        ["namespace": "\(object.namespace)", "name": "\(object.name)"]
    }
}
