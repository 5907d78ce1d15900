package import ArgumentParser
package import Orchestration
internal import Repository
internal import RepositoryFormat
internal import Snapshots
internal import Synchronization

/// `becalm show`
package struct ShowCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Look inside a snapshot.",
        discussion: """
            Without a path it says what the snapshot is, which checkpoints and models are in it, and lists its root; with \
            the path of a directory it lists that directory. Names are printed on one line each, whatever they contain.

            Of a checkpoint or model it shows what was found when it was backed up, and what the repository stores for it: \
            the bytes its chunks take, each counted once, which part of them is stored as the difference to an earlier \
            one, and the ratio of what is stored to its size. What several have in common counts for each.

            EXAMPLE:
              $ becalm show latest
              $ becalm show 3f8a run42/checkpoints --recursive --long
            """)

    @OptionGroup package var global: GlobalOptions

    @Argument(help: "Which snapshot: the beginning of its id, 'latest' or 'latest:SOURCE'.")
    package var snapshot: String

    @Argument(help: "A path in the snapshot.")
    package var path: String?

    @Flag(name: [.customShort("R"), .long], help: "List everything below.")
    package var recursive = false

    @Flag(name: [.short, .long], help: "List modes, owners, sizes and times too.")
    package var long = false

    package init() {}

    package func run(in context: CommandContext) async throws -> ExitStatus {
        let repository = try await RepositorySession(global, context).open(.reading)
        let journey = InspectionJourney(repository: repository)
        let listed = try await journey.snapshot(snapshot)
        describe(listed, context)
        if path == nil { try await tellStates(listed, journey, context) }
        let totals = Mutex(SnapshotManifest.Totals())
        let (output, long) = (context.output, long)
        let damage = try await journey.list(
            "\(listed.id)", path: context.bytes(of: path ?? ""), recursive: recursive
        ) { path, entry in
            totals.withLock { totals in
                if entry.metadata.type == .directory { totals.directories += 1 } else { totals.files += 1 }
                totals.bytes += entry.metadata.size
            }
            let slash = entry.metadata.type == .directory ? "/" : ""
            output.emit(
                "entry", EntryText.members(path, entry),
                text: (long ? EntryText.line(path, entry) : EntryText.text(path)) + slash)
            output.flushIfLarge()
            if output.isClosed { throw CancellationError() }
        }
        context.tell(damage)
        let sums = totals.withLock { $0 }
        context.output.summary([
            .init("snapshot", .string("\(listed.id)")), .init("files", .unsigned(sums.files)),
            .init("directories", .unsigned(sums.directories)), .init("bytes", .unsigned(sums.bytes)),
        ])
        return damage.isEmpty ? .done : .integrity
    }

    /// The table of checkpoints, models and caches, and what jobs resume from.
    private func tellStates(
        _ listed: ListedSnapshot, _ journey: InspectionJourney, _ context: CommandContext
    ) async throws {
        guard let inventory = listed.manifest?.inventory, !inventory.states.isEmpty else { return }
        let output = context.output
        let rows = Mutex((table: StateText.table, notes: [String]()))
        try await journey.states(of: listed) { state, storage in
            output.emit("state", StateText.members(state, storage))
            output.flushIfLarge()
            if output.isClosed { throw CancellationError() }
            rows.withLock { rows in
                rows.table.add(StateText.row(state, storage))
                rows.notes += StateText.explanation(state, storage)
            }
        }
        for run in inventory.runs { output.emit("run", StateText.members(run)) }
        let (table, notes) = rows.withLock { $0 }
        let unlisted =
            inventory.unlisted > 0 ? ["and \(Format.count(inventory.unlisted, "finding")) that are not listed"] : []
        output.lines(table.lines + notes + inventory.runs.flatMap { StateText.line($0) } + unlisted + [""])
    }

    private func describe(_ listed: ListedSnapshot, _ context: CommandContext) {
        guard path == nil else { return }
        context.output.emit("snapshot", SnapshotText.members(listed))
        guard let manifest = listed.manifest else { return }
        for problem in manifest.problems {
            context.output.emit(
                "problem", [.init("path", .string(problem.path)), .init("message", .string(problem.message))])
        }
        for leftOut in manifest.inventory?.leftOut ?? [] {
            context.output.emit(
                "left_out", [.init("path", .string(leftOut.path)), .init("message", .string(leftOut.message))])
        }
        var lines = [
            "snapshot        \(listed.id)", "time            \(Format.time(manifest.timestamp)) UTC",
            "host            \(manifest.host)", "user            \(manifest.user)",
            "paths           \(manifest.paths.joined(separator: " "))",
            "size            \(Format.count(manifest.totals.files, "file")), \(Format.bytes(manifest.totals.bytes))",
            "content digest  \(manifest.contentDigest ?? "none: made with --no-file-digests")",
            "program         \(manifest.program)",
        ]
        if let standstill = manifest.standstill { lines.append(SnapshotText.line(standstill)) }
        if !manifest.tags.isEmpty { lines.append("tags            \(manifest.tags.joined(separator: ", "))") }
        lines += manifest.problems.map { "problem         \($0.path): \($0.message)" }
        let leftOut = manifest.inventory?.leftOut ?? []
        lines += leftOut.map { "left out        \($0.path): \($0.message)" }
        context.output.lines(lines.map(Console.oneLine) + [""])
    }
}

extension CommandContext {
    /// Tells of directories that could not be read.
    func tell(_ damage: [TreeWalker.Damage]) {
        for damage in damage {
            let path = damage.path.isEmpty ? "/" : EntryText.text(damage.path)
            output.emit(
                "damaged", [.init("path", .string(path)), .init("message", .string(damage.error.message))])
            if output.mode == .text {
                console.say(Console.oneLine("becalm: the directory \(path) is damaged: \(damage.error)"))
            }
        }
    }
}
