package import ArgumentParser

/// The root of all commands.
package struct BecalmCommand: ParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "becalm",
        abstract: "Back up what AI workloads cannot lose, and prove that it comes back.",
        discussion: """
            Encrypted, deduplicated backups of directories, in a directory or on S3-compatible storage. Several \
            machines may use one repository at once.

            EXAMPLE:
              $ export BECALM_REPOSITORY=/srv/backups BECALM_PASSWORD_FILE=~/.becalm-password
              $ becalm init
              $ becalm backup ./run42
              $ becalm restore latest --target /tmp/back
            """,
        version: Version.number,
        groupedSubcommands: [
            CommandGroup(
                name: "Back up and restore", subcommands: [InitCommand.self, BackupCommand.self, RestoreCommand.self]),
            CommandGroup(
                name: "Look inside",
                subcommands: [
                    SnapshotsCommand.self, ShowCommand.self, DiffCommand.self, ManifestCommand.self,
                ]),
            CommandGroup(
                name: "Maintain",
                subcommands: [
                    VerifyCommand.self, ForgetCommand.self, PruneCommand.self, KeyCommand.self, DoctorCommand.self,
                    ManCommand.self,
                ]),
        ])

    package init() {}
}
