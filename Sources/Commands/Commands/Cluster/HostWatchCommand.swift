package import ArgumentParser
package import Orchestration
internal import Workloads

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// `becalm host-watch`: what `becalm quiesce` leaves beside a process that stands still.
package struct HostWatchCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "host-watch",
        abstract: "Let a process of this machine go at its deadline, or when who holds it dies.",
        discussion: "becalm starts this itself; its standard input is a pipe that its holder keeps open.",
        shouldDisplay: false)

    @OptionGroup package var global: GlobalOptions

    @Argument(help: "The workload: host/pid/NAME.")
    package var workload: String

    @Argument(help: "Which of its journals.")
    package var opening: String

    package init() {}

    package func run(in context: CommandContext) async throws -> ExitStatus {
        let watch = HostWatch(
            HostStateDirectory.standard(environment: context.environment), try JourneyError.reference(workload),
            opening: opening, environment: context.environment, clock: context.clock)
        try await watch.run(lifeLine: STDIN_FILENO)
        return .done
    }
}
