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

    /// A workload that a backup holds, or has tried to, and what has come of it.
    typealias Held = (hold: WorkloadHold, record: HoldRecord)

    /// Stops the workloads that an item is, belongs to or is mounted by, where that is asked for. What goes wrong is told as
    /// an error of the backup, once for each workload: an error of the call would leave the item out.
    @discardableResult
    func take(_ object: KubernetesObject, _ backup: VeleroBackup) async -> [Held] {
        do {
            guard settings.mode == .hold, !backup.isFinalizing, !backup.uid.isEmpty, isAllowed(object.namespace),
                let client = try await environment.cluster.client()
            else { return [] }
            var all: [Held] = []
            for part in try await parts(object, backup, client) {
                guard let held = try await take(part, backup, client),
                    !all.contains(where: { $0.hold.uid == held.hold.uid })
                else { continue }
                if held.record.state == .failed, environment.reported.isNew("hold \(held.hold.uid) \(backup.uid)") {
                    environment.logger.error(
                        "\(held.hold.reference) is not held for this backup, and its volumes are stored as they change: \(held.record.reason)",
                        metadata: metadata(object))
                }
                all.append(held)
            }
            return all
        } catch {
            let message = "\(object.label): what it belongs to is not held for this backup: \(error)"
            if environment.reported.isNew("\(backup.uid) \(message)") {
                environment.logger.error("\(message)", metadata: metadata(object))
            }
            return []
        }
    }

    /// Velero's own namespace and the control plane's are never stopped: a backup would stop itself.
    private func isAllowed(_ namespace: String) -> Bool {
        namespace != environment.namespace && namespace != "kube-system" && !namespace.isEmpty
    }

    /// The objects whose workloads an item stands for: itself, and for a claim the pods that may write to it.
    private func parts(
        _ object: KubernetesObject, _ backup: VeleroBackup, _ client: KubernetesClient
    ) async throws -> [KubernetesObject] {
        guard ResourceKind.persistentVolumeClaim.matches(object) else { return [object] }
        let pods = try await environment.holds.pods(object.namespace, backup, environment.clock.now()) {
            () throws(KubernetesError) in
            // Those that matter to some claim: a large namespace is not kept whole.
            try await client.list(.pods, namespace: object.namespace).items.filter {
                $0.labels[BecalmAnnotation.run] == nil
                    && Pod().podTemplates($0).contains { !$0.claimNames.isEmpty || !$0.ephemeralVolumes.isEmpty }
            }
        }
        let users = pods.filter { Self.writes($0, to: object.name) }
        if !users.isEmpty { return users }
        // What a process that died has stopped has no pods any more.
        var held: [KubernetesObject] = []
        for live in try await WorkloadHold.held(by: backup, in: object.namespace, client)
        where try await live.claims().contains(object.name) { held.append(live.object) }
        return held
    }

    private static func writes(_ pod: KubernetesObject, to claim: String) -> Bool {
        (pod["spec", "volumes"]?.array ?? []).contains {
            $0["persistentVolumeClaim", "claimName"]?.string == claim
                && $0["persistentVolumeClaim", "readOnly"]?.bool != true
        } || Pod().claims(pod).contains { $0.name == claim && $0.origin == .ephemeral }
    }

    /// Whether a workload is of a kind that the action is for. Single pods are looked at with everything else.
    private func isMeant(_ live: LiveWorkload) -> Bool {
        let resource = live.resource
        let names = ["*", resource.plural, "\(resource)"] + resource.shortNames
        return live.workload.kind == Pod().kind || names.contains { settings.resources.contains($0) }
    }

    /// Holds the workload that an object is or belongs to; nil for nothing to hold.
    private func take(
        _ object: KubernetesObject, _ backup: VeleroBackup, _ client: KubernetesClient
    ) async throws -> Held? {
        let ownMark = object.kind == Pod().kind.kind && object.group.isEmpty ? policy(object, isDefault: false) : nil
        let manager = object.controller?.uid ?? object.uid
        if ownMark == nil, environment.holds.isUnmarked(manager, backup) { return nil }
        guard let live = try await root(of: object, backup, client), isMeant(live) else { return nil }
        let hold = WorkloadHold(
            client: client, environment: environment, run: backup.uid, backupName: backup.name, uid: live.object.uid,
            reference: live.reference)
        // Before its marks, which may be on pods that are gone by now.
        let known = try await hold.record()
        if let known, known.state != .stopping { return (hold, known) }
        guard live.workload.completion == nil else { return nil }
        guard let policy = known.map({ QuiescePolicy(consistency: $0.asked) }) ?? mark(of: live) ?? ownMark else {
            environment.holds.setUnmarked(manager, backup)
            return nil
        }
        // Who writes no checkpoint when asked, and is not to be stopped, is left alone.
        if policy.consistency == .checkpoint, policy.request == nil { return nil }
        if known == nil, policy.consistency != .checkpoint,
            let reason = try await HoldObstacle(backup: backup, environment: environment).reason(live)
        {
            if environment.reported.isNew("obstacle \(hold.uid) \(backup.uid)") {
                environment.logger.warning(
                    "\(live.object.label) is not stopped for this backup: \(reason)", metadata: metadata(live.object))
            }
            return nil
        }
        let terms = WorkloadHold.Terms(
            policy: policy, deadlineSeconds: Double(settings.deadline.seconds),
            stopSeconds: Double(settings.stopTimeout.seconds), movers: settings.movers)
        environment.logger.info(
            "\(live.object.label) is brought to a standstill (\(policy.consistency?.rawValue ?? ""))",
            metadata: metadata(live.object))
        return (hold, try await hold.take(live, terms))
    }

    /// The outermost workload of an object. What managed a pod may be gone since the backup began, because this backup
    /// stopped it: then the workload is told by its labels.
    private func root(
        of object: KubernetesObject, _ backup: VeleroBackup, _ client: KubernetesClient
    ) async throws -> LiveWorkload? {
        if let live = try await WorkloadFinder(client).root(of: object) { return live }
        guard object.controller != nil else { return nil }
        for live in try await WorkloadHold.held(by: backup, in: object.namespace, client) {
            let selectors = try live.workload.podSelectors()
            if selectors.contains(where: { !$0.requirements.isEmpty && $0.matches(object.labels) }) { return live }
        }
        return nil
    }

    /// What a workload asks for: by its own annotations, else by those that it gives its pods, else by the settings, which
    /// never speak of single pods: what makes those may be anything.
    private func mark(of live: LiveWorkload) -> QuiescePolicy? {
        if let own = policy(live.object, isDefault: false) { return own }
        for template in live.workload.podTemplates {
            var pod = KubernetesObject(
                GroupVersionKind(version: "v1", kind: "Pod"), namespace: live.namespace, name: live.object.name)
            for member in template.json["metadata", "annotations"]?.object?.members ?? [] {
                pod.setAnnotation(member.key, member.value.string)
            }
            if let said = policy(pod, isDefault: false) { return said }
        }
        return live.workload.kind == Pod().kind ? nil : policy(live.object)
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
