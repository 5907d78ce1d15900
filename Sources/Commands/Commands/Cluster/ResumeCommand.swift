package import ArgumentParser
internal import Kubernetes
package import Orchestration
internal import Snapshots
internal import Workloads

/// `becalm resume`
package struct ResumeCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "resume",
        abstract: "Let a workload of a cluster go that was brought to a standstill, or all whose deadline is past.",
        discussion: """
            What 'becalm quiesce' or a backup changed is put back as it was. A field that somebody else has changed \
            meanwhile stays as it is, and is named. With '--expired' every workload is let go whose deadline is past or \
            whose holder died: run it every minute in the cluster (plugin/examples/resume-expired.yaml has the CronJob \
            and the permissions).

            EXAMPLE:
              $ becalm resume train/pytorchjob/run42
              $ becalm resume --expired
            """)

    @OptionGroup package var global: GlobalOptions
    @OptionGroup package var cluster: ClusterOptions

    @Argument(help: "The workload: NAMESPACE/KIND/NAME.")
    package var workload: String?

    @Flag(name: .long, help: "Let all go whose deadline is past or whose holder died.")
    package var expired = false

    @Option(name: [.customShort("n"), .long], help: ArgumentHelp("Look in one namespace only.", valueName: "name"))
    package var namespace: String?

    @Flag(name: .long, help: "Let go what a backup holds that is at work; that backup then fails.")
    package var force = false

    package init() {}

    package mutating func validate() throws {
        guard (workload != nil) != expired else { throw ValidationError("Name a workload, or give '--expired'.") }
        guard namespace == nil || expired else { throw ValidationError("'--namespace' goes with '--expired'.") }
        guard namespace != "" else { throw ValidationError("An empty name is no namespace.") }
        guard !(force && expired) else { throw ValidationError("'--force' goes with the name of a workload.") }
    }

    package func run(in context: CommandContext) async throws -> ExitStatus {
        let report = QuiesceReport(context, global)
        guard let workload else { return try await sweep(context, report) }
        let reference = try JourneyError.reference(workload)
        let client = try await cluster.client(context, global)
        let resumer = Resumer(client, holder: ClusterOptions.holder(unique: true))
        report.tell(try await resumer.resume(reference, force: force), isSummary: true)
        return .done
    }

    private func sweep(_ context: CommandContext, _ report: QuiesceReport) async throws -> ExitStatus {
        let client = try await cluster.client(context, global)
        let resumer = Resumer(client, holder: ClusterOptions.holder(unique: true))
        let sweep = try await resumer.resumeExpired(namespace: namespace ?? "")
        for resumption in sweep.resumed { report.tell(resumption, isSummary: false) }
        for (workload, error) in sweep.failed {
            let failure = JourneyError(error)
            context.output.emit(
                "failed", [.init("workload", .string(workload)), .init("message", .string(failure.message))])
            if context.output.mode == .text { context.console.say(Console.oneLine("becalm: \(failure.message)")) }
        }
        context.output.summary(
            [
                .init("resumed", .unsigned(UInt64(sweep.resumed.count))),
                .init("failed", .unsigned(UInt64(sweep.failed.count))),
                .init("left", .unsigned(UInt64(sweep.left.count))),
            ],
            text: """
                \(Format.count(UInt64(sweep.resumed.count), "workload")) resumed, \(sweep.failed.count) failed, \
                \(sweep.left.count) not over yet
                """)
        return sweep.failed.isEmpty ? .done : .failed
    }
}
