/// A command to be run in a container.
package struct ExecRequest: Sendable {
    /// Where output comes from.
    package enum Output: Hashable, Sendable {
        case standardOutput, standardError
    }

    package var namespace: String
    package var pod: String
    /// Empty when the pod has one container only.
    package var container: String
    /// The program and its arguments; no shell looks at them.
    package var command: [String]
    /// What the command reads; nil for nothing to read. Only servers from 1.30 on (v5.channel.k8s.io) let it see the end:
    /// with earlier ones it must know how much there is (`head -c N`), for nothing tells it that no more comes.
    package var input: [UInt8]?
    /// Seconds that it may take, connecting included. A command that takes longer is left to itself: the API cannot end it.
    package var seconds: Double

    package init(
        namespace: String, pod: String, container: String = "", command: [String], input: [UInt8]? = nil,
        seconds: Double = 60
    ) {
        self.namespace = namespace
        self.pod = pod
        self.container = container
        self.command = command
        self.input = input
        self.seconds = seconds
    }

    /// `run sh in Pod train/run42-0 (trainer)`: for messages. Arguments may hold secrets.
    var label: String {
        "run \(command.first ?? "nothing") in Pod \(namespace)/\(pod)\(container.isEmpty ? "" : " (\(container))")"
    }
}

/// What a command came to.
package struct ExecResult: Hashable, Sendable {
    /// 0 for success, 128 and more for most signals.
    package var exitCode: Int
    package var output: [UInt8]
    package var errorOutput: [UInt8]
    /// Whether there was more output than was kept.
    package var isTruncated: Bool

    /// Whether nothing ran, for the container has no such program. Some runtimes tell it by the codes of a shell (126, 127)
    /// and no `Status`, some by 255 and their words.
    package var isProgramMissing: Bool {
        exitCode == 126 || exitCode == 127
            || exitCode == 255 && Self.tellsOfMissingProgram(String(decoding: errorOutput, as: UTF8.self))
    }

    /// Whether a runtime's words say that there is no such program. runc: `executable file not found in $PATH`; crun:
    /// ``executable file `kill` not found in $PATH: No such file or directory``; gVisor: `error finding executable "kill" …:
    /// no such file or directory`.
    static func tellsOfMissingProgram(_ words: String) -> Bool {
        let words = words.lowercased()
        return words.contains("no such file or directory")
            || words.contains("executable") && words.contains("not found")
    }

    /// The end of what it said, errors first, on one line: for messages.
    package var lastWords: String {
        let text = errorOutput.isEmpty ? output : errorOutput
        return StatusMapping.line(String(decoding: text.suffix(300), as: UTF8.self))
    }
}
