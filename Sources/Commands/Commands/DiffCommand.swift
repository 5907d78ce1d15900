package import ArgumentParser
package import Orchestration
internal import RepositoryFormat
internal import Snapshots

/// `becalm diff`
package struct DiffCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract: "Tell how two snapshots differ.",
        discussion: """
            One line a difference: '+' added, '-' removed, 'M' other content, 'U' other owner, mode, time or \
            attributes only, 'T' another type. What is the same in both is never read.

            EXAMPLE:
              $ becalm diff 3f8a latest
            """)

    @OptionGroup package var global: GlobalOptions

    @Argument(help: "The earlier snapshot.")
    package var before: String

    @Argument(help: "The later snapshot.")
    package var after: String

    @Flag(name: .long, help: "Leave out what differs in owner, mode, time or attributes only.")
    package var contentOnly = false

    package init() {}

    package func run(in context: CommandContext) async throws -> ExitStatus {
        let repository = try await RepositorySession(global, context).open(.reading)
        let (output, contentOnly) = (context.output, contentOnly)
        let comparison = try await InspectionJourney(repository: repository).compare(before, after) { change in
            if contentOnly, change.kind == .modified(.metadata) { return }
            Self.tell(change, output)
            output.flushIfLarge()
            if output.isClosed { throw CancellationError() }
        }
        context.tell(comparison.damage)
        let totals = comparison.totals
        context.output.summary(
            [
                .init("before", .string("\(comparison.before)")), .init("after", .string("\(comparison.after)")),
                .init("added", .unsigned(totals.added)), .init("removed", .unsigned(totals.removed)),
                .init("modified", .unsigned(totals.modified)), .init("bytes_added", .unsigned(totals.bytesAdded)),
                .init("bytes_removed", .unsigned(totals.bytesRemoved)),
                .init("bytes_modified", .unsigned(totals.bytesModified)),
            ],
            text: """
                \(Format.count(totals.added, "file")) added (\(Format.bytes(totals.bytesAdded))), \
                \(totals.removed) removed (\(Format.bytes(totals.bytesRemoved))), \
                \(totals.modified) modified (\(Format.bytes(totals.bytesModified)))
                """)
        return comparison.damage.isEmpty ? .done : .integrity
    }

    private static func tell(_ change: SnapshotDifference.Change, _ output: Output) {
        let path = EntryText.text(change.path)
        let (word, letter): (String, String)
        var changes: SnapshotDifference.Changes = []
        switch change.kind {
        case .added: (word, letter) = ("added", "+")
        case .removed: (word, letter) = ("removed", "-")
        case .modified(let found):
            changes = found
            word = "modified"
            letter = found.contains(.type) ? "T" : found.contains(.content) ? "M" : "U"
        }
        let type = (change.after ?? change.before)?.metadata.type
        output.emit(
            "change",
            [
                .init("change", .string(word)), .init("path", .string(path)),
                .init("entry_type", .optional(type.map(HashManifest.name))),
                .init("content", .bool(changes.contains(.content))),
                .init("metadata", .bool(changes.contains(.metadata))),
                .init("type_changed", .bool(changes.contains(.type))),
                .init("bytes_before", change.before.map { .unsigned($0.metadata.size) } ?? .null),
                .init("bytes_after", change.after.map { .unsigned($0.metadata.size) } ?? .null),
            ], text: "\(letter) \(path)\(type == .directory ? "/" : "")")
    }
}
