package import ArgumentParser
internal import Checkpoints
package import Orchestration
internal import Snapshots
internal import Synchronization

/// `becalm inspect`
package struct InspectCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Recognise and judge checkpoints, models and caches on disk.",
        discussion: """
            Each is complete, torn (with the evidence: its own loader would fail), unknown (with the reason), or empty. It also \
            says what the framework would resume from. Nothing is executed: pickles are read, never run. No repository is \
            needed.

            The exit code is 21 when nothing complete is found, or what a job would resume from is torn.

            EXAMPLE:
              $ becalm inspect ./run42
            """)

    @OptionGroup package var global: GlobalOptions

    @Argument(help: ArgumentHelp("A directory, or one file.", valueName: "path"), completion: .file())
    package var path: String

    @Flag(
        name: .long,
        help: "Check content too, where the format records a checksum of it: reads every byte of such files.")
    package var deep = false

    package init() {}

    /// What a survey adds up to.
    private struct Tally: Sendable {
        var counts: [Judgement: UInt64] = [:]
        var runs: UInt64 = 0
        var unread: UInt64 = 0
        var resumesFromTorn = false
        var table = TextTable([
            .left("path"), .left("format"), .right("step"), .right("size"), .right("parameters"), .left("judgement"),
        ])
        var explanations: [String] = []

        mutating func add(_ finding: CheckpointFinding) {
            counts[finding.judgement, default: 0] += 1
            table.add([
                CheckpointText.path(finding.path), finding.format.rawValue, finding.step.map { "\($0)" } ?? "",
                finding.bytes.map { Format.bytes($0) } ?? "", CheckpointText.parameters(finding.parameters),
                finding.judgement.rawValue,
            ])
            explanations += CheckpointText.explanation(finding)
        }

        mutating func add(_ run: RunFinding) {
            runs += 1
            if let judgement = run.resume?.judgement, judgement == .torn || judgement == .empty {
                resumesFromTorn = true
            }
            explanations += CheckpointText.lines(run)
        }
    }

    package func run(in context: CommandContext) async throws -> ExitStatus {
        guard !path.isEmpty else { throw JourneyError.usage("an empty path names nothing") }
        let tally = Mutex(Tally())
        let output = context.output
        try await SurveyJourney(path: context.path(path), isDeep: deep).run { event in
            switch event {
            case .checkpoint(let finding):
                output.emit("checkpoint", CheckpointText.members(finding))
                tally.withLock { $0.add(finding) }
            case .run(let run):
                output.emit("run", CheckpointText.members(run))
                tally.withLock { $0.add(run) }
            case .unread(let path, let reason):
                output.emit("problem", [.init("path", .string(path)), .init("message", .string(reason))])
                if output.mode == .text {
                    context.console.say(Console.oneLine("becalm: \(CheckpointText.path(path)): \(reason)"))
                }
                tally.withLock { $0.unread += 1 }
            }
            output.flushIfLarge()
            if output.isClosed { throw CancellationError() }
        }
        let found = tally.withLock { $0 }
        if !found.table.isEmpty { output.lines(found.table.lines + found.explanations) }
        let count = { (judgement: Judgement) in found.counts[judgement] ?? 0 }
        let total = found.counts.values.reduce(0, +)
        output.summary(
            [
                .init("complete", .unsigned(count(.complete))), .init("torn", .unsigned(count(.torn))),
                .init("unknown", .unsigned(count(.unknown))), .init("empty", .unsigned(count(.empty))),
                .init("runs", .unsigned(found.runs)), .init("resumes_from_torn", .bool(found.resumesFromTorn)),
                .init("problems", .unsigned(found.unread)),
            ],
            text: total == 0
                ? "no checkpoint, model or cache is recognised"
                : "\(count(.complete)) complete, \(count(.torn)) torn, \(count(.unknown)) unknown, \(count(.empty)) empty"
        )
        if count(.complete) == 0 || found.resumesFromTorn { return .checkpointTorn }
        return found.unread > 0 ? .partial : .done
    }
}
