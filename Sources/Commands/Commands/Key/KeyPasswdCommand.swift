package import ArgumentParser
package import Orchestration
internal import RepositoryFormat
internal import Snapshots

/// `becalm key passwd`
package struct KeyPasswdCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "passwd",
        abstract: "Give the key slot in use another password or key file.",
        discussion: """
            The old one opens nothing any more, once this has returned. Copies of the repository that are older still \
            open with it.

            EXAMPLE:
              $ becalm key passwd --new-password-file ~/.becalm-password.new
            """)

    @OptionGroup package var global: GlobalOptions
    @OptionGroup package var new: NewKeyOptions

    package init() {}

    package func run(in context: CommandContext) async throws -> ExitStatus {
        let repository = try await RepositorySession(global, context).open(.managing(to: "change a key"))
        let credential = try await new.credential(context)
        let slot = try await KeyJourney(repository: repository).replace(with: credential)
        context.output.summary(
            KeyText.members(slot), text: "changed: the slot is now key \(slot.id) (\(slot.kind.name))")
        return .done
    }
}
