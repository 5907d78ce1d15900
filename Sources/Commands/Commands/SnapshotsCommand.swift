package import ArgumentParser
package import Orchestration
internal import Repository
internal import RepositoryFormat
internal import Snapshots

/// `becalm snapshots`
package struct SnapshotsCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "snapshots",
        abstract: "List the snapshots, oldest first.",
        discussion: """
            Where backups have looked for checkpoints, it tells how many complete ones a snapshot has and the highest step \
            of one. With a key of the role 'writer' only ids can be seen. Damaged snapshots are named; the exit code is 13 then.

            EXAMPLE:
              $ becalm snapshots --tag nightly
            """)

    @OptionGroup package var global: GlobalOptions

    @Option(name: .long, help: ArgumentHelp("Only those with this tag; repeated: with all of them.", valueName: "text"))
    package var tag: [String] = []

    @Option(name: .long, help: ArgumentHelp("Only those of this machine.", valueName: "name"))
    package var host: String?

    @Option(
        name: .long,
        help: ArgumentHelp("Only those of this source: its path or the last component of it.", valueName: "path"))
    package var path: String?

    package init() {}

    package func run(in context: CommandContext) async throws -> ExitStatus {
        let repository = try await RepositorySession(global, context).open(.reading)
        let listing = try await InspectionJourney(repository: repository).snapshots()
        let chosen = listing.snapshots.filter(matches)
        let withCheckpoints = chosen.contains { (SnapshotText.complete($0)?.count ?? 0) > 0 }
        var table = TextTable(
            [.left("id"), .left("time (UTC)"), .left("host"), .left("tags"), .right("files"), .right("size")]
                + (withCheckpoints ? [.left("checkpoints")] : []) + [.left("paths")])
        for snapshot in chosen {
            context.output.emit("snapshot", SnapshotText.members(snapshot))
            table.add(SnapshotText.row(snapshot, withCheckpoints: withCheckpoints))
        }
        if !table.isEmpty { context.output.lines(table.lines) }
        for damage in listing.damage {
            context.output.emit(
                "damaged", [.init("object", .string(damage.object)), .init("message", .string(damage.message))])
            if context.output.mode == .text { context.console.say("becalm: damaged: \(damage.message)") }
        }
        context.output.summary(
            [
                .init("snapshots", .unsigned(UInt64(chosen.count))),
                .init("damaged", .unsigned(UInt64(listing.damage.count))),
            ],
            text: Format.count(UInt64(chosen.count), "snapshot")
                + (chosen.contains { $0.manifest?.problems.isEmpty == false }
                    ? "; '!' marks those that lack what could not be read: 'becalm show' tells what" : ""))
        return listing.damage.isEmpty ? .done : .integrity
    }

    private func matches(_ snapshot: ListedSnapshot) -> Bool {
        guard let manifest = snapshot.manifest else { return tag.isEmpty && host == nil && path == nil }
        guard host == nil || manifest.host == host, tag.allSatisfy(manifest.tags.contains) else { return false }
        guard let path else { return true }
        return manifest.paths.contains { MaintenanceJourney.fits($0, path) }
    }
}
