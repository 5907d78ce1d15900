internal import Orchestration
internal import Snapshots

extension CommandContext {
    /// Runs a long operation with a line of progress. A signal cancels its task.
    ///
    /// `verb` begins the line ("verifying"), `noun` is what is counted.
    func withProgress<R>(
        _ progress: OperationProgress, verb: String, noun: String, _ options: GlobalOptions,
        _ body: () async throws -> R
    ) async throws -> R {
        let display = ProgressDisplay(
            progress, meter: ProgressMeter(verb: verb, noun: noun), console: console, isQuiet: options.quiet)
        let result: Result<R, any Error>
        do {
            result = .success(try await body())
        } catch {
            result = .failure(error)
        }
        await display?.stop()
        return try result.get()
    }

    /// As `withProgress`, for an operation that a signal ends through its progress: its task goes on, so that it can
    /// publish what it has.
    func endingCleanly<R>(
        _ progress: OperationProgress, verb: String, _ options: GlobalOptions, _ body: () async throws -> R
    ) async throws -> R {
        try await withProgress(progress, verb: verb, noun: "file", options) {
            try await interruption.cancelling(progress, body)
        }
    }
}
