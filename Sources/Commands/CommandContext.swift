package import Basics
internal import Orchestration
internal import Snapshots

/// The world as a command sees it: nothing in a command looks past this.
package struct CommandContext: Sendable {
    package var environment: [String: String]
    /// Arguments as the system gave them, for paths that are not UTF-8.
    package var rawArguments: [[UInt8]]
    /// Absolute, raw; nil when it does not exist any more.
    package var workingDirectory: [UInt8]?
    package var output: Output
    package var console: Console
    package var interruption: Interruption
    package var clock: any WallClock

    package init(
        environment: [String: String], rawArguments: [[UInt8]], workingDirectory: [UInt8]?, output: Output,
        console: Console, interruption: Interruption, clock: any WallClock = SystemWallClock()
    ) {
        self.environment = environment
        self.rawArguments = rawArguments
        self.workingDirectory = workingDirectory
        self.output = output
        self.console = console
        self.interruption = interruption
        self.clock = clock
    }

    /// Warns: a line on standard error, unless the user wants none; under `--json` an object of type `warning`.
    func warn(_ message: String, kind: String, _ options: GlobalOptions, _ members: [JSONValue.Member] = []) {
        output.emit("warning", [.init("kind", .string(kind)), .init("message", .string(message))] + members)
        guard output.mode == .text, !options.quiet else { return }
        console.say(Console.oneLine("becalm: warning: \(message)"))
    }

    /// A variable that is set and not empty.
    package func variable(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }

    /// The bytes behind an argument: Swift has replaced what was no UTF-8 in it.
    package func bytes(of argument: String) -> [UInt8] {
        guard argument.unicodeScalars.contains("\u{fffd}") else { return Array(argument.utf8) }
        return rawArguments.first { String(decoding: $0, as: UTF8.self) == argument } ?? Array(argument.utf8)
    }

    /// The argument as an absolute path, raw, without `.` and doubled slashes. `..` is resolved by the file system, for
    /// links; where that fails it stays, and whoever opens the path will say why.
    package func path(_ argument: String) -> [UInt8] { absolute(bytes(of: argument)) }

    /// Where what is on its way is kept: TMPDIR, or /tmp.
    var scratch: [UInt8] { variable("TMPDIR").map { path($0) } ?? Array("/tmp".utf8) }

    func absolute(_ path: [UInt8]) -> [UInt8] {
        let slash = UInt8(ascii: "/")
        let whole = path.first == slash ? path : (workingDirectory ?? []) + [slash] + path
        let components = SnapshotTree.components(of: whole)
        if components.contains(Array("..".utf8)), let canonical = SystemFiles.canonical(whole) { return canonical }
        return [slash] + components.joined(separator: [slash])
    }
}
