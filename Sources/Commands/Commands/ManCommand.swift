package import ArgumentParser
internal import Orchestration

/// `becalm man`: prints the manual page, for `make install`.
package struct ManCommand: ParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "man",
        abstract: "Print the manual page.",
        discussion: """
            EXAMPLE:
              $ becalm man > becalm.1
            """,
        shouldDisplay: false)

    package init() {}

    package func run() throws {
        // Ends as help does: what is thrown is printed to standard output.
        throw CleanExit.message(try ManualPage.render())
    }
}
