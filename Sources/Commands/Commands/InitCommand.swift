package import ArgumentParser
internal import ObjectStorage
package import Orchestration
internal import Repository
internal import RepositoryFormat
internal import Snapshots

/// `becalm init`
package struct InitCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "init",
        abstract: "Make a repository.",
        discussion: """
            A directory is made if the one that it is in exists, and must be empty otherwise; a bucket must exist. The \
            password, key file or identity that is given opens the repository from then on: without it nothing can \
            ever be restored.

            EXAMPLE:
              $ becalm init --repository /srv/backups --password-file ~/.becalm-password
              $ becalm init --repository s3://backups/team-a
            """)

    @OptionGroup package var global: GlobalOptions

    @Option(name: .long, help: ArgumentHelp("What the first key is called in lists.", valueName: "text"))
    package var label = "first"

    @Option(
        name: .long,
        help: ArgumentHelp(
            """
            How long data that nothing needs any more waits before 'prune' removes it. No backup may take longer \
            between two looks at the repository.
            """, valueName: "time"))
    package var grace = TimeSpan(seconds: 86_400)

    package init() {}

    package mutating func validate() throws {
        guard grace.seconds >= 60 else { throw ValidationError("'--grace' takes at least 60 seconds.") }
    }

    package func run(in context: CommandContext) async throws -> ExitStatus {
        let repository = try await RepositorySession(global, context)
            .create(label: label, graceSeconds: UInt64(grace.seconds))
        context.output.summary(
            [
                .init("repository", .string("\(repository.config.repositoryID)")),
                .init("location", .string(repository.store.location)), .init("key", .string(repository.slotID)),
            ], text: "made repository \(repository.config.repositoryID) at \(repository.store.location)")
        return .done
    }
}
