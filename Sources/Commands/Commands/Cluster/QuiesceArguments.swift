package import ArgumentParser
internal import Basics
internal import Orchestration
package import Workloads

/// How a workload is brought to a standstill, as options.
package struct QuiesceArguments: ParsableArguments, Sendable {
    @Option(
        name: .long,
        help: ArgumentHelp(
            """
            How still it is: checkpoint (it writes one and runs on), pause (stopped, and let go after), stop (stopped \
            until somebody resumes it). Default: its annotation becalm.io/consistency, or pause.
            """, valueName: "how"))
    package var consistency: QuiescePolicy.Consistency?

    @Option(name: .long, help: ArgumentHelp("When it is let go whatever happens, from now: 30m.", valueName: "time"))
    package var deadline = TimeSpan(seconds: 1800)

    @Option(name: .long, help: ArgumentHelp("How long it may take to stop: 10m.", valueName: "time"))
    package var stopTimeout = TimeSpan(seconds: 600)

    @Option(
        name: .long,
        help: ArgumentHelp(
            "How long a checkpoint may take. Default: its annotation becalm.io/checkpoint-timeout, or 10m.",
            valueName: "time"))
    package var checkpointTimeout: TimeSpan?

    @Option(
        name: .long,
        help: ArgumentHelp("Ask for a checkpoint by a signal: USR1.", valueName: "signal"))
    package var checkpointSignal: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            #"Ask for a checkpoint by a command: one word, or ["/save","--now"]."#, valueName: "command"))
    package var checkpointCommand: String?

    @Option(
        name: .customLong("checkpoint-http"),
        help: ArgumentHelp("Ask for a checkpoint by HTTP: 'POST 8080/checkpoint'.", valueName: "request"))
    package var checkpointHTTP: String?

    @Option(
        name: .long, help: ArgumentHelp("Ask for a checkpoint by a file that is made.", valueName: "path"))
    package var checkpointFile: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Who is asked: all or first. Default: all pods of a workload; of a process the one that is named.",
            valueName: "ranks"))
    package var checkpointRanks: QuiescePolicy.Ranks?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "The container that a command, a signal or a file goes to. Default: the pod's default one, else its first.",
            valueName: "name"))
    package var checkpointContainer: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            """
            Whether routes to its InferencePool get the weight 0 before it stops: auto (as far as that can be done), \
            required, off. Default: its annotation becalm.io/drain, or auto.
            """, valueName: "how"))
    package var drain: QuiescePolicy.Drain?

    @Option(
        name: .long,
        help: ArgumentHelp(
            """
            How long its servers may take to answer what they have begun. Default: its annotation \
            becalm.io/drain-timeout, or 2m.
            """, valueName: "time"))
    package var drainTimeout: TimeSpan?

    @Option(
        name: .long,
        help: ArgumentHelp(
            """
            A YAML file with all of this for workloads that have no annotations, by patterns of their names; \
            annotations come before it, options before both.
            """, valueName: "file"),
        completion: .file())
    package var policy: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Go on in spite of a trap, by the word that its refusal names; may be repeated.", valueName: "trap"))
    package var override: [String] = []

    package init() {}

    package mutating func validate() throws {
        guard deadline.seconds >= 1, deadline.seconds <= QuiesceOptions.longestDeadline else {
            throw ValidationError("'--deadline' takes a time from 1s to 7d.")
        }
        guard stopTimeout.seconds > 0, checkpointTimeout.map({ $0.seconds > 0 }) ?? true else {
            throw ValidationError("A timeout of 0 leaves no time for anything.")
        }
        guard checkpointTimeout.map({ $0.seconds <= 86_400 }) ?? true else {
            throw ValidationError("'--checkpoint-timeout' takes at most 24h.")
        }
        guard drainTimeout.map({ $0.seconds > 0 && $0.seconds <= 86_400 }) ?? true else {
            throw ValidationError("'--drain-timeout' takes a time of at most 24h.")
        }
        guard checkpointContainer != "" else { throw ValidationError("An empty name is no container.") }
        guard requests.count <= 1 else {
            throw ValidationError("A checkpoint is asked for in one way: leave one of the options.")
        }
        var policy = QuiescePolicy()
        for (setting, option, text) in requests {
            guard policy.set(setting, text) else { throw ValidationError("'\(option)' \(setting.form).") }
        }
    }

    /// The ways to ask that are given.
    private var requests: [(setting: QuiescePolicy.Setting, option: String, text: String)] {
        let all: [(QuiescePolicy.Setting, String, String?)] = [
            (.checkpointSignal, "--checkpoint-signal", checkpointSignal),
            (.checkpointCommand, "--checkpoint-command", checkpointCommand),
            (.checkpointHTTP, "--checkpoint-http", checkpointHTTP),
            (.checkpointFile, "--checkpoint-file", checkpointFile),
        ]
        return all.compactMap { setting, option, text in text.map { (setting, option, $0) } }
    }

    /// What they ask for.
    func options(holder: String, _ context: CommandContext) async throws -> QuiesceOptions {
        var options = QuiesceOptions(holder: holder)
        options.policy.consistency = consistency
        options.policy.timeout = checkpointTimeout.map { QuiescePolicy.timeout(seconds: $0.seconds) }
        options.policy.ranks = checkpointRanks
        options.policy.container = checkpointContainer ?? ""
        options.policy.drain = drain
        options.policy.drainTimeout = drainTimeout.map { QuiescePolicy.timeout(seconds: $0.seconds) }
        for (setting, _, text) in requests { _ = options.policy.set(setting, text) }
        options.deadlineSeconds = deadline.seconds
        options.stopSeconds = stopTimeout.seconds
        options.policy.overrides = Set(override)
        if let policy {
            let path = context.path(policy)
            let text = try await BlockingBridge.offload(name: "becalm-files") {
                Result { try SystemFiles.read(path, what: "the policy file") }
            }
            do throws(WorkloadError) {
                options.policies = try PolicyFile(parsing: text, source: policy)
            } catch {
                throw JourneyError.usage(error.message)
            }
        }
        return options
    }
}

extension QuiescePolicy.Consistency: ExpressibleByArgument {}
extension QuiescePolicy.Ranks: ExpressibleByArgument {}
extension QuiescePolicy.Drain: ExpressibleByArgument {}
