package import ArgumentParser
package import Orchestration
internal import Repository
internal import RepositoryFormat
internal import Snapshots

/// `becalm verify`
package struct VerifyCommand: RunnableCommand {
    /// How thoroughly, as the command line spells it.
    package enum Depth: String, Sendable, CaseIterable, ExpressibleByArgument {
        case quick
        case index
        case full

        /// What it stands for.
        var depth: VerifyDepth {
            switch self {
            case .quick: .quick
            case .index: .index
            case .full: .full
            }
        }
    }

    package static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Check the repository.",
        discussion: """
            quick: listings and bookkeeping. index: every directory is read, and every chunk that one names has to be \
            in a pack that is there. full: every pack is read, opened and hashed; with a budget, the ones read longest \
            ago first, so that a check every night covers them all in time.

            Damage is named with the snapshots and files that it hits; the exit code is 13. '--rebuild-index' makes \
            the index anew from the packs where it is damaged, before the check. '--repair' gives up packs that are found \
            damaged, most of which only '--depth full' finds: the next backup then stores anew what its sources still \
            have of them.

            EXAMPLE:
              $ becalm verify --depth full --budget 10m
            """)

    @OptionGroup package var global: GlobalOptions

    @Argument(help: "Only what this snapshot needs: the beginning of its id, 'latest' or 'latest:SOURCE'.")
    package var snapshot: String?

    @Option(name: .long, help: ArgumentHelp("How thoroughly.", valueName: "depth"))
    package var depth: Depth = .index

    @Option(
        name: .long,
        help: ArgumentHelp("Read no further packs after so long: 10m. For the depth full.", valueName: "time"))
    package var budget: TimeSpan?

    @Flag(name: .long, help: "Mend the index from the packs first.")
    package var rebuildIndex = false

    @Flag(name: .long, help: "Give up what is found damaged, so that the next backup heals it.")
    package var repair = false

    package init() {}

    package mutating func validate() throws {
        guard budget == nil || depth == .full else { throw ValidationError("'--budget' is for '--depth full'.") }
    }

    package func run(in context: CommandContext) async throws -> ExitStatus {
        let repository = try await RepositorySession(global, context).open(
            rebuildIndex || repair ? .managing(to: "repair") : .reading)
        let progress = OperationProgress()
        let journey = MaintenanceJourney(repository: repository, progress: progress)
        if rebuildIndex {
            let report = try await context.withProgress(progress, verb: "rebuilding", noun: "pack", global) {
                try await journey.rebuildIndex()
            }
            tell(report, context)
        }
        let report = try await context.withProgress(progress, verb: "verifying", noun: "object", global) {
            try await journey.verify(snapshot, depth: depth.depth, budgetSeconds: budget?.seconds)
        }
        for problem in report.problems { tell(problem, context) }
        if repair {
            let names = try await journey.giveUpDamaged(report)
            for name in names {
                context.output.emit(
                    "given_up", [.init("object", .string(name))],
                    text: "given up: \(name): back up the same sources again to store anew what they still have of it")
            }
        } else if report.problems.contains(where: { $0.kind == .pack && !$0.isHarmless }) {
            context.warn(
                "damaged packs heal when '--depth full --repair' gives them up and the same sources are backed up again",
                kind: "repairable", global)
        }
        summarize(report, context)
        return MaintenanceJourney.status(report)
    }

    private func tell(_ report: RepairReport, _ context: CommandContext) {
        context.output.emit(
            "repair",
            [
                .init("packs_indexed", .unsigned(report.packsIndexed)),
                .init("packs_salvaged", .unsigned(report.packsSalvaged)),
                .init("chunks_indexed", .unsigned(report.chunksIndexed)),
                .init("segments_written", .unsigned(report.segmentsWritten)),
                .init("segments_removed", .unsigned(report.segmentsRemoved)),
            ],
            text: """
                \(Format.count(report.packsIndexed, "pack")) and \(Format.count(report.chunksIndexed, "chunk")) listed \
                anew, \(Format.count(report.segmentsRemoved, "damaged segment")) removed
                """)
        for lost in report.lost {
            context.output.emit(
                "lost", [.init("object", .string(lost.object)), .init("message", .string(lost.message))],
                text: Console.oneLine("lost: \(lost.object): \(lost.message)"))
        }
    }

    private func tell(_ problem: VerifyProblem, _ context: CommandContext) {
        var lines = ["\(problem.isHarmless ? "note" : "damaged"): \(problem.message)"]
        if !problem.snapshots.isEmpty {
            lines.append("  snapshots: \(problem.snapshots.map { $0.description.prefix(12) }.joined(separator: " "))")
        }
        lines += problem.files.map { "  file: \($0)" }
        let more = problem.fileCount - min(problem.fileCount, UInt64(problem.files.count))
        if more > 0 { lines.append("  and \(Format.count(more, "more file"))") }
        context.output.emit(
            "problem",
            [
                .init("object", .string(problem.object)), .init("kind", .string(problem.kind.rawValue)),
                .init("message", .string(problem.message)), .init("harmless", .bool(problem.isHarmless)),
                .init("snapshots", .strings(problem.snapshots.map(\.description))),
                .init("files", .strings(problem.files)), .init("file_count", .unsigned(problem.fileCount)),
            ], text: lines.map(Console.oneLine).joined(separator: "\n"))
    }

    private func summarize(_ report: VerifyReport, _ context: CommandContext) {
        let harmful = UInt64(report.problems.count { !$0.isHarmless })
        var text =
            "\(Format.count(report.snapshots, "snapshot")), \(Format.count(report.packs, "pack")) of \(Format.bytes(report.packBytes)): "
            + (report.isSound ? "no damage found" : "\(Format.count(harmful, "problem")) found")
        if depth == .full {
            text +=
                "; read \(report.packsRead) of \(Format.count(report.packsToRead, "pack")), \(Format.bytes(report.bytesRead))"
        }
        context.output.summary(
            [
                .init("depth", .string("\(report.depth)")), .init("sound", .bool(report.isSound)),
                .init("complete", .bool(report.isComplete)),
                .init("problems", .unsigned(UInt64(report.problems.count))), .init("damaged", .unsigned(harmful)),
                .init("snapshots", .unsigned(report.snapshots)), .init("packs", .unsigned(report.packs)),
                .init("pack_bytes", .unsigned(report.packBytes)),
                .init("tree_chunks", .unsigned(report.treeChunks)), .init("data_chunks", .unsigned(report.dataChunks)),
                .init("packs_read", .unsigned(report.packsRead)), .init("bytes_read", .unsigned(report.bytesRead)),
            ], text: text)
    }
}
