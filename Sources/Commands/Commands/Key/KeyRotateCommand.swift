package import ArgumentParser
package import Orchestration
internal import Snapshots

/// `becalm key rotate`
package struct KeyRotateCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "rotate",
        abstract: "Seal what is stored from now on under new keys.",
        discussion: """
            All slots go on opening the repository, with the password, file or private key that they have. What is \
            stored stays readable under the old keys.

            EXAMPLE:
              $ becalm key rotate
            """)

    @OptionGroup package var global: GlobalOptions

    package init() {}

    package func run(in context: CommandContext) async throws -> ExitStatus {
        let repository = try await RepositorySession(global, context).open(.managing(to: "rotate the keys"))
        let epoch = try await KeyJourney(repository: repository).rotate()
        context.output.summary(
            [.init("epoch", .unsigned(UInt64(epoch)))], text: "epoch \(epoch) has begun: new data has new keys")
        return .done
    }
}
