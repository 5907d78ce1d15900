package import ArgumentParser
internal import Basics
package import Orchestration
internal import RepositoryFormat
internal import Snapshots

/// `becalm key list`
package struct KeyListCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the key slots.",
        discussion: """
            The slot in use is marked with '*'.

            EXAMPLE:
              $ becalm key list
            """)

    @OptionGroup package var global: GlobalOptions

    package init() {}

    package func run(in context: CommandContext) async throws -> ExitStatus {
        let journey = KeyJourney(repository: try await RepositorySession(global, context).open(.reading))
        var table = TextTable([
            .left(""), .left("id"), .left("role"), .left("kind"), .left("made (UTC)"), .left("label"),
        ])
        for slot in journey.slots {
            let isOwn = slot.id == journey.ownSlot
            context.output.emit("key", KeyText.members(slot) + [.init("in_use", .bool(isOwn))])
            table.add([
                isOwn ? "*" : "", slot.id, slot.role.name, slot.kind.name, Format.time(slot.created),
                Console.oneLine(slot.label),
            ])
        }
        context.output.lines(table.lines)
        context.output.summary([
            .init("keys", .unsigned(UInt64(journey.slots.count))), .init("epochs", .unsigned(UInt64(journey.epochs))),
        ])
        return .done
    }
}

/// A key slot for programs.
enum KeyText {
    static func members(_ slot: KeySlot) -> [JSONValue.Member] {
        [
            .init("id", .string(slot.id)), .init("role", .string(slot.role.name)),
            .init("kind", .string(slot.kind.name)), .init("label", .string(slot.label)),
            .init("created", .string(CalendarTime(slot.created).text)),
        ]
    }
}
