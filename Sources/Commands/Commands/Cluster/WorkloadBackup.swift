internal import Orchestration
internal import RepositoryFormat
internal import Snapshots
internal import Workloads

/// `becalm backup --workload`
struct WorkloadBackup: Sendable {
    let context: CommandContext
    let global: GlobalOptions
    let options: WorkloadBackupOptions
    let tags: [String]
    let host: String?

    /// Runs it.
    func run(_ workload: String) async throws -> ExitStatus {
        let reference = try JourneyError.reference(workload)
        let session = RepositorySession(global, context)
        let settings = try await options.movers.settings(context)
        let access = try await MoverAccessFinder(session: session).access()
        let client = try await options.cluster.client(context, global)
        let open = try await session.reopening()
        var request = WorkloadBackupJourney.Request(
            workload: reference, quiesce: options.quiescing.options(holder: ClusterOptions.holder(unique: true)),
            settings: settings, access: access, host: host ?? SystemFiles.hostName, user: SystemFiles.userName,
            scratch: context.path(context.variable("TMPDIR") ?? "/tmp"))
        request.capture.includesSecrets = options.includeSecrets
        request.source = options.source
        request.movers = options.movers.movers
        request.tags = tags
        let (steps, moves) = (QuiesceReport(context, global), MoverReport(context, global))
        let result = try await WorkloadBackupJourney(
            client, request, open: open, quiescing: { steps.tell($0) }, moving: { moves.tell($0) }
        ).run()
        report(result)
        return result.join.isPartial ? .partial : .done
    }

    private func report(_ result: WorkloadBackupJourney.Result) {
        let manifest = result.join.manifest
        for problem in manifest.problems {
            context.output.emit(
                "problem", [.init("path", .string(problem.path)), .init("message", .string(problem.message))])
            if context.output.mode == .text {
                context.console.say(Console.oneLine("becalm: \(PathText.about(problem.path, problem.message))"))
            }
        }
        for remark in result.objectRemarks { context.warn(remark, kind: "workload", global) }
        let pause = result.record.pauseSeconds
        let states = manifest.inventory?.states ?? []
        let still =
            switch (result.record.consistency, pause) {
            case (.checkpoint, _): "it ran on"
            case (_, let seconds?): "it stood still for \(Format.duration(seconds))"
            case (_, nil): "it stays stopped until 'becalm resume \(result.record.workload)'"
            }
        context.output.summary(
            [
                .init("snapshot", .string("\(result.join.snapshot)")),
                .init("content_digest", .optional(manifest.contentDigest)),
                .init("workload", .string("\(result.record.workload)")),
                .init("consistency", .string(result.record.consistency.rawValue)),
                .init("pause_seconds", pause.map { .number($0) } ?? .null),
                .init("asked", .string(result.record.request)),
                .init("files", .unsigned(manifest.totals.files)), .init("bytes", .unsigned(manifest.totals.bytes)),
                .init("volumes", .array(result.volumes.map { .object(MoverReport.members($0.claim, $0.result)) })),
                .init("problems", .unsigned(UInt64(manifest.problems.count))),
                .init("checkpoints", .array(states.map { .object(StateText.summary($0)) })),
            ],
            text: """
                snapshot \(result.join.snapshot) of \(result.record.workload): \
                \(Format.count(UInt64(result.volumes.count), "volume")), \(Format.count(manifest.totals.files, "file")), \
                \(Format.bytes(manifest.totals.bytes)); \(still)
                """
                    + (manifest.contentDigest.map { "\ncontent digest \($0)" } ?? "") + StateText.line(states))
    }
}
