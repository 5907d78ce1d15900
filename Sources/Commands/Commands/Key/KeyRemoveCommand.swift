package import ArgumentParser
package import Orchestration
internal import RepositoryFormat
internal import Snapshots

/// `becalm key remove`
package struct KeyRemoveCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "remove",
        abstract: "Remove a key slot.",
        discussion: """
            What the slot's holder has seen or copied stays seen: run 'becalm key rotate' afterwards, so that it opens \
            nothing that is stored from then on. The last key of the role 'full' cannot be removed.

            EXAMPLE:
              $ becalm key remove 5be1
            """)

    @OptionGroup package var global: GlobalOptions

    @Argument(help: "The beginning of the slot's id.")
    package var id: String

    package init() {}

    package func run(in context: CommandContext) async throws -> ExitStatus {
        let repository = try await RepositorySession(global, context).open(.writing)
        let slot = try await KeyJourney(repository: repository).remove(id)
        context.output.summary(KeyText.members(slot), text: "removed key \(slot.id)")
        return .done
    }
}
