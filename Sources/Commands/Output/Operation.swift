internal import Orchestration
internal import Snapshots

/// Runs a long operation with a line of progress, ended cleanly by a signal.
struct Operation: Sendable {
    private let progress: OperationProgress
    private let verb: String
    private let isQuiet: Bool
    private let context: CommandContext

    init(_ progress: OperationProgress, verb: String, _ options: GlobalOptions, _ context: CommandContext) {
        self.progress = progress
        self.verb = verb
        isQuiet = options.quiet
        self.context = context
    }

    func run<R>(_ body: () async throws -> R) async throws -> R {
        let display = ProgressDisplay(progress, verb: verb, console: context.console, isQuiet: isQuiet)
        let result: Result<R, any Error>
        do {
            result = .success(try await context.interruption.cancelling(progress, body))
        } catch {
            result = .failure(error)
        }
        await display?.stop()
        return try result.get()
    }
}
