package import ArgumentParser
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
    }

    /// What they ask for.
    func options(holder: String) -> QuiesceOptions {
        var options = QuiesceOptions(holder: holder)
        options.policy.consistency = consistency
        options.policy.timeout = checkpointTimeout.map { QuiescePolicy.timeout(seconds: $0.seconds) }
        options.deadlineSeconds = deadline.seconds
        options.stopSeconds = stopTimeout.seconds
        options.overrides = Set(override)
        return options
    }
}

extension QuiescePolicy.Consistency: ExpressibleByArgument {}
