package import ArgumentParser
internal import Orchestration

/// The root of all commands.
package struct BecalmCommand: ParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "becalm",
        abstract: "Back up what AI workloads cannot lose, and prove that it comes back.",
        discussion: """
            Encrypted, deduplicated backups of directories, in a directory or on S3-compatible storage. Several \
            machines may use one repository at once.

            EXIT STATUS: 0 done, 1 failed, 3 partial, 10 no repository, 11 busy, 12 wrong key, 13 stored data damaged, \
            14 credentials refused, 15 storage unreachable, 16 no space, 20 not quiesced in time, 21 checkpoint torn or none complete, 64 usage, 130 and 143 signals.

            ENVIRONMENT: BECALM_REPOSITORY; BECALM_PASSWORD, BECALM_PASSWORD_FILE or BECALM_PASSWORD_COMMAND; the \
            same with BECALM_NEW_PASSWORD for a password that is being set; BECALM_CACHE_DIR; and what the AWS \
            command line takes.

            'becalm man' prints the manual page, which has all of this at length; 'becalm --generate-completion-script \
            bash' (or zsh, fish) prints completions for the shell. Options stand behind the command.

            EXAMPLE:
              $ export BECALM_REPOSITORY=/srv/backups BECALM_PASSWORD_FILE=~/.becalm-password
              $ becalm init
              $ becalm backup ./run42
              $ becalm restore latest --target /tmp/back
            """,
        version: Version.number,
        groupedSubcommands: [
            CommandGroup(
                name: "Back up and restore",
                subcommands: [InitCommand.self, BackupCommand.self, RestoreCommand.self, DrillCommand.self]),
            CommandGroup(
                name: "Look inside",
                subcommands: [
                    SnapshotsCommand.self, ShowCommand.self, DiffCommand.self, ManifestCommand.self,
                    InspectCommand.self, VeleroCommand.self,
                ]),
            CommandGroup(
                name: "Workloads",
                subcommands: [
                    QuiesceCommand.self, ResumeCommand.self, StatusCommand.self, DataMoverCommand.self,
                    MoverCommand.self, HostWatchCommand.self,
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
