package import ArgumentParser
internal import Basics
internal import Kubernetes
package import Orchestration
internal import Repository
internal import Snapshots
internal import Workloads

/// What `becalm backup` takes for a workload of a cluster.
package struct WorkloadBackupArguments: ParsableArguments, Sendable {
    @Option(
        name: .long,
        help: ArgumentHelp(
            """
            Back up a workload of a cluster: NAMESPACE/KIND/NAME, its objects and its volumes. With paths: host/pid/NAME, the \
            process that writes to them, is held while they are read.
            """, valueName: "workload")
    )
    package var workload: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            """
            With '--workload': read volumes from copies of CSI snapshots where the driver makes them (auto), only so \
            (snapshot), or the volumes themselves (live).
            """, valueName: "how"))
    package var source: VolumeSource = .auto

    @Option(
        name: .long,
        help: ArgumentHelp(
            "With '--workload': how long a CSI snapshot may take to be cut, while the workload stands still, 5m where it is not given.",
            valueName: "time"))
    package var snapshotTimeout: TimeSpan?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "With '--workload': how long one may take from then until it can be read, 2h where it is not given.",
            valueName: "time"))
    package var snapshotReadyTimeout: TimeSpan?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "With '--workload': movers side by side on one ReadWriteMany volume, 1 where it is not given.",
            valueName: "number"))
    package var shards: Int?

    @Flag(name: .long, help: "With '--workload': take the Secrets that it names, too.")
    package var includeSecrets = false

    @OptionGroup package var cluster: ClusterOptions
    @OptionGroup package var quiescing: QuiesceArguments
    @OptionGroup package var movers: MoverArguments
    @OptionGroup package var processes: HostArguments

    package init() {}

    package mutating func validate() throws {
        guard (1...64).contains(shards ?? 1) else { throw ValidationError("'--shards' takes a number from 1 to 64.") }
        for (name, time) in [
            ("--snapshot-timeout", snapshotTimeout), ("--snapshot-ready-timeout", snapshotReadyTimeout),
        ] {
            guard let time else { continue }
            guard time.seconds > 0, time.seconds <= SnapshotLimits.longestSeconds else {
                throw ValidationError("'\(name)' takes a time from 1s to 7d.")
            }
        }
    }

    /// Backs it up.
    func run(
        _ workload: String, host: String, tags: [String], _ global: GlobalOptions, _ context: CommandContext
    ) async throws -> ExitStatus {
        let reference = try JourneyError.reference(workload)
        let session = RepositorySession(global, context)
        let client = try await cluster.client(context, global)
        let open = try await session.opener(.managing(to: "make keys for movers, of which each gets its own"))
        var request = WorkloadBackupRequest(
            workload: reference,
            quiescing: try await quiescing.options(holder: ClusterOptions.holder(unique: true), context),
            movers: try await movers.settings(context), access: try await MoverArguments.access(session),
            scratch: context.scratch, host: host, user: SystemFiles.userName)
        request.source = source
        if let snapshotTimeout { request.snapshotLimits.cutSeconds = snapshotTimeout.seconds }
        if let snapshotReadyTimeout { request.snapshotLimits.readySeconds = snapshotReadyTimeout.seconds }
        request.shards = shards ?? 1
        request.includesSecrets = includeSecrets
        request.tags = tags
        let wanted = request
        let report = WorkloadReport(context, global)
        // A signal cancels this task: movers are ended and the workload is let go before it returns.
        let result = try await WorkloadBackupJourney(client, wanted, progress: OperationProgress(), open: open) {
            report.tell($0)
        }.run()
        report.summary(result)
        return result.isPartial ? .partial : .done
    }
}

extension VolumeSource: ExpressibleByArgument {}
