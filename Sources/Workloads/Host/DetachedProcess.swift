internal import Basics
internal import SystemPackage

/// A process that outlives us: in a session of its own, with no signal blocked or ignored, whose output goes to a file.
struct DetachedProcess: Sendable {
    let identity: ProcessIdentity

    /// Starts `words` (looked for on PATH unless the first holds a slash, or `program` says where it is) in `directory`. `input` becomes its standard input;
    /// nil for none. `log` is appended to. It is a child of ours until we end.
    init(
        _ words: [String], program: String? = nil, environment: [String: String], directory: String, input: Int32?,
        log: String
    ) throws(QuiesceError) {
        var launch = ProcessLaunch(words, environment: environment)
        launch.program = program
        launch.directory = directory
        launch.input = input.map { .descriptor($0) } ?? .null
        (launch.output, launch.error) = (.appended(log), .appended(log))
        launch.isDetached = true
        let pid: Int32
        do throws(Errno) { pid = try launch.start() } catch {
            throw QuiesceError(.notResumed, "cannot start `\(words[0])` in \(directory): \(error)")
        }
        // Not reaped yet, so its number is its own.
        identity = ProcessIdentity(pid: pid, start: ProcessTable.entry(pid)?.identity.start ?? 0)
    }

    /// How it ended, in words and whether well; nil when it has not within `seconds`. Blocks.
    func end(within seconds: Double) -> (isGood: Bool, words: String)? {
        do throws(Errno) {
            let deadline = ContinuousClock().now.advanced(by: .seconds(seconds))
            guard try ChildProcess.hasEnded(identity.pid, by: deadline) else { return nil }
            let status = try ChildProcess.end(of: identity.pid)
            let signal = status & 0x7f
            return (status == 0, signal == 0 ? "exit code \(status >> 8 & 0xff)" : "signal \(signal)")
        } catch {
            // Somebody else has waited for it.
            return (true, "an end that nobody saw")
        }
    }
}
