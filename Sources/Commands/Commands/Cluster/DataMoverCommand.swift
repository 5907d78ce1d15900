package import ArgumentParser
internal import Kubernetes
package import Orchestration
internal import Repository
internal import RepositoryFormat
internal import Snapshots

/// `becalm data-mover`
package struct DataMoverCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "data-mover",
        abstract:
            "Move the data of Velero's CSI snapshots: a data mover for 'velero backup create --data-mover becalm'.",
        discussion: """
            Runs in the cluster until it is told to end, and serves Velero's DataUploads and DataDownloads whose \
            spec.datamover is becalm: a mover pod in Velero's namespace reads a copy of each snapshot into the repository, or \
            fills a new volume, which is handed to the claim that asks for it. Of several replicas one acts; another one \
            goes on when that dies. plugin/examples/data-mover.yaml has the Deployment and the permissions.

            The repository is at s3://BUCKET/PREFIX, made with 'becalm init', and the key has the role full: each mover \
            gets a key of its own that is removed after it. SIGTERM ends the command with 0; movers go on.

            EXAMPLE:
              $ becalm data-mover --namespace velero --mover-image registry.example/becalm:1
              $ velero backup create nightly --snapshot-move-data --data-mover becalm
            """)

    @OptionGroup package var global: GlobalOptions
    @OptionGroup package var cluster: ClusterOptions
    @OptionGroup package var movers: MoverArguments

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Velero's namespace. Default: VELERO_NAMESPACE, or the one of the cluster's configuration.",
            valueName: "name"))
    package var namespace: String?

    @Option(
        name: .long,
        help: ArgumentHelp("Volumes whose data is moved at once; others wait.", valueName: "number"))
    package var concurrency = 4

    @Option(
        name: .long,
        help: ArgumentHelp(
            "How long it may take from a transfer's acceptance until a pod has its volume.", valueName: "time"))
    package var prepareTimeout = TimeSpan(seconds: 1800)

    @Option(
        name: .long,
        help: ArgumentHelp(
            """
            How long a restored claim of a storage class with WaitForFirstConsumer waits for a pod that says by its node \
            where the volume is to be; after that it is made where the mover runs.
            """, valueName: "time"))
    package var consumerWait = TimeSpan(seconds: 300)

    package init() {}

    package mutating func validate() throws {
        guard (1...256).contains(concurrency) else {
            throw ValidationError("'--concurrency' takes a number from 1 to 256.")
        }
        guard (10...86_400).contains(prepareTimeout.seconds) else {
            throw ValidationError("'--prepare-timeout' takes a time from 10s to 1d.")
        }
        guard consumerWait.seconds <= 86_400 else {
            throw ValidationError("'--consumer-wait' takes a time up to 1d.")
        }
    }

    package func run(in context: CommandContext) async throws -> ExitStatus {
        let session = RepositorySession(global, context)
        let client = try await cluster.client(context, global)
        var settings = DataMoverSettings(
            namespace: namespace ?? context.variable("VELERO_NAMESPACE") ?? client.namespace,
            identity: context.variable("NODE_NAME") ?? SystemFiles.hostName,
            movers: try await movers.settings(context))
        settings.concurrency = concurrency
        settings.prepareSeconds = Int(prepareTimeout.seconds)
        settings.consumerSeconds = Int(consumerWait.seconds)
        guard !settings.movers.image.isEmpty else {
            throw JourneyError.usage(
                "no image for movers is named: give one that has becalm in it with --mover-image or BECALM_MOVER_IMAGE")
        }
        _ = try await MoverArguments.access(session)
        let open = try await session.opener(.managing(to: "make keys for movers, of which each gets its own"))
        // A repository that cannot be opened is told now, and not by the first backup.
        let repository = try await open()
        say(
            "the repository is \(repository.config.repositoryID), the namespace \(settings.namespace)", "ready", context
        )
        let controller = DataMoverController(
            client, settings: settings, open: open, access: { try await MoverArguments.access(session) },
            report: { tell($0, context) })
        do {
            try await controller.run()
        } catch {
            // Told to end, it has: what is under way is gone on with by the next one.
            guard context.interruption.signal != nil, JourneyError(error).status == .interrupted else { throw error }
        }
        say("ended", "ended", context)
        return .done
    }

    private func say(_ text: String, _ type: String, _ context: CommandContext) {
        context.output.emit(type, [.init("message", .string(text))])
        context.output.flush()
        guard context.output.mode == .text, !global.quiet else { return }
        context.console.say(Console.oneLine("becalm: \(text)"))
    }

    private func tell(_ event: DataMoverEvent, _ context: CommandContext) {
        switch event {
        case .trouble(let text):
            context.warn(text, kind: "data_mover", global)
            context.output.flush()
        case .leadership(let text): say(text, "leadership", context)
        case .waiting(let transfer, let reason): say("\(transfer) waits for: \(reason)", "waiting", context)
        case .phase(let transfer, let phase, let message):
            context.output.emit(
                "phase",
                [
                    .init("transfer", .string(transfer)), .init("phase", .string(phase)),
                    .init("message", .string(message)),
                ])
            context.output.flush()
            guard context.output.mode == .text, !global.quiet else { return }
            context.console.say(
                Console.oneLine("becalm: \(transfer): \(phase)\(message.isEmpty ? "" : ": \(message)")"))
        }
    }
}
