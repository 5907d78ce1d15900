import Basics
import Commands
import Foundation
import ObjectStorageTesting
import Orchestration
import Synchronization
import SystemPackage
import Testing

/// Swift Testing has one too.
typealias ExitStatus = Orchestration.ExitStatus

/// What a command has said and how it ended.
struct Run {
    var status: ExitStatus
    var out: String
    var err: String

    /// The objects of standard output, one a line.
    func objects(sourceLocation: Testing.SourceLocation = #_sourceLocation) throws -> [[String: any Sendable]] {
        try out.split(separator: "\n").map { line in
            let value = try JSONSerialization.jsonObject(with: Data(line.utf8))
            return try #require(value as? [String: any Sendable], "\(line)", sourceLocation: sourceLocation)
        }
    }

    /// The last object, which must be the summary.
    func summary(sourceLocation: Testing.SourceLocation = #_sourceLocation) throws -> [String: any Sendable] {
        let last = try #require(try objects().last, sourceLocation: sourceLocation)
        #expect(last["type"] as? String == "summary", sourceLocation: sourceLocation)
        return last
    }
}

/// Collects what is written.
final class Collector: Sendable {
    private let bytes = Mutex<[UInt8]>([])

    func append(_ more: [UInt8]) { bytes.withLock { $0 += more } }

    var text: String { String(decoding: bytes.withLock { $0 }, as: UTF8.self) }
    var raw: [UInt8] { bytes.withLock { $0 } }
}

/// A directory, an environment and a key file of a test's own, in which commands run as a library.
final class World: Sendable {
    let directory: TemporaryDirectory
    let environment: [String: String]
    /// Standard output of the last run, raw.
    let lastOutput = Mutex<[UInt8]>([])

    /// With a key file (at once) rather than a password (half a second each time), unless `environment` says otherwise.
    init(_ extra: [String: String] = [:]) throws {
        directory = try TemporaryDirectory()
        var environment = [
            "HOME": directory.path.string, "BECALM_REPOSITORY": directory.path.appending("repository").string,
            "BECALM_CACHE_DIR": directory.path.appending("cache").string, "PATH": "/usr/bin:/bin",
        ]
        environment.merge(extra) { $1 }
        self.environment = environment
        try write("key", Array(0..<32))
    }

    var path: String { directory.path.string }

    func path(_ name: String) -> String { directory.path.appending(name).string }

    func write(_ name: String, _ content: [UInt8]) throws {
        let url = URL(fileURLWithPath: path(name))
        try FileManager.default.createDirectory(
            at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(content).write(to: url)
    }

    func write(_ name: String, _ text: String) throws { try write(name, Array(text.utf8)) }

    /// Copies a sample of the judges' tests, such as `Samples/torch/plain.pt`, to `name`.
    func addSample(_ sample: String, as name: String) throws {
        let samples = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("CheckpointsTests")
        try FileManager.default.copyItem(atPath: samples.appendingPathComponent(sample).path, toPath: path(name))
    }

    /// Makes all below `name` an hour old: a torn checkpoint that nobody is writing any more.
    func age(_ name: String) throws {
        let hourAgo = Date(timeIntervalSinceNow: -3600)
        for entry in try FileManager.default.subpathsOfDirectory(atPath: path(name)).map({ "\(name)/\($0)" }) + [name] {
            try FileManager.default.setAttributes([.modificationDate: hourAgo], ofItemAtPath: path(entry))
        }
    }

    /// Runs a command with the key file.
    @discardableResult
    func run(_ arguments: String..., environment more: [String: String] = [:]) async -> Run {
        await plain(arguments + ["--key-file", path("key")], more)
    }

    /// Runs a command as it is.
    func plain(_ arguments: [String], _ more: [String: String] = [:]) async -> Run {
        let (out, err) = (Collector(), Collector())
        let context = CommandContext(
            environment: environment.merging(more) { $1 }, rawArguments: arguments.map { Array($0.utf8) },
            workingDirectory: Array(path.utf8),
            output: Output(mode: arguments.contains("--json") ? .json : .text) {
                out.append($0)
                return nil
            },
            console: Console(isTerminal: false) { err.append($0) }, interruption: Interruption())
        let status = await CommandLineProgram.run(arguments, in: context)
        lastOutput.withLock { $0 = out.raw }
        return Run(status: status, out: out.text, err: err.text)
    }

    /// Makes the repository and a small tree `source`, and backs it up. Answers the backup's summary.
    @discardableResult
    func prepare(_ arguments: String...) async throws -> [String: any Sendable] {
        try #require(await run("init").status == .done)
        try write("source/a/x", "first\n")
        try write("source/b", [UInt8](repeating: 7, count: 100_000))
        let backup = await plain(["backup", "source", "--json", "--key-file", path("key")] + arguments)
        try #require(backup.status == .done, "\(backup.err)")
        return try backup.summary()
    }
}

/// Runs a program and answers how it ended and what it said on both streams.
func execute(
    _ program: String, _ arguments: [String], in directory: String, environment: [String: String]? = nil,
    input: [UInt8]? = nil
) throws -> (status: Int32, output: String) {
    var launch = ProcessLaunch([program] + arguments, environment: environment ?? ProcessInfo.processInfo.environment)
    launch.directory = directory
    let (feed, pipe) = (try Basics.Pipe(), try Basics.Pipe())
    let process = try feed.handingOverReader { reader throws(Errno) in
        launch.input = input == nil ? .null : .descriptor(reader)
        return try pipe.handingOverWriter { writer throws(Errno) in
            (launch.output, launch.error) = (.descriptor(writer), .descriptor(writer))
            return try launch.start()
        }
    }
    signal(SIGPIPE, SIG_IGN)
    let fed = Result {
        try feed.handingOverWriter { writer in _ = try FileDescriptor(rawValue: writer).writeAll(input ?? []) }
    }
    let output = try pipe.readToEnd()
    let status = try ChildProcess.end(of: process)
    try fed.get()
    return (status & 0x7f == 0 ? status >> 8 & 0xff : -(status & 0x7f), String(decoding: output, as: UTF8.self))
}
