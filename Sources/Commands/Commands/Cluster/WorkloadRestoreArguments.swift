package import ArgumentParser
internal import Kubernetes
internal import Orchestration
internal import Repository

/// What `becalm restore` takes to bring a workload back into a cluster.
package struct WorkloadRestoreArguments: ParsableArguments, Sendable {
    @Flag(name: .long, help: "Bring a workload back into a cluster: its objects, its volumes, then itself.")
    package var toCluster = false

    @Option(
        name: .long,
        help: ArgumentHelp("With '--to-cluster': into another namespace; may be repeated.", valueName: "old:new"))
    package var namespaceMapping: [String] = []

    @Option(
        name: .long,
        help: ArgumentHelp("With '--to-cluster': another storage class; may be repeated.", valueName: "old:new"))
    package var storageClass: [String] = []

    @Flag(name: .long, help: "With '--to-cluster': create a job that had ended, which runs it once more.")
    package var restartEnded = false

    @OptionGroup package var cluster: ClusterOptions
    @OptionGroup package var movers: MoverArguments

    package init() {}

    package mutating func validate() throws {
        for text in namespaceMapping + storageClass {
            let sides = text.split(separator: ":", omittingEmptySubsequences: false)
            guard sides.count == 2, sides.allSatisfy({ !$0.isEmpty }) else {
                throw ValidationError("'\(text)' is no pair of names with a colon between them.")
            }
        }
    }

    private static func map(_ pairs: [String]) -> [String: String] {
        var map: [String: String] = [:]
        for pair in pairs {
            let sides = pair.split(separator: ":")
            map[String(sides[0])] = String(sides[1])
        }
        return map
    }

    /// Brings it back.
    func run(
        _ snapshot: String, _ global: GlobalOptions, _ context: CommandContext
    ) async throws -> ExitStatus {
        let session = RepositorySession(global, context)
        let client = try await cluster.client(context, global)
        // Movers get a key of their own, so the repository is written to.
        let open = try await session.opener(.managing(to: "make keys for movers, of which each gets its own"))
        let listed = try await InspectionJourney(repository: try await open()).snapshot(snapshot)
        var request = WorkloadRestoreRequest(
            snapshot: listed.id, movers: try await movers.settings(context),
            access: try await MoverArguments.access(session), scratch: context.scratch)
        request.namespaces = Self.map(namespaceMapping)
        request.storageClasses = Self.map(storageClass)
        request.restartsEnded = restartEnded
        let report = WorkloadReport(context, global)
        let result = try await WorkloadRestoreJourney(client, request, open: open) { report.tell($0) }.run()
        report.summary(result)
        return result.volumes.contains { $0.result.status == .partial } ? .partial : .done
    }
}
