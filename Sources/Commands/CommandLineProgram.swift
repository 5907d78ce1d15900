internal import ArgumentParser
internal import Basics
package import Orchestration

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// `becalm` from its arguments to its exit status. The executable calls `main`; tests call `run` with a world of theirs.
package enum CommandLineProgram {
    /// Runs the process's own command line and answers the status to exit with. Call it on the main thread, once.
    ///
    /// It blocks that thread rather than suspend: a suspended main thread is parked with every signal unblocked, and
    /// would take those that `SignalWatch` waits for.
    package static func main() -> CInt {
        SystemFiles.occupyClosedStreams()
        let watch = SignalWatch()
        let raw = CommandLine.unsafeArgv
        let arguments = (1..<max(1, Int(CommandLine.argc))).compactMap { raw[$0] }.map {
            Array(UnsafeRawBufferPointer(start: $0, count: strlen($0)))
        }
        var environment: [String: String] = [:]
        var variable = environ
        while let text = variable.pointee {
            let parts = String(cString: text).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2 { environment[String(parts[0])] = String(parts[1]) }
            variable += 1
        }
        let texts = arguments.map { String(decoding: $0, as: UTF8.self) }
        let interruption = Interruption()
        watch.start(interruption)
        let context = CommandContext(
            environment: environment, rawArguments: arguments, workingDirectory: SystemFiles.workingDirectory,
            output: Output(mode: texts.contains("--json") ? .json : .text) {
                SystemFiles.writeAll($0, to: STDOUT_FILENO)
            },
            console: Console(isTerminal: SystemFiles.isTerminal(STDERR_FILENO)) {
                _ = SystemFiles.writeAll($0, to: STDERR_FILENO)
            }, interruption: interruption)
        return BlockingBridge.run { await run(texts, in: context).rawValue }
    }

    /// Parses `arguments` (without the program's name) and runs what they ask for in `context`.
    package static func run(_ arguments: [String], in context: CommandContext) async -> ExitStatus {
        let status = await execute(arguments, context)
        await flush(context.output)
        guard let failure = context.output.failure else { return status }
        context.console.report(failure, status: failure.status, json: context.output.mode == .json)
        // What went wrong before tells more.
        return status == .done || status == .partial ? failure.status : status
    }

    private static func execute(_ arguments: [String], _ context: CommandContext) async -> ExitStatus {
        let runnable: any RunnableCommand
        do {
            var command = try BecalmCommand.parseAsRoot(arguments)
            guard let found = command as? any RunnableCommand else {
                // The root, a group or the manual page: what they have to say is thrown.
                try command.run()
                return .done
            }
            runnable = found
        } catch {
            return tell(error, arguments, context)
        }
        context.output.mode = runnable.global.json ? .json : .text
        do {
            return try await interruptible(runnable, context)
        } catch {
            context.console.endProgress()
            let failure = JourneyError(error)
            // Who piped into 'head' has read enough; what else keeps us from writing is told at the end.
            if context.output.isClosed, failure.status == .interrupted, context.interruption.signal == nil {
                return .done
            }
            let status = finalStatus(failure, context.interruption)
            context.console.report(failure, status: status, json: runnable.global.json)
            return status
        }
    }

    /// An interruption ends with the signal's number, whatever error it took the shape of.
    private static func finalStatus(_ error: JourneyError, _ interruption: Interruption) -> ExitStatus {
        guard error.status == .interrupted else { return error.status }
        return interruption.signal == SIGTERM ? .terminated : .interrupted
    }

    /// Runs the command in a task that a signal cancels.
    private static func interruptible(
        _ command: any RunnableCommand, _ context: CommandContext
    ) async throws -> ExitStatus {
        try await withThrowingTaskGroup(of: ExitStatus?.self) { group in
            group.addTask {
                defer { context.interruption.end() }
                return try await command.run(in: context)
            }
            group.addTask {
                await context.interruption.wait()
                return nil
            }
            var status = ExitStatus.done
            while let result = try await group.next() {
                if let result {
                    status = result
                } else if context.interruption.signal != nil {
                    group.cancelAll()
                }
            }
            return status
        }
    }

    /// What the parser has to say: help, a version, a completion script, or what is wrong with the arguments.
    private static func tell(_ error: any Error, _ arguments: [String], _ context: CommandContext) -> ExitStatus {
        let message = UsageMessage.withoutFarGuess(BecalmCommand.fullMessage(for: error))
        if BecalmCommand.exitCode(for: error) == .success {
            context.output.raw(Array("\(message)\n".utf8))
            return .done
        }
        if let remedy = UsageMessage.optionsFirst(arguments) {
            context.console.report(.usage(remedy), status: .usage, json: context.output.mode == .json)
        } else if context.output.mode == .json {
            let line = UsageMessage.withoutFarGuess(BecalmCommand.message(for: error))
            context.console.report(.usage(line), status: .usage, json: true)
        } else {
            for line in message.split(separator: "\n", omittingEmptySubsequences: false) {
                context.console.say(Console.oneLine(String(line)))
            }
        }
        return .usage
    }

    private static func flush(_ output: Output) async {
        do {
            try await BlockingBridge.offload(name: "becalm-output") { Result { output.flush() } }
        } catch {
            preconditionFailure("flushing throws nothing")
        }
    }
}
