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
            nothing that is stored from then on. The last key of the role 'full' cannot be removed, and the one in use \
            only with '--force'.

            EXAMPLE:
              $ becalm key remove 5be1
            """)

    @OptionGroup package var global: GlobalOptions

    @Argument(help: "The beginning of the slot's id: four characters at least.")
    package var id: String

    @Flag(name: .long, help: "Remove even the slot in use: what opened it opens the repository no more.")
    package var force = false

    package init() {}

    package mutating func validate() throws {
        guard id.count >= KeyJourney.minimumPrefix else {
            throw ValidationError(
                "At least \(KeyJourney.minimumPrefix) characters of the id are needed: 'becalm key list' shows it.")
        }
    }

    package func run(in context: CommandContext) async throws -> ExitStatus {
        let repository = try await RepositorySession(global, context).open(.managing(to: "remove a key"))
        let slot = try await KeyJourney(repository: repository).remove(id, evenOwn: force)
        context.output.summary(KeyText.members(slot), text: "removed key \(slot.id)")
        return .done
    }
}
