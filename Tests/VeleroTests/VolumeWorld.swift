import Basics
import Foundation
import Kubernetes
import Logging
import ObjectStorage
import ObjectStorageTesting
import Orchestration
import Repository
import RepositoryFormat
import Synchronization
import SystemPackage
import Testing
import Velero

/// A node's directories, a directory repository, a key and a location's config, all in a directory of a test's own.
final class VolumeWorld: Sendable {
    let directory: TemporaryDirectory
    let log = LogLines()
    let variables: [String: String]

    init(_ variables: [String: String] = [:]) throws {
        directory = try TemporaryDirectory()
        self.variables = variables
        try write("key", Array(0..<32))
        for name in ["host/data", "repository", "cache"] { try makeDirectory(name) }
    }

    func path(_ name: String) -> String { directory.path.appending(name).string }

    func makeDirectory(_ name: String) throws {
        try FileManager.default.createDirectory(atPath: path(name), withIntermediateDirectories: true)
    }

    func write(_ name: String, _ content: [UInt8]) throws {
        let url = URL(fileURLWithPath: path(name))
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(content).write(to: url)
    }

    func write(_ name: String, _ text: String) throws { try write(name, Array(text.utf8)) }

    func read(_ name: String) throws -> String {
        String(decoding: try Data(contentsOf: URL(fileURLWithPath: path(name))), as: UTF8.self)
    }

    func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: path(name)) }

    /// Names in a directory, hidden ones too.
    func names(_ name: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path(name)).sorted()
    }

    /// The volume `host/data/NAME` with something in it.
    func makeVolume(_ name: String = "pg") throws {
        try write("host/data/\(name)/deep/a", "first\n")
        try write("host/data/\(name)/b", (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 7) })
        try FileManager.default.createSymbolicLink(
            atPath: path("host/data/\(name)/link"), withDestinationPath: "deep/a")
    }

    var config: [String: String] {
        [
            "repository": path("repository"), "repositoryKeyFile": path("key"), "createRepository": "true",
            "nodeRoots": path("host"), "nodeName": "n1", "cacheDirectory": path("cache"),
        ]
    }

    func open(
        _ more: [String: String] = [:], secrets: (any SecretSource)? = nil
    ) async throws(VeleroError) -> any VolumeSnapshotterPlugin {
        let log = log
        let environment = PluginEnvironment(
            variables: variables, logger: Logger(label: "test") { _ in LogLines.Handler(lines: log) })
        return try await VolumeSnapshotter.open(
            config: config.merging(more) { $1 }, environment: environment, secrets: secrets)
    }
}

/// What was logged, and what happens when something is.
final class LogLines: Sendable {
    struct Line: Sendable {
        var level: Logger.Level
        var text: String
    }

    private let lines = Mutex<[Line]>([])
    private let hook = Mutex<(@Sendable (Line) -> Void)?>(nil)

    var all: [Line] { lines.withLock { $0 } }

    /// Those that Velero counts.
    var warnings: [String] { all.filter { $0.level >= .warning }.map(\.text) }

    /// Calls `body` for each line from now on, on the thread that logs it.
    func onLine(_ body: (@Sendable (Line) -> Void)?) { hook.withLock { $0 = body } }

    struct Handler: LogHandler {
        let lines: LogLines
        var logLevel = Logger.Level.trace
        var metadata = Logger.Metadata()

        init(lines: LogLines) { self.lines = lines }

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let fields = ["operation", "key", "outcome"].compactMap { event.metadata?[$0].map { "\($0)" } }
            let line = Line(level: event.level, text: (["\(event.message)"] + fields).joined(separator: " "))
            lines.lines.withLock { $0.append(line) }
            lines.hook.withLock { $0 }?(line)
        }
    }
}

/// PersistentVolumes as Velero sends them.
enum SamplePV {
    static func hostPath(_ path: String, type: String? = nil, node: String? = nil) -> [UInt8] {
        make(#""hostPath":{"path":"\#(path)"\#(type.map { #","type":"\#($0)""# } ?? "")}"#, node: node)
    }

    static func local(_ path: String, node: String? = "n1") -> [UInt8] {
        make(#""local":{"path":"\#(path)"}"#, node: node)
    }

    static func nfs(_ server: String, _ path: String) -> [UInt8] {
        make(#""nfs":{"path":"\#(path)","server":"\#(server)"}"#)
    }

    /// With a source, and what a real one has beside it.
    static func make(_ source: String, node: String? = nil, mode: String = "Filesystem") -> [UInt8] {
        let affinity =
            node.map {
                #","nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"kubernetes.io/hostname","operator":"In","values":["\#($0)"]}]}]}}"#
            } ?? ""
        let spec = #"{"capacity":{"storage":"5Gi"},\#(source)\#(affinity),"volumeMode":"\#(mode)","zzz":1.50}"#
        return Array(
            #"{"apiVersion":"v1","kind":"PersistentVolume","metadata":{"name":"pv1"},"spec":\#(spec)}"#.utf8)
    }
}

/// The plugin's error that `body` throws.
func volumeError(_ body: () async throws -> Void) async -> VeleroError? {
    do {
        try await body()
        return nil
    } catch {
        return error as? VeleroError
    }
}

extension VolumeWorld {
    /// The repository, opened without the plugin.
    func openRepository(_ credential: KeyCredential = .keyFile(Array(0..<32))) async throws -> Repository {
        try await RepositoryAccess(
            store: try await DirectoryObjectStore(root: directory.path.appending("repository"), create: false),
            credential: credential,
            options: RepositoryOptions(logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        ).open()
    }
}
