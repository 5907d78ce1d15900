package import ArgumentParser
internal import Basics
internal import Checkpoints
package import Orchestration
internal import RepositoryFormat
internal import Snapshots
internal import SystemPackage

/// `becalm drill`
package struct DrillCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "drill",
        abstract: "Restore a snapshot elsewhere, prove it, and report.",
        discussion: """
            The snapshot is restored to a scratch directory, proved tier by tier, and removed again. R0, bytes: every file \
            is read again and has its SHA-256. R1, structure: every checkpoint, model and cache is judged as 'becalm \
            inspect' does it, and a job would not resume from a torn one. A snapshot without any passes R1.

            '--report' writes report.json, for programs and auditors, and summary.txt, a page for people.

            The scratch directory is made in '--scratch', which must be empty or new; without it in TMPDIR or /var/tmp. \
            There must be space for the whole snapshot. Nothing of it stays: what a drill that was killed has left there \
            goes with the next one.

            The exit code is 13 when R0 fails, 21 when R1 does, and 16 when there is too little space.

            EXAMPLE:
              $ becalm drill latest:run42 --report ./drills/today
            """)

    @OptionGroup package var global: GlobalOptions

    @Argument(help: "Which snapshot: the beginning of its id, 'latest' or 'latest:SOURCE'.")
    package var snapshot = "latest"

    @Option(
        name: .long,
        help: ArgumentHelp("Write report.json and summary.txt here; made when it is missing.", valueName: "directory"),
        completion: .directory)
    package var report: String?

    @Option(
        name: .long,
        help: ArgumentHelp("Restore into this directory, which must be empty or new.", valueName: "directory"),
        completion: .directory)
    package var scratch: String?

    @Flag(name: .long, help: "Judge content too, where the format records a checksum of it.")
    package var deep = false

    package init() {}

    package mutating func validate() throws {
        guard report != "" else { throw ValidationError("'--report' names no directory.") }
        guard scratch != "" else { throw ValidationError("'--scratch' names no directory.") }
    }

    package func run(in context: CommandContext) async throws -> ExitStatus {
        let repository = try await RepositorySession(global, context).open(.reading)
        let place = scratch.map { context.path($0) } ?? context.path(context.variable("TMPDIR") ?? "/var/tmp")
        let directory = report.map { context.path($0) }
        // Hours later would be too late to learn that the report can go nowhere.
        if let directory { try await Self.make(directory) }
        let request = DrillRequest(
            snapshot: snapshot, place: place, isOwnPlace: scratch != nil, isDeep: deep, program: Version.program)
        let progress = OperationProgress()
        let report = try await context.withProgress(progress, verb: "drilling", noun: "file", global) {
            try await DrillJourney(
                repository: repository, request: request, clock: context.clock, progress: progress
            ).run()
        }
        if let directory { try await Self.write(report, to: directory) }
        tell(report, directory, context)
        return report.status
    }

    private static func make(_ directory: [UInt8]) async throws {
        try await BlockingBridge.offload(name: "becalm-files") {
            Result { try SystemFiles.makeDirectories(SystemFiles.filePath(directory)) }
        }
    }

    /// Each gets its name when it is whole, the report last.
    private static func write(_ report: DrillReport, to directory: [UInt8]) async throws {
        let texts = [
            ("summary.txt", Array(DrillText.page(report).utf8)), ("report.json", report.json.text + [0x0a]),
        ]
        for (name, text) in texts {
            let file = ManifestFile(directory + Array("/\(name)".utf8))
            do {
                try await file.end {
                    try $0.append(text)
                    try $0.commit()
                }
            } catch {
                try await file.end { $0.discard() }
                throw error
            }
        }
    }

    private func tell(_ report: DrillReport, _ directory: [UInt8]?, _ context: CommandContext) {
        let (output, console) = (context.output, context.console)
        if !report.manifest.problems.isEmpty {
            context.warn(
                "the snapshot is partial: it lacks \(Format.count(UInt64(report.manifest.problems.count), "thing")) that could not be read when it was made; 'becalm show' names them",
                kind: "partial", global)
        }
        if let left = report.leftBehind { context.warn(left, kind: "scratch_left", global) }
        for file in report.damaged {
            output.emit("damaged", DrillReport.members(file))
            if output.mode == .text { console.say(Console.oneLine("becalm: damaged: \(file.place): \(file.message)")) }
        }
        for finding in report.findings.checkpoints { output.emit("checkpoint", CheckpointText.members(finding)) }
        for run in report.findings.runs { output.emit("run", CheckpointText.members(run)) }
        for problem in report.findings.problems {
            output.emit("problem", [.init("path", .string(problem.path)), .init("message", .string(problem.message))])
            if output.mode == .text { console.say(Console.oneLine("becalm: \(problem.path): \(problem.message)")) }
        }
        for tier in report.tiers { output.emit("tier", DrillReport.members(tier)) }
        let place = directory.map { PathText.display($0) }
        let total = report.seconds.values.reduce(0, +)
        output.summary(
            [
                .init("snapshot", .string("\(report.snapshot)")),
                .init("content_digest", .optional(report.manifest.contentDigest)),
                .init("result", .string(report.isPassed ? "passed" : "failed")),
            ] + report.counts
                + [.init("report", .optional(place)), .init("duration_seconds", .number(total))],
            text: (DrillText.verdict(report) + (place.map { ["report in \($0)"] } ?? [])).joined(separator: "\n"))
    }
}
