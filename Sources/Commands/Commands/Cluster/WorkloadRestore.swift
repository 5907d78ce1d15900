internal import Orchestration
internal import Snapshots

/// `becalm restore --to-cluster`
struct WorkloadRestore: Sendable {
    let context: CommandContext
    let global: GlobalOptions
    let options: WorkloadRestoreOptions

    /// Runs it.
    func run(_ snapshot: String) async throws -> ExitStatus {
        let session = RepositorySession(global, context)
        var request = WorkloadRestoreJourney.Request(
            snapshot: snapshot, settings: try await options.movers.settings(context),
            access: try await MoverAccessFinder(session: session).access())
        request.namespaces = try Self.mapping(options.namespaceMapping, "--namespace-mapping")
        request.storageClasses = try Self.mapping(options.storageClass, "--storage-class")
        request.movers = options.movers.movers
        let client = try await options.cluster.client(context, global)
        let moves = MoverReport(context, global)
        let result = try await WorkloadRestoreJourney(
            client, request, open: try await session.reopening(), moving: { moves.tell($0) }
        ).run()
        for remark in result.remarks { context.warn(remark, kind: "workload", global) }
        let files = result.volumes.reduce(0) { $0 + $1.result.files }
        let verified = result.volumes.reduce(0) { $0 + ($1.result.verified ?? 0) }
        context.output.summary(
            [
                .init("snapshot", .string(result.snapshot)), .init("workload", .string(result.workload)),
                .init("volumes", .array(result.volumes.map { .object(MoverReport.members($0.claim, $0.result)) })),
                .init("files", .unsigned(files)), .init("verified", .unsigned(verified)),
                .init("created", .strings(result.created)), .init("remarks", .strings(result.remarks)),
            ],
            text: """
                \(result.workload) is restored of snapshot \(result.snapshot): \
                \(Format.count(UInt64(result.volumes.count), "volume")), \(Format.count(files, "file")), \
                \(Format.count(verified, "file")) read back and compared
                """)
        return result.isPartial ? .partial : .done
    }

    /// `A:B` each; nothing twice.
    private static func mapping(_ texts: [String], _ option: String) throws(JourneyError) -> [String: String] {
        var mapping: [String: String] = [:]
        for text in texts {
            let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2 else { throw .usage("\(option) takes OLD:NEW, not '\(text)'") }
            guard mapping.updateValue(parts[1], forKey: parts[0]) == nil else {
                throw .usage("\(option) maps '\(parts[0])' twice")
            }
        }
        return mapping
    }
}
