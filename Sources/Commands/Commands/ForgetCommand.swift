package import ArgumentParser
internal import Basics
package import Orchestration
internal import Repository
internal import RepositoryFormat
internal import Snapshots

/// `becalm forget`
package struct ForgetCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "forget",
        abstract: "Remove snapshots, by name or by rule.",
        discussion: """
            Rules work on each source (machine and paths) by itself, and side by side: a snapshot is kept when any of \
            them keeps it. '--keep-daily 7' keeps the newest of each of the last seven days that have one, in UTC. A \
            source of which they keep nothing is left alone and named, and the exit code is 3, unless '--allow-empty' \
            is given. The data goes with 'becalm prune'.

            EXAMPLE:
              $ becalm forget --keep-last 3 --keep-daily 7 --keep-weekly 5 --keep-tag release --dry-run
              $ becalm forget 3f8a 77c0
            """)

    @OptionGroup package var global: GlobalOptions

    @Argument(help: "Snapshots to remove, by four characters of their ids at least; instead of rules.")
    package var snapshots: [String] = []

    @Option(name: .long, help: ArgumentHelp("Keep so many of the newest.", valueName: "number"))
    package var keepLast: UInt = 0

    @Option(name: .long, help: ArgumentHelp("Keep the newest of so many hours.", valueName: "number"))
    package var keepHourly: UInt = 0

    @Option(name: .long, help: ArgumentHelp("Keep the newest of so many days.", valueName: "number"))
    package var keepDaily: UInt = 0

    @Option(name: .long, help: ArgumentHelp("Keep the newest of so many weeks.", valueName: "number"))
    package var keepWeekly: UInt = 0

    @Option(name: .long, help: ArgumentHelp("Keep the newest of so many months.", valueName: "number"))
    package var keepMonthly: UInt = 0

    @Option(name: .long, help: ArgumentHelp("Keep the newest of so many years.", valueName: "number"))
    package var keepYearly: UInt = 0

    @Option(name: .long, help: ArgumentHelp("Keep what has this tag; may be repeated.", valueName: "text"))
    package var keepTag: [String] = []

    @Option(
        name: .long,
        help: ArgumentHelp("Keep what is at most so much older than the newest: 14d.", valueName: "time"))
    package var keepWithin: TimeSpan?

    @Option(name: .long, help: ArgumentHelp("Rules see only snapshots of this machine.", valueName: "name"))
    package var host: String?

    @Option(
        name: .long, help: ArgumentHelp("Rules see only snapshots with this tag; repeated: all.", valueName: "text"))
    package var tag: [String] = []

    @Option(
        name: .long,
        help: ArgumentHelp("Rules see only snapshots of this source: its path or last component.", valueName: "path"))
    package var path: String?

    @Flag(name: .long, help: "Let rules take the last snapshot of a source.")
    package var allowEmpty = false

    @Flag(name: [.customShort("n"), .long], help: "Remove nothing; say what would go and why the rest stays.")
    package var dryRun = false

    package init() {}

    private var rule: RetentionRule {
        var rule = RetentionRule()
        rule.keepLast = keepLast
        rule.keepHourly = keepHourly
        rule.keepDaily = keepDaily
        rule.keepWeekly = keepWeekly
        rule.keepMonthly = keepMonthly
        rule.keepYearly = keepYearly
        rule.keepTags = keepTag
        rule.keepWithinSeconds = keepWithin?.seconds
        return rule
    }

    package mutating func validate() throws {
        let hasFilter = host != nil || !tag.isEmpty || path != nil || allowEmpty
        if snapshots.isEmpty {
            guard !rule.isEmpty else {
                throw ValidationError("Name snapshots, or say what to keep: '--keep-last 7', '--keep-daily 14', …")
            }
        } else if !rule.isEmpty || hasFilter {
            throw ValidationError("Name snapshots or give rules, not both.")
        }
        if let short = snapshots.first(where: { $0.count < KeyJourney.minimumPrefix }) {
            throw ValidationError(
                "'\(short)' is too short: at least \(KeyJourney.minimumPrefix) characters of an id are needed.")
        }
    }

    package func run(in context: CommandContext) async throws -> ExitStatus {
        let repository = try await RepositorySession(global, context).open(
            dryRun ? .reading : .managing(to: "forget snapshots"))
        let choice: MaintenanceJourney.Choice =
            snapshots.isEmpty
            ? .rule(rule, host: host, tags: tag, path: path, mayEmptySources: allowEmpty) : .named(snapshots)
        let result = try await MaintenanceJourney(repository: repository, progress: OperationProgress())
            .forget(choice, isDryRun: dryRun)
        tell(result, context)
        if !result.report.missing.isEmpty {
            let names = result.report.missing.map(\.description).joined(separator: ", ")
            throw JourneyError(
                .usage, kind: "not_found", "there is no snapshot \(names): 'becalm snapshots' lists what there is")
        }
        return result.report.locked.isEmpty && !result.decisions.contains(where: \.isSpared) ? .done : .partial
    }

    /// Each snapshot and why it stays, source by source.
    private func tell(_ decisions: [RetentionRule.Decision], _ context: CommandContext) {
        var heading = ""
        for decision in decisions {
            let candidate = decision.candidate
            let source = Console.oneLine("\(candidate.host):\(candidate.paths.sorted().joined(separator: " "))")
            if source != heading {
                heading = source
                context.output.lines([source])
                if decision.isSpared {
                    context.warn(
                        "\(source) is left alone, for the rule keeps nothing of it: keep more, or use --allow-empty",
                        kind: "source_spared", global,
                        [.init("host", .string(candidate.host)), .init("paths", .strings(candidate.paths))])
                }
            }
            let id = candidate.id.description
            let line = "  \(decision.isKept ? "keep  " : "forget") \(id.prefix(12))  \(Format.time(candidate.time))"
            let reasons = decision.reasons.isEmpty ? "" : "  \(decision.reasons.joined(separator: ", "))"
            context.output.emit(
                "decision",
                [
                    .init("id", .string(id)), .init("keep", .bool(decision.isKept)),
                    .init("reasons", .strings(decision.reasons)), .init("host", .string(candidate.host)),
                    .init("paths", .strings(candidate.paths)),
                    .init("time", .string(CalendarTime(candidate.time).text)),
                ], text: Console.oneLine(line + reasons))
        }
    }

    private func tell(_ result: MaintenanceJourney.Forgetting, _ context: CommandContext) {
        let filters =
            (host.map { ["--host \($0)"] } ?? []) + tag.map { "--tag \($0)" } + (path.map { ["--path \($0)"] } ?? [])
        if result.decisions.isEmpty, !filters.isEmpty {
            context.warn(
                "no snapshot fits \(filters.joined(separator: " ")): 'becalm snapshots' lists what there is",
                kind: "unmatched", global)
        }
        tell(result.decisions, context)
        let described = Set(result.decisions.map(\.candidate.id))
        for id in result.chosen where !described.contains(id) {
            context.output.lines(["  forget \(id.description.prefix(12))  (cannot be read)"])
        }
        for damage in result.damage {
            context.output.emit(
                "damaged", [.init("object", .string(damage.object)), .init("message", .string(damage.message))])
            if context.output.mode == .text {
                context.console.say(Console.oneLine("becalm: damaged and left alone: \(damage.message)"))
            }
        }
        for id in result.report.locked where context.output.mode == .text {
            context.console.say("becalm: snapshot \(id) is kept by the store under retention: forget it again later")
        }
        let removed = dryRun ? result.chosen : result.report.removed
        context.output.summary(
            [
                .init("dry_run", .bool(dryRun)), .init("forgotten", .strings(removed.map(\.description))),
                .init("locked", .strings(result.report.locked.map(\.description))),
                .init("kept", .unsigned(UInt64(result.kept))),
            ], text: "\(Format.count(UInt64(removed.count), "snapshot")) \(dryRun ? "would be forgotten" : "forgotten")"
        )
    }
}
