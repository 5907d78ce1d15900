package import ArgumentParser
package import Orchestration

/// A command that does something. `run(in:)` throws any error of any layer; the program turns it into a line and a status.
package protocol RunnableCommand: ParsableCommand, Sendable {
    /// What all commands understand.
    var global: GlobalOptions { get }

    /// Does it. Long work is cancelled through the context's interruption.
    func run(in context: CommandContext) async throws -> ExitStatus
}
