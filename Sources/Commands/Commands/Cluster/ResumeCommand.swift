package import ArgumentParser
internal import Basics
package import Orchestration
internal import Snapshots
internal import Workloads

/// `becalm resume`
package struct ResumeCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "resume",
        abstract: "Let a workload go that was brought to a standstill, or all whose deadline is past.",
        discussion: """
            What 'becalm quiesce' or a backup changed is put back as it was. A field that somebody else has changed \
            meanwhile stays as it is, and is named. Routes that were drained get their weights back when the pods are \
            Ready, after 10 minutes at the latest. With '--expired' every workload is let go whose deadline is past or \
            whose holder died: run it every minute in the cluster (plugin/examples/resume-expired.yaml has the CronJob \
            and the permissions). It also lets go the processes of this machine that this user holds, and needs no \
            cluster for that.

            A workload that Velero's restore holds because data of its claims is missing, or because the plugin's 'gate' \
            says so, is let go with '--restored', once all of its data is there. Where that cannot be had any more, \
            '--force' has it run with what is there.

            EXAMPLE:
              $ becalm resume train/pytorchjob/run42
              $ becalm resume --expired
              $ becalm resume host/pid/4242
              $ becalm resume --restored train/pytorchjob/run42
            """)

    @OptionGroup package var global: GlobalOptions
    @OptionGroup package var cluster: ClusterOptions

    @Argument(help: "The workload: NAMESPACE/KIND/NAME, or host/pid/NAME.")
    package var workload: String?

    @Flag(name: .long, help: "Let all go whose deadline is past or whose holder died.")
    package var expired = false

    @Option(name: [.customShort("n"), .long], help: ArgumentHelp("Look in one namespace only.", valueName: "name"))
    package var namespace: String?

    @Flag(name: .long, help: "Let go what a restore holds: Velero's, by the plugin.")
    package var restored = false

    @Flag(
        name: .long,
        help:
            "Let go what a backup holds that is at work; that backup then fails. With '--restored': whether or not all data is there."
    )
    package var force = false

    @Flag(name: .long, help: "With '--expired': only processes of this machine, and ask no cluster.")
    package var host = false

    package init() {}

    package mutating func validate() throws {
        guard (workload != nil) != expired else { throw ValidationError("Name a workload, or give '--expired'.") }
        guard namespace == nil || expired else { throw ValidationError("'--namespace' goes with '--expired'.") }
        guard !host || expired && namespace == nil else { throw ValidationError("'--host' goes with '--expired'.") }
        guard namespace != "" else { throw ValidationError("An empty name is no namespace.") }
        guard !(restored && expired) else { throw ValidationError("'--restored' goes with the name of a workload.") }
        guard !(force && expired) else { throw ValidationError("'--force' goes with the name of a workload.") }
    }

    package func run(in context: CommandContext) async throws -> ExitStatus {
        let report = QuiesceReport(context, global)
        guard let workload else { return try await sweep(context, report) }
        let reference = try JourneyError.reference(workload)
        if restored { return try await release(reference, context, report) }
        if reference.isHost {
            let (resumer, force) = (self.resumer(context), force)
            let resumption = try await BlockingBridge.offload(name: "becalm-resume") {
                Result { try resumer.resume(reference, force: force) }
            }
            report.tell(resumption, isSummary: true)
            return .done
        }
        let client = try await cluster.client(context, global)
        let resumer = Resumer(client, holder: ClusterOptions.holder(unique: true)) { report.tell(.remark($0)) }
        report.tell(try await resumer.resume(reference, force: force), isSummary: true)
        return .done
    }

    private func release(
        _ reference: WorkloadReference, _ context: CommandContext, _ report: QuiesceReport
    ) async throws -> ExitStatus {
        let client = try await cluster.client(context, global)
        report.summary(try await GateLifter(client).lift(reference, takesDataAsItIs: force))
        return .done
    }

    private func resumer(_ context: CommandContext) -> HostResumer {
        HostResumer(
            .standard(environment: context.environment), environment: context.environment, clock: context.clock)
    }

    /// This machine first: it is quick, and a cluster may be out of reach.
    private func sweep(_ context: CommandContext, _ report: QuiesceReport) async throws -> ExitStatus {
        var counts = (resumed: 0, failed: 0, left: 0)
        if namespace == nil {
            let resumer = resumer(context)
            do {
                let sweep = try await BlockingBridge.offload(name: "becalm-resume") {
                    Result { try resumer.resumeExpired() }
                }
                tell(sweep.resumed, sweep.failed, sweep.left, &counts, report, context)
            } catch {
                // A directory that cannot be read, or is not to be trusted, keeps nobody from the cluster's workloads.
                tell([], [("", error)], 0, &counts, report, context)
            }
        }
        let client = try await cluster.clientIfConfigured(context, global, isWanted: !host, namespace: namespace)
        if let client {
            let resumer = Resumer(client, holder: ClusterOptions.holder(unique: true)) { report.tell(.remark($0)) }
            let sweep = try await resumer.resumeExpired(namespace: namespace ?? "")
            tell(sweep.resumed, sweep.failed, sweep.left.count, &counts, report, context)
        }
        context.output.summary(
            [
                .init("resumed", .unsigned(UInt64(counts.resumed))), .init("failed", .unsigned(UInt64(counts.failed))),
                .init("left", .unsigned(UInt64(counts.left))),
            ],
            text: """
                \(Format.count(UInt64(counts.resumed), "workload")) resumed, \(counts.failed) failed, \
                \(counts.left) not over yet or waiting for pods to be Ready\
                \(client == nil && !host ? ClusterOptions.noneConfigured : "")
                """)
        return counts.failed == 0 ? .done : .failed
    }

    private func tell(
        _ resumed: [Resumer.Resumption], _ failed: [(workload: String, error: any Error)], _ left: Int,
        _ counts: inout (resumed: Int, failed: Int, left: Int), _ report: QuiesceReport, _ context: CommandContext
    ) {
        for resumption in resumed { report.tell(resumption, isSummary: false) }
        for (workload, error) in failed {
            let failure = JourneyError(error)
            context.output.emit(
                "failed", [.init("workload", .string(workload)), .init("message", .string(failure.message))])
            if context.output.mode == .text { context.console.say(Console.oneLine("becalm: \(failure.message)")) }
        }
        counts = (counts.resumed + resumed.count, counts.failed + failed.count, counts.left + left)
    }
}
