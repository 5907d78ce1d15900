package import ArgumentParser
package import Orchestration
internal import RepositoryFormat
internal import Snapshots

/// `becalm key add`
package struct KeyAddCommand: RunnableCommand {
    /// What a slot may do, as the command line spells it.
    package enum Role: String, Sendable, CaseIterable, ExpressibleByArgument {
        case full
        case writer
        case reader

        /// What it stands for.
        var role: KeyRole {
            switch self {
            case .full: .full
            case .writer: .writer
            case .reader: .reader
            }
        }
    }

    package static let configuration = CommandConfiguration(
        commandName: "add",
        abstract: "Add a key slot.",
        discussion: """
            The repository is opened with a key of the role 'full', the new slot with what '--new-password-file' and \
            its kin name, or by the holder of the private key to '--recipient', who need not be there.

            A 'writer' backs up and reads nothing that is stored; a 'reader' restores, verifies and drills, and changes \
            nothing. Give a reader credentials for the storage that cannot write, too: the key alone does not keep \
            somebody who has both from storing forgeries.

            EXAMPLE:
              $ becalm key add --role writer --label node-7 --new-password-file node-7.password
              $ becalm key add --role reader --label audit --recipient becalm-public-0f…
              $ head -c 32 /dev/urandom > node-8.key && becalm key add --role writer --new-key-file node-8.key
            """)

    @OptionGroup package var global: GlobalOptions
    @OptionGroup package var new: NewKeyOptions

    @Option(
        name: .long,
        help: ArgumentHelp("A public key that 'becalm key generate' has printed.", valueName: "key"))
    package var recipient: String?

    @Option(name: .long, help: ArgumentHelp("What the slot may do.", valueName: "role"))
    package var role: Role = .full

    @Option(name: .long, help: ArgumentHelp("What the slot is called in lists.", valueName: "text"))
    package var label = ""

    package init() {}

    package mutating func validate() throws {
        guard let recipient else { return }
        guard IdentityText.recipient(recipient) != nil else {
            throw ValidationError("'--recipient' takes a public key as 'becalm key generate' prints it.")
        }
        guard new.newPasswordFile == nil, new.newKeyFile == nil else {
            throw ValidationError("Give one of '--recipient', '--new-password-file' and '--new-key-file'.")
        }
    }

    package func run(in context: CommandContext) async throws -> ExitStatus {
        let repository = try await RepositorySession(global, context).open(.managing(to: "add a key"))
        let way: KeyJourney.Way
        if let key = recipient.flatMap(IdentityText.recipient) {
            way = .recipient(key)
        } else {
            way = .credential(try await new.credential(context))
        }
        let slot = try await KeyJourney(repository: repository).add(way, role: role.role, label: label)
        context.output.summary(
            KeyText.members(slot), text: "added key \(slot.id) (\(slot.kind.name)) with the role '\(slot.role.name)'")
        return .done
    }
}
