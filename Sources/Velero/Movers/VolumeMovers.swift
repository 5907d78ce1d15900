internal import Basics
internal import Kubernetes
internal import Logging
internal import Orchestration
internal import Repository
internal import RepositoryFormat
internal import Workloads

/// Jobs that move claims' data, for the actions: begun by one call, asked about and ended by others, each perhaps of a
/// process of its own. All that a later call needs is in the operation's id and in the cluster.
struct VolumeMovers: Sendable {
    let environment: PluginEnvironment
    let configuration: MoverConfiguration
    let client: KubernetesClient

    /// What moves data where a repository is configured and there is a cluster; throws what keeps it from that, with a
    /// message that says what to do.
    init(_ configuration: MoverConfiguration?, _ environment: PluginEnvironment) async throws(VeleroError) {
        guard let configuration else {
            throw VeleroError(
                .invalidArgument,
                "no repository is configured for it: name `repository`, its key and `moverImage` in the plugin's ConfigMap"
            )
        }
        guard let client = try await environment.cluster.client() else {
            throw VeleroError(.unavailable, "this process knows of no cluster, in which data is moved by Jobs")
        }
        self.environment = environment
        self.configuration = configuration
        self.client = client
    }

    private var repository: VolumeRepository {
        VolumeRepository(
            configuration: configuration.repository, environment: environment,
            secrets: ClusterSecrets(client: client, namespace: environment.namespace))
    }

    /// Opens the repository for changes, or makes it where that is asked for.
    func open() async throws -> Repository {
        try await repository.openForSnapshot(.managing(to: "make keys for movers, of which each gets its own"))
    }

    /// Opens the repository to remove a snapshot; nil when it is not there any more.
    func openForRemoval(of snapshot: VolumeSnapshotID) async throws -> Repository? {
        try await repository.openForRemoval(of: snapshot)
    }

    // MARK: Operations

    /// Whose operation it is.
    struct Subject: Sendable {
        var kind: OperationIdentifier.Kind
        /// The uid of the Backup or Restore.
        var run: String
        /// The claim's namespace, where its data is moved, and name.
        var namespace: String
        var name: String
        /// The claim's uid; empty for one that is yet to be.
        var uid: String

        /// The run of movers: the same for every call about this claim in this backup or restore.
        var moverRun: String { DetachedMover.run(for: [kind.rawValue, run, namespace, name, uid]) }

        var identifier: OperationIdentifier {
            OperationIdentifier(
                kind: kind, run: run,
                subject: ResourceIdentifier(.persistentVolumeClaim, namespace: namespace, name: name), uid: uid,
                watched: ResourceIdentifier(
                    group: APIResource.leases.group, resource: APIResource.leases.plural, namespace: namespace,
                    name: DetachedMover.leaseName(run: moverRun)))
        }
    }

    /// How a claim is copied where its data is read from a snapshot; nil where it is read itself, as it is with `auto` where
    /// this process may not make snapshots.
    func copying(
        _ claim: KubernetesObject, _ subject: Subject, source: VolumeSource, limits: SnapshotLimits
    ) async throws -> DetachedMover.Copying? {
        let mover = DetachedMover(client, namespace: subject.namespace, run: subject.moverRun)
        let logger = environment.logger
        let metadata: Logger.Metadata = ["namespace": "\(claim.namespace)", "name": "\(claim.name)"]
        do {
            return try await mover.copying(claim, source: source, limits: limits) {
                logger.warning("\($0)", metadata: metadata)
            }
        } catch let error as KubernetesError where error.code == .forbidden && source == .auto {
            logger.warning("\(claim.label) is read itself, not from a snapshot: \(error)", metadata: metadata)
            return nil
        }
    }

    /// Begins to move a claim's data and answers the operation's id. `isBlock` says that the claim is a device.
    func start(
        _ action: MoverAction, _ subject: Subject, isBlock: Bool, copying: DetachedMover.Copying? = nil,
        placement: MoverPlacement, timeout: GoDuration
    ) async throws -> String {
        let request = MoverRun.Request(
            namespace: subject.namespace, settings: configuration.movers,
            access: try await configuration.access(environment), role: action.role,
            open: { try await open() })
        let logger = environment.logger
        let identifier = try subject.identifier.text()
        try await DetachedMover(client, namespace: subject.namespace, run: subject.moverRun).start(
            action, claim: subject.name, isBlock: isBlock, copying: copying, placement: placement,
            seconds: Self.seconds(timeout), request
        ) { logger.info("\($0)") }
        return identifier
    }

    /// Whole seconds of an operation's time, within what Leases and Jobs take.
    private static func seconds(_ timeout: GoDuration) -> Int {
        Int(max(60, min(timeout.nanoseconds / 1_000_000_000, 604_800)))
    }

    // MARK: Progress

    /// The mover that an operation's id names; nil where it names none.
    static func mover(_ identifier: OperationIdentifier, _ client: KubernetesClient) -> DetachedMover? {
        guard identifier.watched.group == APIResource.leases.group,
            identifier.watched.resource == APIResource.leases.plural,
            let run = DetachedMover.run(ofLease: identifier.watched.name)
        else { return nil }
        return DetachedMover(client, namespace: identifier.watched.namespace, run: run)
    }

    /// How an operation is, and what is left of one that has ended is taken away. `begin` is called first, each time, for
    /// what is to be begun by now, and answers what keeps it from that, if anything. `finish` is called before an operation counts as done, perhaps more than once; what either
    /// throws that may pass keeps the operation running. Never an error of the call: Velero would take it as the
    /// operation's end.
    static func status(
        _ identifier: OperationIdentifier, _ environment: PluginEnvironment,
        configuration: () async -> MoverConfiguration?,
        begin: () async throws -> String? = { nil },
        finish: (KubernetesClient, DetachedMover.Ending) async throws -> Void
    ) async -> OperationStatus {
        do {
            if let obstacle = try await begin() {
                var status = OperationStatus(.running)
                status.description = obstacle
                return dated(status, nil, environment)
            }
            guard let client = try await environment.cluster.client(), let mover = mover(identifier, client) else {
                return OperationAnswers.unknown(identifier)
            }
            switch try await mover.standing() {
            case .unknown: return OperationAnswers.unknown(identifier)
            case .running(let said, _, let since):
                var status = OperationStatus(.running)
                status.completed = Int64(clamping: said.bytes)
                status.total = Int64(clamping: said.bytesTotal)
                status.description = "\(said.files) of \(said.filesTotal) files"
                return dated(status, since, environment)
            case .waiting(let reason, let since):
                var status = OperationStatus(.running)
                status.description = reason
                return dated(status, since, environment)
            case .stored(let shares):
                let repository = try await VolumeMovers(await configuration(), environment).open()
                let ending = try await mover.join(shares, in: repository)
                guard let ending else { return dated(OperationStatus(.running), nil, environment) }
                return try await ended(mover, ending, environment, client, await configuration(), finish)
            case .ended(let ending):
                return try await ended(mover, ending, environment, client, await configuration(), finish)
            }
        } catch let error as KubernetesError
            where (error.code == .forbidden || error.code == .invalid) && !error.isOverQuota
        {
            guard await abandon(identifier, environment, "\(error)", configuration) else {
                return dated(OperationStatus(.running), nil, environment)
            }
            return OperationStatus(.failed("\(error)"))
        } catch {
            // What may pass; Velero's own time limit ends what does not.
            var status = OperationStatus(.running)
            status.description = "not known for now: \(error)"
            return dated(status, nil, environment)
        }
    }

    /// Ends a mover, and takes away what is left of it, that nobody asks about any more: Velero takes a failure as the
    /// operation's end. Answers whether that has been done, or never can be.
    private static func abandon(
        _ identifier: OperationIdentifier, _ environment: PluginEnvironment, _ reason: String,
        _ configuration: () async -> MoverConfiguration?
    ) async -> Bool {
        do {
            guard let client = try await environment.cluster.client(), let mover = mover(identifier, client) else {
                return true
            }
            try await mover.fail(reason)
            guard case .ended(let ending) = try await mover.standing() else { return true }
            await clean(mover, ending, environment, client, await configuration())
            return true
        } catch {
            environment.logger.warning(
                "what is left of \(identifier.watched.name) stays until its time is over: \(error)",
                metadata: ["namespace": "\(identifier.watched.namespace)"])
            let code = (error as? KubernetesError)?.code
            return code == .forbidden || code == .invalid
        }
    }

    /// How one is that has ended, when what is left of it is taken away.
    private static func ended(
        _ mover: DetachedMover, _ ending: DetachedMover.Ending, _ environment: PluginEnvironment,
        _ client: KubernetesClient, _ configuration: MoverConfiguration?,
        _ finish: (KubernetesClient, DetachedMover.Ending) async throws -> Void
    ) async throws -> OperationStatus {
        let left = await clean(mover, ending, environment, client, configuration)
        if isDone(ending.result) {
            try await finish(client, ending)
        } else if !left.isEmpty, try await mover.isStopping() {
            // Nobody asks again about an operation that has failed, and what they publish is to be forgotten.
            var status = OperationStatus(.running)
            status.description = "its pods end: \(ending.result.failure ?? "")"
            return dated(status, ending.since, environment)
        }
        return dated(status(of: ending.result), ending.since, environment)
    }

    private static func dated(
        _ status: OperationStatus, _ since: Timestamp?, _ environment: PluginEnvironment
    ) -> OperationStatus {
        var status = status
        status.units = "Bytes"
        status.started = since
        status.updated = environment.clock.now()
        return status
    }

    /// Whether data was stored or brought back, if perhaps not all of it.
    private static func isDone(_ result: MoverResult) -> Bool { result.status == .done || result.status == .partial }

    private static func status(of result: MoverResult) -> OperationStatus {
        var status = OperationStatus(result.failure.map { .failed($0) } ?? .succeeded)
        status.completed = Int64(clamping: result.bytes)
        status.total = status.completed
        status.description = "\(result.files) files"
        return status
    }

    /// Takes away what is left, and answers what could not be: that is done by a later call, or by a later run in that
    /// namespace.
    @discardableResult
    private static func clean(
        _ mover: DetachedMover, _ ending: DetachedMover.Ending, _ environment: PluginEnvironment,
        _ client: KubernetesClient, _ configuration: MoverConfiguration?
    ) async -> [String] {
        guard ending.needsCleaning else { return [] }
        let left = await mover.clean {
            try await VolumeMovers(configuration, environment).open()
        }
        for message in left { environment.logger.info("\(message)") }
        return left
    }

    /// Stops an operation. Throws only where the cluster cannot be asked.
    static func cancel(
        _ identifier: OperationIdentifier, _ environment: PluginEnvironment,
        configuration: () async -> MoverConfiguration?
    ) async throws(VeleroError) {
        guard let client = try await environment.cluster.client(), let mover = mover(identifier, client) else { return }
        let standing: DetachedMover.Standing
        do throws(KubernetesError) {
            try await mover.cancel()
            standing = try await mover.standing()
        } catch {
            throw VeleroError(error)
        }
        guard case .ended(let ending) = standing else { return }
        await clean(mover, ending, environment, client, await configuration())
    }
}
