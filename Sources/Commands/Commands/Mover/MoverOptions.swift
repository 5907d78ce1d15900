internal import ArgumentParser
internal import Basics
internal import Kubernetes
internal import Orchestration
internal import Snapshots

/// What all movers are given.
package struct MoverOptions: ParsableArguments, Sendable {
    @Option(name: .long, help: ArgumentHelp("Where the volume is mounted.", valueName: "directory"))
    package var volume = MoverJob.volumePath

    @Option(
        name: .long,
        help: ArgumentHelp("The file for the last word; none where there is no such directory.", valueName: "file"))
    package var message = "/dev/termination-log"

    package init() {}

    /// Writes the last word. One that cannot be written stays on standard output.
    func tell(_ result: MoverResult, _ context: CommandContext, _ options: GlobalOptions) async throws {
        let text = result.text
        context.output.raw(text + [0x0a])
        let path = context.path(message)
        do {
            try await BlockingBridge.offload(name: "becalm-files") { Result { try SystemFiles.write(text, to: path) } }
        } catch {
            context.warn("\(error)", kind: "no_message", options)
        }
    }

    /// Runs `body`, whose outcome, an error included, becomes the mover's last word. What nobody should run again because
    /// it is partial ends with 0.
    func telling(
        _ context: CommandContext, _ options: GlobalOptions, _ body: () async throws -> MoverResult
    ) async throws -> ExitStatus {
        do {
            let result = try await body()
            try await tell(result, context, options)
            return result.status == .partial ? .done : result.status
        } catch {
            try await tell(MoverResult(JourneyError(error)), context, options)
            throw error
        }
    }
}

/// What movers are given that open a repository.
package struct MoverAccessOptions: ParsableArguments, Sendable {
    @Option(
        name: .long,
        help: ArgumentHelp("The directory with what opens the repository: the Secret, mounted.", valueName: "directory")
    )
    package var access = MoverJob.accessPath

    package init() {}

    /// A session on the repository, in a world with the credentials for its storage.
    func session(
        _ options: GlobalOptions, _ context: CommandContext
    ) async throws -> (session: RepositorySession, options: GlobalOptions, context: CommandContext) {
        let directory = PathText.display(context.path(access))
        let text = try await BlockingBridge.offload(name: "becalm-files") {
            Result {
                try SystemFiles.read(
                    Array("\(directory)/\(MoverAccess.descriptionFile)".utf8), what: "the mover's access")
            }
        }
        let access = try MoverAccess(parsing: text, directory: directory)
        var (options, context) = (options, context)
        options.repository = access.repository
        options.keyFile = "\(directory)/\(MoverAccess.keyFile)"
        (options.passwordFile, options.identity) = (nil, nil)
        options.endpoint = access.endpoint
        options.region = access.region
        options.pathStyle = access.usesPathStyle
        context.environment.merge(access.environment) { $1 }
        return (RepositorySession(options, context), options, context)
    }
}

extension CommandContext {
    /// Runs a journey whose progress is told on standard output, a JSON object a line, every few seconds and at its end. A
    /// signal ends it cleanly.
    func movingCleanly<R: Sendable>(
        _ progress: OperationProgress, _ body: @escaping @Sendable () async throws -> R
    ) async throws -> R {
        let output = output
        let tell = { @Sendable in
            var said = MoverProgress()
            let status = progress.status
            (said.files, said.filesTotal) = (status.files, status.filesTotal)
            (said.bytes, said.bytesTotal) = (status.bytes, status.bytesTotal)
            output.raw(said.json.serialized() + [0x0a])
            output.flush()
        }
        return try await interruption.cancelling(progress) {
            try await withThrowingTaskGroup(of: R?.self) { group in
                defer { group.cancelAll() }
                group.addTask { try await body() }
                group.addTask {
                    while true {
                        do { try await Task.sleep(for: .seconds(3)) } catch { return nil }
                        tell()
                    }
                }
                while let ended = try await group.next() {
                    guard let result = ended else { continue }
                    tell()
                    return result
                }
                throw CancellationError()
            }
        }
    }
}
