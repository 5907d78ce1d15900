package import ArgumentParser
internal import Kubernetes
package import Orchestration
internal import Workloads

/// `becalm quiesce`
package struct QuiesceCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "quiesce",
        abstract: "Bring a workload of a cluster to a standstill, until it is resumed or its deadline is past.",
        discussion: """
            A workload is named NAMESPACE/KIND/NAME, the kind as kubectl takes it: job, statefulset, pytorchjob, \
            jobs.batch.volcano.sh. It is asked for a checkpoint first where its annotations say how \
            (becalm.io/checkpoint-command, -signal, -http, -file), then stopped in the way of its kind, and the command \
            returns when none of its pods runs any more: pods that are ending still write.

            What is changed is noted in the object itself and in a Lease beside it, before it is changed. 'becalm resume' \
            puts it back; after the deadline so does whoever runs 'becalm resume --expired', such as the CronJob in \
            plugin/examples. When it does not stand still in time it is let go, and the exit code is 20; 21 when it \
            could not be asked for a checkpoint; 11 when somebody else holds it.

            EXAMPLE:
              $ becalm quiesce train/pytorchjob/run42 --deadline 1h
              $ becalm resume train/pytorchjob/run42
            """)

    @OptionGroup package var global: GlobalOptions
    @OptionGroup package var cluster: ClusterOptions
    @OptionGroup package var quiescing: QuiesceArguments

    @Argument(help: "The workload: NAMESPACE/KIND/NAME.")
    package var workload: String

    @Option(name: .long, help: ArgumentHelp("Who holds it, for others to see. Default: user@host.", valueName: "name"))
    package var holder: String?

    package init() {}

    package func run(in context: CommandContext) async throws -> ExitStatus {
        let reference = try JourneyError.reference(workload)
        let client = try await cluster.client(context, global)
        var options = quiescing.options(holder: holder ?? ClusterOptions.holder(unique: false))
        options.isManual = true
        let live = try await WorkloadFinder(client).find(reference)
        let report = QuiesceReport(context, global)
        let record = try await Quiescer(client, options: options) { report.tell($0) }.quiesce(live)
        let entry = try await QuiesceJournal(client, of: live.reference).read().entry
        report.summary(record, entry)
        return .done
    }
}
