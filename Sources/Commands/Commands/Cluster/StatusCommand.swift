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
        abstract:
            "Tell which workloads of a cluster and which processes of this machine are held, by whom and until when.",
        discussion: """
            What a restore holds until its data is there is looked for where a workload or a namespace is named.

            EXAMPLE:
              $ becalm status
              $ becalm status -n train
              $ becalm status train/pytorchjob/run42 --json
              $ becalm status --host
            """)

    @OptionGroup package var global: GlobalOptions
    @OptionGroup package var cluster: ClusterOptions

    @Argument(help: "One workload: NAMESPACE/KIND/NAME. Default: all.")
    package var workload: String?

    @Option(name: [.customShort("n"), .long], help: ArgumentHelp("Look in one namespace only.", valueName: "name"))
    package var namespace: String?

    @Flag(name: .long, help: "Only processes of this machine: ask no cluster.")
    package var host = false

    package init() {}

    package mutating func validate() throws {
        guard !host || namespace == nil && workload == nil else {
            throw ValidationError("'--host' is all processes of this machine.")
        }
        guard namespace == nil || workload == nil else {
            throw ValidationError("Name a workload, or a namespace to look in.")
        }
    }

    package func run(in context: CommandContext) async throws -> ExitStatus {
        var held: [HeldWorkload] = []
        // Nil where nobody has looked.
        var gated: [GatedWorkload]?
        var looksOnlyHere = false
        if let workload {
            (held, gated) = try await one(try JourneyError.reference(workload), context)
        } else {
            if namespace == nil {
                do {
                    let (entries, unreadable) = try HostJournal.list(.standard(environment: context.environment))
                    held = entries.map(HeldWorkload.init)
                    for error in unreadable { context.warn(error.message, kind: "journal", global) }
                } catch {
                    guard !host else { throw error }
                    context.warn(JourneyError(error).message, kind: "journal", global)
                }
            }
            let client = try await cluster.clientIfConfigured(context, global, isWanted: !host, namespace: namespace)
            looksOnlyHere = client == nil && !host
            if let client {
                let (entries, unreadable) = try await QuiesceJournal.list(client, namespace: namespace ?? "")
                held += entries.map { HeldWorkload($0.entry) }
                for error in unreadable { context.warn(error.message, kind: "journal", global) }
                if let namespace { gated = await self.gated(namespace, client, context) }
            }
        }
        var table = TextTable([.left("workload"), .left("step"), .left("holder"), .left("until")])
        for entry in held {
            context.output.emit("held", HeldWorkload.members(entry, workload: entry.workload))
            table.add(entry.row)
        }
        for entry in gated ?? [] {
            context.output.emit(
                "gated",
                [
                    .init("workload", .string("\(entry.workload)")), .init("unfilled", .strings(entry.unfilled)),
                    .init("missing", .strings(entry.missing)),
                ])
            table.add(["\(entry.workload)", "restored", "a restore", "waits for \(entry.words)"])
        }
        if !table.isEmpty { context.output.lines(table.lines) }
        context.output.summary(
            [
                .init("held", .unsigned(UInt64(held.count))),
                .init("gated", gated.map { .unsigned(UInt64($0.count)) } ?? .null),
            ],
            text: Self.sentence(held, gated ?? [])
                + (gated != nil || host || looksOnlyHere
                    ? "" : "; what restores hold is looked for with '--namespace' or a workload")
                + (looksOnlyHere ? ClusterOptions.noneConfigured : ""))
        return .done
    }

    /// What a restore holds in a namespace; nil where that cannot be seen, which is told and hides nothing else.
    private func gated(
        _ namespace: String, _ client: KubernetesClient, _ context: CommandContext
    ) async -> [GatedWorkload]? {
        do {
            return try await GateLifter(client).held(in: namespace)
        } catch {
            context.warn(
                "what restores hold in namespace \(namespace) is not known: \(JourneyError(error).message)",
                kind: "gated", global)
            return nil
        }
    }

    private static func sentence(_ held: [HeldWorkload], _ gated: [GatedWorkload]) -> String {
        let count = Set(held.map(\.workload) + gated.map { "\($0.workload)" }).count
        return count == 0 ? "nothing is held" : Format.count(UInt64(count), "workload") + " held"
    }

    private func one(
        _ reference: WorkloadReference, _ context: CommandContext
    ) async throws -> ([HeldWorkload], [GatedWorkload]?) {
        if reference.isHost {
            let journal = HostJournal(.standard(environment: context.environment), of: reference)
            return (try journal.read().map { [HeldWorkload($0)] } ?? [], nil)
        }
        let client = try await cluster.client(context, global)
        let live = try await WorkloadFinder(client).find(reference)
        let entry = try await QuiesceJournal(client, of: live.reference).read().entry
        let held = entry.map { [HeldWorkload($0)] } ?? []
        do {
            return (held, try await GateLifter(client).held(live).map { [$0] } ?? [])
        } catch {
            context.warn(
                "whether a restore holds \(live.object.label) is not known: \(JourneyError(error).message)",
                kind: "gated", global)
            return (held, nil)
        }
    }
}
