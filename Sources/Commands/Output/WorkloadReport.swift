internal import Kubernetes
internal import Orchestration
internal import Repository
internal import RepositoryFormat
internal import Snapshots
internal import Synchronization
internal import Workloads

/// What a journey of a workload comes to, for people and programs.
final class WorkloadReport: Sendable {
    private let context: CommandContext
    private let options: GlobalOptions
    private let quiescing: QuiesceReport
    /// What each claim is known to wait for, so that it is said once.
    private let waits = Mutex<[String: String]>([:])

    init(_ context: CommandContext, _ options: GlobalOptions) {
        self.context = context
        self.options = options
        quiescing = QuiesceReport(context, options)
    }

    /// Tells of what happens, as it does.
    func tell(_ event: WorkloadEvent) {
        switch event {
        case .quiesce(let event): quiescing.tell(event)
        case .remark(let text): context.warn(text, kind: "workload", options)
        case .stage(let text): say("becalm: \(text)")
        case .mover(.waiting(let claim, let reason)):
            let isNew = waits.withLock { waits in
                defer { waits[claim] = reason }
                return waits[claim] != reason
            }
            if isNew { say("becalm: the mover of \(claim) waits: \(reason)") }
        case .mover(.progress): break
        case .mover(.ended(let claim, let result)):
            context.output.emit(
                "volume",
                [
                    .init("claim", .string(claim)), .init("snapshot", .string(result.snapshot)),
                    .init("status", .integer(Int64(result.status.rawValue))), .init("files", .unsigned(result.files)),
                    .init("bytes", .unsigned(result.bytes)), .init("message", .string(result.error)),
                ])
            if result.status == .done || result.status == .partial, !result.snapshot.isEmpty {
                say("becalm: \(claim): \(Format.count(result.files, "file")), \(Format.bytes(result.bytes))")
            }
        case .mover(.remark(let text)): context.warn(text, kind: "mover", options)
        }
        context.output.flush()
    }

    private func say(_ text: String) {
        guard context.output.mode == .text, !options.quiet else { return }
        context.console.say(Console.oneLine(text))
    }

    /// The end of a backup.
    func summary(_ result: WorkloadBackupResult) {
        for remark in result.remarks { context.warn(remark, kind: "workload", options) }
        let manifest = result.joined.manifest
        let states = manifest.inventory?.states ?? []
        context.output.summary(
            [
                .init("snapshot", .string("\(result.joined.snapshot)")),
                .init("content_digest", .optional(manifest.contentDigest)),
                .init("files", .unsigned(manifest.totals.files)), .init("bytes", .unsigned(manifest.totals.bytes)),
                .init("bytes_new", .unsigned(result.volumes.reduce(0) { $0 + $1.result.bytesNew })),
                .init("bytes_stored", .unsigned(result.volumes.reduce(0) { $0 + $1.result.bytesStored })),
                .init("volumes", .strings(result.volumes.map(\.claim))),
                .init("checkpoints", .array(states.map { .object(StateText.summary($0)) })),
            ] + Self.members(result.record),
            text: """
                snapshot \(result.joined.snapshot) of \(result.record.workload), \
                \(Format.count(manifest.totals.files, "file")), \(Format.bytes(manifest.totals.bytes))
                \(Self.lines(result.record))
                """ + (manifest.contentDigest.map { "\ncontent digest \($0)" } ?? "") + StateText.line(states))
    }

    /// How a workload was held and what a restore goes on from, for programs.
    static func members(_ record: QuiesceRecord) -> [Snapshots.JSONValue.Member] {
        let recovery = record.recovery
        return [
            .init("workload", .string("\(record.workload)")),
            .init("consistency", .string(record.consistency.rawValue)),
            .init("pause_seconds", .number(record.pauseSeconds ?? 0)),
            .init("last_complete_step", recovery?.checkpoint?.step.map { .integer($0) } ?? .null),
            .init("lost_seconds", recovery?.lostSeconds.map { .number($0) } ?? .null),
            .init("lost_steps", recovery?.lostSteps.map { .integer($0) } ?? .null),
            .init("recovery_point", .optional(recovery?.words)),
        ]
    }

    /// The same for people.
    static func lines(_ record: QuiesceRecord) -> String {
        let pause = record.pauseSeconds ?? 0
        var line = pause > 0 ? "it stood still for \(Format.duration(pause))" : "it ran all the while"
        if record.consistency == .stop, record.pauseSeconds == nil {
            line = "it stays stopped until somebody resumes it"
        }
        return line + (record.recovery.map { "\n\($0.words)" } ?? "")
    }

    /// The end of a restore.
    func summary(_ result: WorkloadRestoreResult) {
        for remark in result.remarks { context.warn(remark, kind: "workload", options) }
        for object in result.kept {
            context.warn("\(object) was there already and stays as it is", kind: "kept", options)
        }
        let bytes = result.volumes.reduce(0) { $0 + $1.result.bytes }
        context.output.summary(
            [
                .init("workload", .string(result.workload)), .init("created", .strings(result.created)),
                .init("kept", .strings(result.kept)), .init("volumes", .strings(result.volumes.map(\.claim))),
                .init("bytes", .unsigned(bytes)),
            ],
            text: """
                \(result.workload) is back: \(Format.count(UInt64(result.created.count), "object")) created, \
                \(Format.count(UInt64(result.volumes.count), "volume")) of \(Format.bytes(bytes)) filled and read back
                """)
    }
}
