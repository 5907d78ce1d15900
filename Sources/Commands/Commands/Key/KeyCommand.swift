package import ArgumentParser

/// `becalm key`
package struct KeyCommand: ParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "key",
        abstract: "Say who can open the repository.",
        discussion: """
            Each key slot is opened by a password, a key file or a private key, and has a role: 'full' may do \
            everything; 'writer' can back up and deduplicate, but read nothing that is stored; 'reader' can list, \
            restore, verify and drill, but change nothing.

            EXAMPLE:
              $ becalm key list
              $ becalm key add --role writer --recipient becalm-public-0f…
            """,
        subcommands: [
            KeyListCommand.self, KeyAddCommand.self, KeyRemoveCommand.self, KeyRotateCommand.self,
            KeyPasswdCommand.self, KeyGenerateCommand.self,
        ])

    package init() {}
}
