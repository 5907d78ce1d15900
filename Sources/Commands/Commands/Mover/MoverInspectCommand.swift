package import ArgumentParser
internal import Basics
package import Orchestration
internal import Snapshots
internal import Workloads

/// `becalm mover inspect`
package struct MoverInspectCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "inspect", abstract: "Find the newest complete checkpoint on the volume, or wait for a newer one.",
        discussion:
            "The exit code is 21 when no newer one has come in time; without '--newer-than', none at all is no failure."
    )

    @OptionGroup package var global: GlobalOptions
    @OptionGroup package var mover: MoverOptions

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Wait for one whose newest file was written after this: nanoseconds since 1970.", valueName: "time"))
    package var newerThan: Int64?

    @Option(name: .long, help: ArgumentHelp("How long to wait.", valueName: "time"))
    package var timeout = TimeSpan(seconds: 0)

    package init() {}

    /// Seconds between looks. Volumes of a network tell nobody what changes on them.
    private static let pauseSeconds = 2.0

    package func run(in context: CommandContext) async throws -> ExitStatus {
        try await mover.telling(context, global) {
            let volume = context.path(mover.volume)
            let clock = ContinuousClock()
            let end = clock.now.advanced(by: .seconds(timeout.seconds))
            while true {
                let seen = try await CheckpointLook(volume).look()
                var word = MoverResult(.done)
                word.checkpoint = seen.newest
                guard let newerThan else { return word }
                if let newest = seen.newest, newest.modified.nanoseconds > newerThan { return word }
                guard clock.now.advanced(by: .seconds(Self.pauseSeconds)) < end else {
                    word.status = .checkpointTorn
                    word.kind = "no_checkpoint"
                    word.error = "no complete checkpoint is newer than the last one"
                    if seen.other.modified > newerThan { word.error = seen.other.words }
                    return word
                }
                try await Task.sleep(for: .seconds(Self.pauseSeconds))
            }
        }
    }
}
