package import ArgumentParser
internal import Kubernetes
package import Orchestration
internal import Workloads

/// `becalm quiesce`
package struct QuiesceCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "quiesce",
        abstract: "Bring a workload to a standstill, until it is resumed or its deadline is past.",
        discussion: """
            A workload is named NAMESPACE/KIND/NAME, the kind as kubectl takes it: job, statefulset, pytorchjob, \
            jobs.batch.volcano.sh. It is asked for a checkpoint first where its annotations say how \
            (becalm.io/checkpoint-command, -signal, -http, -file), then stopped in the way of its kind, and the command \
            returns when none of its pods runs any more: pods that are ending still write.

            A model server that a gateway reaches through an InferencePool is drained first: the weights of its routes are \
            set to 0, and it is stopped when its servers have answered what they have begun (--drain, --drain-timeout).

            What is changed is noted in the object itself and in a Lease beside it, before it is changed. 'becalm resume' \
            puts it back; after the deadline so does whoever runs 'becalm resume --expired', such as the CronJob in \
            plugin/examples. When it does not stand still in time it is let go, and the exit code is 20; 21 when it \
            could not be asked for a checkpoint; 11 when somebody else holds it. Given again by whoever holds it, the command \
            moves the deadline on, to no earlier time, and asks nothing.

            A process of this machine is named host/pid/NUMBER, or host/pid/NAME with '--pid-file' or a policy file. It is \
            held with all that it has started: paused (SIGSTOP, or its cgroup frozen) or, where '--start-command' says how \
            it begins again, told to end. It runs again at its deadline even if nobody comes: a small process waits for that.

            EXAMPLE:
              $ becalm quiesce train/pytorchjob/run42 --deadline 1h
              $ becalm resume train/pytorchjob/run42
              $ becalm quiesce host/pid/4242 --checkpoint-signal USR1 --checkpoint-directory /data/run42
            """)

    @OptionGroup package var global: GlobalOptions
    @OptionGroup package var cluster: ClusterOptions
    @OptionGroup package var quiescing: QuiesceArguments
    @OptionGroup(title: "A process of this machine") package var host: HostArguments

    @Argument(help: "The workload: NAMESPACE/KIND/NAME, or host/pid/NAME.")
    package var workload: String

    @Option(name: .long, help: ArgumentHelp("Who holds it, for others to see. Default: user@host.", valueName: "name"))
    package var holder: String?

    package init() {}

    package func run(in context: CommandContext) async throws -> ExitStatus {
        let reference = try JourneyError.reference(workload)
        var options = try await quiescing.options(holder: holder ?? ClusterOptions.holder(unique: false), context)
        options.isManual = true
        if reference.isHost { return try await quiesceHost(reference, options, context) }
        guard !host.isGiven else {
            throw JourneyError.usage("\(reference) is no process of this machine: host/pid/NAME")
        }
        let client = try await cluster.client(context, global)
        let live = try await WorkloadFinder(client).find(reference)
        let report = QuiesceReport(context, global)
        let quiescer = Quiescer(client, options: options) { report.tell($0) }
        let journal = QuiesceJournal(client, of: live.reference)
        let consistency = try await quiescer.policy(of: live).consistency ?? .pause
        let held = try await journal.extend(
            live, holder: options.holder, consistency: consistency, deadlineSeconds: options.deadlineSeconds)
        if let held {
            var record = QuiesceRecord(workload: live.reference, consistency: held.consistency)
            record.times = held.times
            record.remarks = ["it stood still already: it is held longer, and was asked nothing"]
            for remark in record.remarks { report.tell(.remark(remark)) }
            report.summary(record, HeldWorkload(held))
            return .done
        }
        let record = try await quiescer.quiesce(live)
        report.summary(record, try await journal.read().entry.map(HeldWorkload.init))
        return .done
    }

    private func quiesceHost(
        _ reference: WorkloadReference, _ options: QuiesceOptions, _ context: CommandContext
    ) async throws -> ExitStatus {
        let report = QuiesceReport(context, global)
        let plan = try await host.plan(reference, options, context) { report.tell($0) }
        let (record, journal) = try await plan.quiescer.quiesce(plan.workload)
        report.summary(record, journal.map(HeldWorkload.init))
        return .done
    }
}
