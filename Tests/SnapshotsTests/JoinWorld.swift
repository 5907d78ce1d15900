import Basics
import Checkpoints
import Logging
import ObjectStorage
import ObjectStorageTesting
import Repository
import RepositoryFormat
import SystemPackage
import Testing

@testable import Snapshots

/// A repository in memory, with what is done to it when snapshots are joined.
struct JoinWorld {
    let memory = MemoryObjectStore()
    let store: FaultyObjectStore
    let repository: Repository
    static let credential = KeyCredential.keyFile([UInt8](repeating: 7, count: 32))
    static let options = RepositoryOptions(memoryBytes: 96 << 20, processors: 2, logger: Logger(label: "test"))

    init(graceSeconds: UInt64 = 0) async throws {
        store = FaultyObjectStore(memory)
        repository = try await Repository.create(
            store: store, credential: Self.credential, graceSeconds: graceSeconds, options: Self.options)
    }

    /// Opened anew: nothing is remembered of what the store had.
    func reopened(_ credential: KeyCredential = Self.credential) async throws -> Repository {
        try await Repository.open(store: store, credential: credential, options: Self.options)
    }

    private func using(_ repository: Repository?) async throws -> Repository {
        if let repository { return repository }
        return try await reopened()
    }

    @discardableResult
    func backUp(
        _ paths: [[UInt8]], with repository: Repository? = nil, judging: Bool = false,
        _ change: (inout BackupRequest) -> Void = { _ in }
    ) async throws -> BackupResult {
        var request = BackupRequest(
            paths: paths, host: "h", user: "u", judging: judging ? SurveyOptions() : nil, program: "test")
        change(&request)
        return try await BackupOperation(
            repository: try await using(repository), request: request, progress: OperationProgress()
        ).run()
    }

    static func part(_ result: BackupResult, from: String = "", at place: String) -> JoinPart {
        JoinPart(snapshot: result.snapshot, from: components(from), place: components(place))
    }

    static func components(_ path: String) -> [[UInt8]] { SnapshotTree.components(of: Array(path.utf8)) }

    func join(
        _ parts: [JoinPart], paths: [String] = ["ns/job/a"], with repository: Repository? = nil,
        progress: OperationProgress = OperationProgress()
    ) async throws -> JoinResult {
        let request = JoinRequest(parts: parts, host: "h", user: "u", paths: paths, program: "test")
        return try await JoinOperation(
            repository: try await using(repository), request: request, progress: progress
        ).run()
    }

    /// Forgets the parts and collects all that nothing needs any more: nothing waits for a grace period here.
    func forget(_ ids: [Identifier]) async throws {
        let repository = try await reopened()
        #expect(try await repository.forget(ids).removed.count == Set(ids).count)
        for _ in 0..<3 {
            _ = try await Collector(repository: try await reopened()).prune(PruneOptions(graceSeconds: 0))
        }
    }

    /// Expects that all that snapshots need is there and whole; with `leftovers`, other things may be there too.
    func verify(leftovers: Bool = false, sourceLocation: Testing.SourceLocation = #_sourceLocation) async throws {
        let report = try await Verifier(repository: try await reopened()).verify(
            VerifyOptions(depth: .full) { PathText.display($0) })
        #expect(
            report.isSound && (leftovers || report.problems.isEmpty), "\(report.problems)",
            sourceLocation: sourceLocation)
    }

    func restore(
        _ id: Identifier, to target: FilePath, _ change: (inout RestoreRequest) -> Void = { _ in }
    ) async throws -> RestoreResult {
        var request = RestoreRequest(snapshot: id, target: Array(target.string.utf8), verify: true)
        change(&request)
        return try await RestoreOperation(
            repository: try await reopened(), request: request, progress: OperationProgress()
        ).run()
    }

    /// What a snapshot's tree holds, by path: directories end with "/".
    func entries(_ id: Identifier) async throws -> [String: RepositoryFormat.TreeEntry] {
        let repository = try await reopened()
        let snapshot = try await repository.loadSnapshot(id)
        let index = try await repository.loadIndex()
        return try await BlockingBridge.offload(name: "entries") {
            Result {
                let tree = try SnapshotTree(
                    snapshot: snapshot, loader: TreeLoader(repository: repository, index: index))
                var entries: [String: RepositoryFormat.TreeEntry] = [:]
                var walker = TreeWalker(loader: tree.loader)
                try walker.walk(pages: tree.pages) { path, entry in
                    let isDirectory = entry.metadata.type == .directory
                    entries[StatePath.text(path) + (isDirectory ? "/" : "")] = entry
                    return .descend
                }
                return entries
            }
        }
    }
}

extension SourceTree {
    /// Writes a file with the directories above it; "->" makes a symbolic link, "=>" a hard link to another file in the tree.
    func put(_ name: String, _ content: String) throws {
        let components = name.split(separator: "/").map { Array($0.utf8) }
        var directory = try DirectoryHandle.open(path: bytes)
        for component in components.dropLast() {
            if try directory.type(of: component) == nil { _ = try directory.makeDirectory(name: component) }
            directory = try directory.openDirectory(name: component)
        }
        let last = components[components.count - 1]
        if name.hasSuffix("/") {
            _ = try directory.makeDirectory(name: last)
        } else if content.hasPrefix("->") {
            _ = try directory.makeSymbolicLink(name: last, target: Array(content.dropFirst(2).utf8))
        } else if content.hasPrefix("=>") {
            let other = FilePath(String(content.dropFirst(2)))
            let source = try DirectoryHandle.open(
                path: Array(path.pushing(other.removingLastComponent()).string.utf8))
            _ = try directory.makeHardLink(name: last, to: Array((other.lastComponent?.string ?? "").utf8), in: source)
        } else {
            try write(name, Array(content.utf8))
        }
    }

    convenience init(_ name: String, _ files: [(String, String)]) throws {
        try self.init(name)
        for (file, content) in files { try put(file, content) }
    }

    /// So many bytes of no order.
    static func noise(_ count: Int, seed: UInt64) -> [UInt8] {
        var generator = SeededGenerator(seed: seed)
        return (0..<(count + 7) / 8).flatMap { _ in withUnsafeBytes(of: generator.next()) { Array($0) } }
    }
}
