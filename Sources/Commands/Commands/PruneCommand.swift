package import ArgumentParser
package import Orchestration
internal import Repository
internal import Snapshots

/// `becalm prune`
package struct PruneCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "prune",
        abstract: "Collect data that no snapshot needs any more.",
        discussion: """
            Others may back up and restore meanwhile. Data is given up first and removed by a later run, once the \
            grace period that the repository was made with has passed. Packs that are mostly unused are written anew. \
            It may be interrupted at any time and run again.

            EXAMPLE:
              $ becalm prune --dry-run
            """)

    @OptionGroup package var global: GlobalOptions

    @Flag(name: [.customShort("n"), .long], help: "Change nothing; say what would be done.")
    package var dryRun = false

    @Option(
        name: .long,
        help: ArgumentHelp(
            """
            How long data waits in this run's view; 0 removes at once. A backup that runs meanwhile may have to store \
            data once more.
            """, valueName: "time"))
    package var grace: TimeSpan?

    @Option(
        name: .long,
        help: ArgumentHelp("Write packs anew of which less than this percentage is used.", valueName: "percent"))
    package var repackBelow = 60

    @Option(
        name: .long, help: ArgumentHelp("Tolerate this percentage of unused bytes altogether.", valueName: "percent"))
    package var maxUnused = 5

    @Option(name: .long, help: ArgumentHelp("Write at most so many bytes anew in this run.", valueName: "size"))
    package var maxRepack = ByteCount(bytes: 8 << 30)

    package init() {}

    package mutating func validate() throws {
        guard (0...100).contains(repackBelow), (0...100).contains(maxUnused) else {
            throw ValidationError("A percentage is a number from 0 to 100.")
        }
    }

    package func run(in context: CommandContext) async throws -> ExitStatus {
        let repository = try await RepositorySession(global, context).open(dryRun ? .reading : .writing)
        let progress = OperationProgress()
        let options = PruneOptions(
            graceSeconds: grace.map { UInt64($0.seconds) }, isDryRun: dryRun,
            repackBelow: Double(repackBelow) / 100, maximumUnusedFraction: Double(maxUnused) / 100,
            repackBytesLimit: UInt64(maxRepack.bytes))
        let report = try await context.withProgress(progress, verb: "pruning", noun: "step", global) {
            try await MaintenanceJourney(repository: repository, progress: progress).prune(options)
        }
        for finding in report.findings {
            context.output.emit(
                "finding", [.init("object", .string(finding.object)), .init("message", .string(finding.message))])
            if context.output.mode == .text {
                context.console.say(Console.oneLine("becalm: \(finding.object): \(finding.message)"))
            }
        }
        context.output.summary(Self.members(report), text: Self.text(report))
        return .done
    }

    private static func members(_ report: PruneReport) -> [JSONValue.Member] {
        [
            .init("dry_run", .bool(report.isDryRun)), .init("snapshots", .unsigned(report.snapshots)),
            .init("packs_total", .unsigned(report.packsTotal)), .init("bytes_total", .unsigned(report.bytesTotal)),
            .init("bytes_unused", .unsigned(report.unusedBytes)),
            .init("packs_condemned", .unsigned(report.packsCondemned)),
            .init("bytes_condemned", .unsigned(report.bytesCondemned)),
            .init("packs_waiting", .unsigned(report.packsWaiting)),
            .init("packs_deleted", .unsigned(report.packsDeleted)), .init("bytes_freed", .unsigned(report.freedBytes)),
            .init("packs_retained", .unsigned(report.packsRetained)),
            .init("packs_repacked", .unsigned(report.packsRepacked)),
            .init("bytes_repacked", .unsigned(report.bytesRepacked)),
            .init("chunks_rescued", .unsigned(report.chunksRescued)),
            .init("bytes_rescued", .unsigned(report.bytesRescued)),
            .init("segments_removed", .unsigned(report.segmentsRemoved)),
            .init("segments_written", .unsigned(report.segmentsWritten)),
            .init("leftovers_removed", .unsigned(report.leftoversRemoved)),
            .init("findings", .unsigned(UInt64(report.findings.count))),
        ]
    }

    private static func text(_ report: PruneReport) -> String {
        let would = report.isDryRun ? "would be " : ""
        var lines = [
            """
            \(Format.count(report.packsTotal, "pack")) of \(Format.bytes(report.bytesTotal)), \
            \(Format.bytes(report.unusedBytes)) unused
            """,
            """
            \(Format.count(report.packsDeleted, "pack")) \(would)removed, \(Format.bytes(report.freedBytes)) \
            \(would)freed
            """,
            """
            \(Format.count(report.packsCondemned, "pack")) of \(Format.bytes(report.bytesCondemned)) \(would)given up, \
            \(report.packsWaiting) more waiting
            """,
        ]
        if report.packsRepacked > 0 {
            lines.append(
                "\(Format.count(report.packsRepacked, "pack")) \(would)written anew, \(Format.bytes(report.bytesRepacked))"
            )
        }
        if report.packsRetained > 0 {
            lines.append("\(Format.count(report.packsRetained, "pack")) kept by the store under retention")
        }
        return lines.joined(separator: "\n")
    }
}
