internal import Basics
internal import Orchestration
internal import Snapshots
internal import Workloads

/// What a quiescer comes to, for people and programs.
struct QuiesceReport: Sendable {
    private let context: CommandContext
    private let options: GlobalOptions

    init(_ context: CommandContext, _ options: GlobalOptions) {
        self.context = context
        self.options = options
    }

    /// Tells of a step as it begins, and of what a user should know. A line is written at once, for it may be the last.
    func tell(_ event: QuiesceEvent) {
        switch event {
        case .step(let step):
            context.output.emit("step", [.init("step", .string(step.rawValue))])
            if context.output.mode == .text, !options.quiet { context.console.say("becalm: \(Self.words(step))") }
        case .remark(let text): context.warn(text, kind: "workload", options)
        }
        context.output.flush()
    }

    private static func words(_ step: QuiesceJournal.Step) -> String {
        switch step {
        case .requested: "the journal is open"
        case .checkpointing: "asking for a checkpoint"
        case .checkpointed: "the checkpoint is written"
        case .draining: "draining its routes"
        case .stopping: "stopping"
        case .stopped: "nothing of it runs any more"
        case .captured: "captured"
        case .resuming: "letting it go"
        }
    }

    /// What holds a workload now that it stands still; nil for a process that has written a checkpoint.
    func summary(_ record: QuiesceRecord, _ held: HeldWorkload?) {
        let until = held?.deadline.map { "until \(CalendarTime($0).text)" } ?? "until somebody resumes it"
        let after = record.after.map { ": " + Self.words($0) } ?? ""
        context.output.summary(
            HeldWorkload.members(held, workload: "\(record.workload)")
                + [
                    .init("asked", .string(record.request)),
                    .init("checkpoint", record.after.map { .string(Self.words($0)) } ?? .null),
                    .init("remarks", .strings(record.remarks)),
                ],
            text: record.consistency == .checkpoint
                ? "\(record.workload) \(record.request.isEmpty ? "was not asked for a checkpoint" : "has written a checkpoint") and runs on\(after)"
                    + (held == nil ? "" : "; 'becalm resume \(record.workload)' ends the journal")
                : "\(record.workload) stands still \(until); 'becalm resume \(record.workload)' lets it go")
    }

    /// `/data/run42/checkpoint-120, step 120`
    private static func words(_ checkpoint: SeenCheckpoint) -> String {
        (checkpoint.claim.isEmpty ? checkpoint.path : "\(checkpoint.claim)/\(checkpoint.path)")
            + (checkpoint.step.map { ", step \($0)" } ?? "")
    }

    /// What came of letting one go that a restore held.
    func summary(_ release: GateLifter.Release) {
        for remark in release.remarks { context.warn(remark, kind: "workload", options) }
        context.output.summary(
            [
                .init("workload", .string("\(release.gated.workload)")),
                .init("unfilled", .strings(release.gated.unfilled)), .init("missing", .strings(release.gated.missing)),
                .init("remarks", .strings(release.remarks)),
            ], text: "\(release.gated.workload) is let go")
    }

    /// What came of letting one go.
    func tell(_ resumption: Resumer.Resumption, isSummary: Bool) {
        let pause = resumption.pauseSeconds
        let remarks = resumption.remarks + resumption.notices
        for remark in remarks { context.warn(remark, kind: "workload", options) }
        context.output.emit(
            isSummary ? "summary" : "resumed",
            [
                .init("workload", .string("\(resumption.workload)")),
                .init("pause_seconds", .number(pause)), .init("remarks", .strings(remarks)),
            ],
            text: "\(resumption.workload) runs again"
                + (pause > 0 ? "; it stood still for \(Format.duration(pause))" : ""))
    }
}
