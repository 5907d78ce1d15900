package import ArgumentParser
internal import Basics
package import Orchestration
internal import Repository
internal import Snapshots

/// `becalm prune`
package struct PruneCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "prune",
        abstract: "Collect data that no snapshot needs any more.",
        discussion: """
            Data lies in packs. A pack that no snapshot needs is given up first ('condemned') and removed by a later \
            run, once the grace period that the repository was made with has passed; a pack younger than that is left \
            alone. Of packs that are mostly unused the rest is written anew, when enough is unused altogether.

            Others may back up and restore meanwhile. It may be interrupted at any time and run again.

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
        let repository = try await RepositorySession(global, context).open(dryRun ? .reading : .managing(to: "prune"))
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
            .init("condemned_until", .optional(report.condemnedUntil.map { CalendarTime($0).text })),
            .init("packs_waiting", .unsigned(report.packsWaiting)),
            .init("waiting_until", .optional(report.waitingUntil.map { CalendarTime($0).text })),
            .init("packs_young", .unsigned(report.packsYoung)),
            .init("young_until", .optional(report.youngUntil.map { CalendarTime($0).text })),
            .init("packs_at_work", .unsigned(report.packsAtWork)),
            .init("packs_tolerated", .unsigned(report.packsTolerated)),
            .init("packs_postponed", .unsigned(report.packsPostponed)),
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
        ]
        if report.packsRepacked > 0 {
            lines.append(
                "\(Format.count(report.packsRepacked, "pack")) \(would)written anew, \(Format.bytes(report.bytesRepacked))"
            )
        }
        if report.packsCondemned > 0 {
            let removal = report.condemnedUntil.map {
                ": a later run removes \(them(report.packsCondemned)) \(from($0))"
            }
            lines.append(
                "\(Format.count(report.packsCondemned, "pack")) of \(Format.bytes(report.bytesCondemned)) \(would)given up\(removal ?? "")"
            )
        }
        return (lines + reasons(report)).joined(separator: "\n")
    }

    /// Why something stays.
    private static func reasons(_ report: PruneReport) -> [String] {
        var lines: [String] = []
        func add(_ packs: UInt64, _ singular: String, _ plural: String) {
            if packs > 0 { lines.append("\(Format.count(packs, "pack")) \(packs == 1 ? singular : plural)") }
        }
        let due = report.waitingUntil.map { ", to be removed \(from($0))" } ?? ""
        add(report.packsWaiting, "given up before waits\(due)", "given up before wait\(due)")
        let young =
            "younger than the grace period and left alone\(report.youngUntil.map { " until \(time($0))" } ?? "")"
        add(report.packsYoung, "with unused data is \(young)", "with unused data are \(young)")
        let work = "to a backup that was at work a moment ago, and left alone"
        add(report.packsAtWork, "with unused data belongs \(work)", "with unused data belong \(work)")
        let tolerated = "for little enough is unused altogether (--max-unused)"
        add(report.packsTolerated, "with unused data stays, \(tolerated)", "with unused data stay, \(tolerated)")
        let postponed = "for this run has written enough anew (--max-repack): run again"
        add(report.packsPostponed, "with unused data stays, \(postponed)", "with unused data stay, \(postponed)")
        add(report.packsRetained, "is kept by the store under retention", "are kept by the store under retention")
        let isIdle = report.packsDeleted == 0 && report.packsCondemned == 0 && lines.isEmpty
        if isIdle, report.unusedBytes == 0 {
            lines.append("nothing to do: snapshots need all that is stored")
        } else if isIdle {
            lines.append("nothing to do: what is unused lies in packs of which enough is needed (--repack-below)")
        }
        return lines
    }

    private static func them(_ number: UInt64) -> String { number == 1 ? "it" : "them" }
    private static func time(_ time: Timestamp) -> String { "\(Format.time(time)) UTC" }
    private static func from(_ time: Timestamp) -> String { "from \(Self.time(time)) on" }
}
