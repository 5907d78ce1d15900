package import ArgumentParser
package import Orchestration
package import RepositoryFormat
internal import Snapshots

/// `becalm key add`
package struct KeyAddCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "add",
        abstract: "Add a key slot.",
        discussion: """
            The repository is opened with a key of the role 'full', the new slot with what '--new-password-file' and \
            its kin name, or by the holder of the private key to '--recipient', who need not be there.

            EXAMPLE:
              $ becalm key add --role writer --label node-7 --new-password-file node-7.password
              $ head -c 32 /dev/urandom > node-8.key && becalm key add --role writer --new-key-file node-8.key
            """)

    @OptionGroup package var global: GlobalOptions
    @OptionGroup package var new: NewKeyOptions

    @Option(
        name: .long,
        help: ArgumentHelp("A public key that 'becalm key generate' has printed.", valueName: "key"))
    package var recipient: String?

    @Option(name: .long, help: ArgumentHelp("What the slot may do: full or writer.", valueName: "role"))
    package var role: KeyRole = .full

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
        let repository = try await RepositorySession(global, context).open(.writing)
        let way: KeyJourney.Way
        if let key = recipient.flatMap(IdentityText.recipient) {
            way = .recipient(key)
        } else {
            way = .credential(try await new.credential(context))
        }
        let slot = try await KeyJourney(repository: repository).add(way, role: role, label: label)
        context.output.summary(
            KeyText.members(slot), text: "added key \(slot.id) (\(slot.kind.name)) with the role '\(slot.role.name)'")
        return .done
    }
}

extension KeyRole: ExpressibleByArgument {
    package init?(argument: String) {
        guard let role = Self.allCases.first(where: { $0.name == argument }) else { return nil }
        self = role
    }

    package var defaultValueDescription: String { name }
    package static var allValueStrings: [String] { allCases.map(\.name) }
}
