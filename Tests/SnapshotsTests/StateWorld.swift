import Basics
import Logging
import ObjectStorage
import ObjectStorageTesting
import Repository
import RepositoryFormat
import Sealing
import Snapshots
import SystemPackage
import Testing

/// A tree of files, a repository with a snapshot of it whose manifest says what states are in it, and a target.
struct StateWorld {
    let store: FaultyObjectStore
    let memory: MemoryObjectStore
    let repository: Repository
    let tree: SourceTree
    let target: ObjectStorageTesting.TemporaryDirectory
    /// The snapshot with the inventory.
    private(set) var snapshot: Identifier
    private let made: BackupResult

    private static let credential = KeyCredential.keyFile([UInt8](repeating: 7, count: 32))
    private static let options = RepositoryOptions(memoryBytes: 96 << 20, processors: 2, logger: Logger(label: "test"))

    /// Backs `files` up, by path in the snapshot ("run/…"); a content that begins with "->" makes a symbolic link, one
    /// with "=>" a hard link to another path. Those in `sizes` have so many random bytes. With `inTwo`, the first half lies
    /// in other packs than the second; those in `ownPacks` are stored first, each in packs of its own.
    init(
        _ files: [(String, String)], _ inventory: StateInventory?, sizes: [String: Int] = [:], inTwo: Bool = false,
        ownPacks: [String] = []
    ) async throws {
        memory = MemoryObjectStore()
        store = FaultyObjectStore(memory)
        repository = try await Repository.create(store: store, credential: Self.credential, options: Self.options)
        tree = try SourceTree()
        target = try ObjectStorageTesting.TemporaryDirectory()
        let request = BackupRequest(paths: [tree.bytes], host: "h", user: "u", program: "test")
        for path in ownPacks {
            try Self.write(path, "", sizes[path], tree)
            _ = try await BackupOperation(repository: repository, request: request, progress: OperationProgress()).run()
        }
        for (index, (path, content)) in files.enumerated() where !ownPacks.contains(path) {
            if inTwo, index == files.count / 2 {
                _ = try await BackupOperation(repository: repository, request: request, progress: OperationProgress())
                    .run()
            }
            try Self.write(path, content, sizes[path], tree)
        }
        made = try await BackupOperation(repository: repository, request: request, progress: OperationProgress()).run()
        snapshot = made.snapshot
        if let inventory { snapshot = try await commit(inventory) }
    }

    private static func write(_ path: String, _ content: String, _ size: Int?, _ tree: SourceTree) throws {
        let components = path.split(separator: "/").map { Array($0.utf8) }
        var directory = try DirectoryHandle.open(path: Array(tree.path.removingLastComponent().string.utf8))
        for component in components.dropLast() {
            _ = try directory.makeDirectory(name: component)
            directory = try directory.openDirectory(name: component)
        }
        let name = components[components.count - 1]
        if content.hasPrefix("->") {
            _ = try directory.makeSymbolicLink(name: name, target: Array(content.dropFirst(2).utf8))
        } else if content.hasPrefix("=>") {
            let other = FilePath(String(content.dropFirst(2)))
            let source = try DirectoryHandle.open(
                path: Array(tree.path.removingLastComponent().pushing(other.removingLastComponent()).string.utf8))
            _ = try directory.makeHardLink(
                name: name, to: Array((other.lastComponent?.string ?? "").utf8), in: source)
        } else {
            var generator = SeededGenerator(seed: UInt64(path.utf8.reduce(0) { $0 &* 31 &+ Int($1) } & 0xffff))
            let bytes = size.map { size in
                (0..<size / 8).flatMap { _ in withUnsafeBytes(of: generator.next()) { Array($0) } }
            }
            let relative = path.split(separator: "/").dropFirst().joined(separator: "/")
            try tree.write(relative, bytes ?? Array(content.utf8))
        }
    }

    /// Commits the same tree again with this inventory.
    func commit(_ inventory: StateInventory) async throws -> Identifier {
        let session = try await WriteSession.begin(repository, index: try await repository.loadIndex(recovering: true))
        try await BlockingBridge.offload(name: "finish") { Result { try session.finish() } }
        var manifest = made.manifest
        manifest.inventory = inventory
        let source = SnapshotChain.source(host: "other", paths: [])
        return try await session.commit(manifest, chain: SnapshotChain(source: source, counter: 1, predecessor: nil)).id
    }

    /// A request for it, to be changed.
    func request() -> RestoreRequest { RestoreRequest(snapshot: snapshot, target: Array(target.path.string.utf8)) }

    /// Restores; from `other` where that stands before the store.
    @discardableResult
    func restore(
        from other: (any ObjectStore)? = nil, _ change: (inout RestoreRequest) -> Void = { _ in }
    ) async throws -> RestoreResult {
        var request = request()
        change(&request)
        // Opened anew: nothing is remembered of what the store had.
        let repository = try await Repository.open(
            store: other ?? store, credential: Self.credential, options: Self.options)
        return try await RestoreOperation(
            repository: repository, request: request, progress: OperationProgress()
        ).run()
    }

    /// Every path below the target's `directory`, directories left out, in the order of their bytes.
    func files(_ directory: String = "") throws -> [String] {
        func list(_ handle: DirectoryHandle, _ path: String) throws -> [String] {
            try handle.names().flatMap { name -> [String] in
                let inner = (path.isEmpty ? "" : path + "/") + String(decoding: name, as: UTF8.self)
                guard try handle.type(of: name) == .directory else { return [inner] }
                return try list(try handle.openDirectory(name: name), inner)
            }
        }
        let root = target.path.pushing(FilePath(directory))
        return try list(try DirectoryHandle.open(path: Array(root.string.utf8)), "")
    }

    /// The content of a file in the target.
    func read(_ path: String) throws -> String {
        let place = target.path.pushing(FilePath(path))
        let parent = try DirectoryHandle.open(path: Array(place.removingLastComponent().string.utf8))
        try #require(try parent.type(of: Array((place.lastComponent?.string ?? "").utf8)) == .regular)
        return String(decoding: try SourceTree.read(place), as: UTF8.self)
    }

    /// Makes a file in the target.
    func put(_ path: String, _ content: String = "mine") throws {
        var place = target.path
        for component in FilePath(path).removingLastComponent().components {
            place.append(component)
            try? SourceTree.makeDirectory(place)
        }
        let file = try FileDescriptor.open(
            target.path.pushing(FilePath(path)), .writeOnly, options: [.create, .truncate],
            permissions: [.ownerReadWrite])
        try file.closeAfter { _ = try file.writeAll(Array(content.utf8)) }
    }

    /// Flips a bit in the middle of each data pack for which `isHit` holds, by size.
    func damage(where isHit: (Int) -> Bool) async throws {
        for object in try await memory.listAll(prefix: "data/") {
            var bytes = try await memory.get(object.key, maximumBytes: 64 << 20)
            guard isHit(bytes.count) else { continue }
            bytes[bytes.count / 2] ^= 1
            try await memory.put(object.key, bytes: bytes)
        }
    }
}

extension StateInventory {
    /// A run `run` of a trainer with checkpoints of these steps, by judgement; the highest is what it resumes from.
    static func trainer(_ steps: [(Int64, String)], marker: String? = "state.json", tracker: String? = nil) -> Self {
        var inventory = StateInventory()
        for (step, judgement) in steps {
            var state = State(
                path: "run/checkpoint-\(step)", kind: "checkpoint", format: "transformers-trainer", judgement: judgement
            )
            state.step = step
            state.modified = step
            if let marker { state.commitMarkers = ["run/checkpoint-\(step)/\(marker)"] }
            if judgement != "complete" { state.reasons = ["weights: 10 bytes expected, 3 found"] }
            if judgement == "torn" { state.quarantineName = "checkpoint-\(step).torn" }
            inventory.states.append(state)
        }
        var run = Run(path: "run", format: "transformers-trainer")
        run.resumesFrom = steps.map(\.0).max().map { "run/checkpoint-\($0)" }
        if let tracker { run.trackers = ["run/\(tracker)"] }
        inventory.runs = [run]
        return inventory
    }
}
