package import ArgumentParser
internal import Basics
internal import Kubernetes
package import Orchestration
internal import Snapshots
internal import Workloads

/// `becalm status`
package struct StatusCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Tell which workloads of a cluster are held, by whom and until when.",
        discussion: """
            EXAMPLE:
              $ becalm status
              $ becalm status train/pytorchjob/run42 --json
            """)

    @OptionGroup package var global: GlobalOptions
    @OptionGroup package var cluster: ClusterOptions

    @Argument(help: "One workload: NAMESPACE/KIND/NAME. Default: all.")
    package var workload: String?

    @Option(name: [.customShort("n"), .long], help: ArgumentHelp("Look in one namespace only.", valueName: "name"))
    package var namespace: String?

    package init() {}

    package mutating func validate() throws {
        guard namespace == nil || workload == nil else {
            throw ValidationError("Name a workload, or a namespace to look in.")
        }
    }

    package func run(in context: CommandContext) async throws -> ExitStatus {
        let client = try await cluster.client(context, global)
        var held: [QuiesceJournal.Entry] = []
        if let workload {
            let live = try await WorkloadFinder(client).find(try JourneyError.reference(workload))
            if let entry = try await QuiesceJournal(client, of: live.reference).read().entry { held.append(entry) }
        } else {
            let (entries, unreadable) = try await QuiesceJournal.list(client, namespace: namespace ?? "")
            held = entries.map(\.entry)
            for error in unreadable { context.warn(error.message, kind: "journal", global) }
        }
        var table = TextTable([.left("workload"), .left("step"), .left("holder"), .left("until")])
        for entry in held {
            context.output.emit("held", QuiesceReport.members(entry, workload: "\(entry.workload)"))
            table.add([
                "\(entry.workload)", entry.step.rawValue, entry.lease.holder,
                entry.deadline.map { CalendarTime($0).text } ?? "resumed by hand",
            ])
        }
        if !table.isEmpty { context.output.lines(table.lines) }
        context.output.summary(
            [.init("held", .unsigned(UInt64(held.count)))],
            text: held.isEmpty ? "nothing is held" : Format.count(UInt64(held.count), "workload") + " held")
        return .done
    }
}
