import Basics
import Logging
import ObjectStorage
import ObjectStorageTesting
import Repository
import RepositoryFormat
import Sealing
import SystemPackage

/// A repository in memory with a clock that stands still, and small snapshots made by hand.
final class TestRepository: Sendable {
    /// A key file: it opens at once, where a passphrase is stretched.
    static let key = KeyCredential.keyFile(bytes(64, seed: 4711))
    static let cost = ScryptCost(n: 1 << 14, r: 8, p: 1)

    let clock: ManualWallClock
    let memory: MemoryObjectStore
    let store: FaultyObjectStore
    let repository: Repository

    private init(
        _ clock: ManualWallClock, _ memory: MemoryObjectStore, _ store: FaultyObjectStore, _ repository: Repository
    ) {
        self.clock = clock
        self.memory = memory
        self.store = store
        self.repository = repository
    }

    static func options(
        _ clock: ManualWallClock, cache: FilePath? = nil, retention: RepositoryOptions.RetentionPolicy? = nil
    ) -> RepositoryOptions {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return RepositoryOptions(
            memoryBytes: 96 << 20, processors: 2, connections: 3, cacheDirectory: cache, retention: retention,
            clock: clock, logger: logger)
    }

    static func create(
        graceSeconds: UInt64 = 86_400, cache: FilePath? = nil, retention: RepositoryOptions.RetentionPolicy? = nil,
        behaviour: MemoryObjectStore.Behaviour = .init(), capabilities: StoreCapabilities? = nil
    ) async throws -> TestRepository {
        let clock = ManualWallClock()
        let memory =
            capabilities.map { MemoryObjectStore(clock: clock, behaviour: behaviour, capabilities: $0) }
            ?? MemoryObjectStore(clock: clock, behaviour: behaviour)
        let store = FaultyObjectStore(memory)
        let repository = try await Repository.create(
            store: store, credential: key, cost: cost, graceSeconds: graceSeconds,
            options: options(clock, cache: cache, retention: retention))
        return TestRepository(clock, memory, store, repository)
    }

    /// The same repository, opened anew; past the faults with `store: memory`.
    func reopened(
        _ credential: KeyCredential = key, store: (any ObjectStore)? = nil, cache: FilePath? = nil
    ) async throws -> Repository {
        try await Repository.open(
            store: store ?? self.store, credential: credential, options: Self.options(clock, cache: cache))
    }

    func advance(days: Double) { clock.advance(bySeconds: days * 86_400) }

    /// Names of objects under a prefix.
    func names(_ prefix: String) async throws -> [String] { try await memory.listAll(prefix: prefix).map(\.key) }

    /// Names of all packs.
    func packs() async throws -> Set<String> { Set(try await names("data/") + (try await names("tree/"))) }

    func put(_ key: String, _ bytes: [UInt8]) async throws { try await memory.put(key, bytes: bytes) }

    func get(_ key: String) async throws -> [UInt8] { try await memory.get(key, maximumBytes: 256 << 20) }

    /// Changes the bytes of an object behind the repository's back.
    func change(_ key: String, _ body: (inout [UInt8]) -> Void) async throws {
        var bytes = try await get(key)
        body(&bytes)
        try await put(key, bytes)
    }
}

/// Files by path, `/`-separated.
typealias Files = [String: [UInt8]]

/// Random bytes that do not compress, the same for the same seed.
func bytes(_ count: Int, seed: UInt64) -> [UInt8] {
    var generator = SeededGenerator(seed: seed)
    return generator.bytes(count)
}

/// The code of the error that `body` throws; nil when it throws none or another.
func code(_ body: () async throws -> Void) async -> RepositoryError.Code? {
    do {
        try await body()
        return nil
    } catch {
        return (error as? RepositoryError)?.code
    }
}

extension Repository {
    /// A handle on a session that has stored all chunks of some files but committed nothing.
    struct Prepared: Sendable {
        let session: WriteSession
        let manifest: SnapshotManifest
        let chain: SnapshotChain
    }

    /// Stores files in chunks of at most `chunkBytes`, without committing. `lists` stores every file's chunks in list
    /// chunks.
    func prepare(
        _ files: Files, host: String = "host", index: RepositoryIndex? = nil, chunkBytes: Int = 300 << 10,
        lists: Bool = false, tags: [String] = [], bases: Files = [:]
    ) async throws -> Prepared {
        let used: RepositoryIndex
        if let index { used = index } else { used = try await loadIndex() }
        let session = try await WriteSession.begin(self, index: used)
        let root: ChunkID
        do {
            root = try await BlockingBridge.offload(name: "test-write") {
                Result {
                    let encoder = try ChunkEncoder(session: session)
                    let root = try self.store(files, encoder, chunkBytes, lists, bases)
                    try encoder.flush()
                    try session.finish()
                    return root
                }
            }
        } catch {
            await session.abandon()
            throw error
        }
        let paths = ["/src"]
        let source = SnapshotChain.source(host: host, paths: paths)
        let listing = keyring.role == .full ? try await listSnapshots() : SnapshotListing()
        let chain = SnapshotChain(source: source, counter: 1, predecessor: nil)
        var own = chain
        if let last = chainEnd(listing, source: chain) {
            own.counter = last.object.chain.counter + 1
            own.predecessor = .init(id: last.id, digest: last.object.digest)
        }
        var totals = SnapshotManifest.Totals()
        totals.files = UInt64(files.count)
        let manifest = SnapshotManifest(
            time: options.clock.now(), host: host, user: "user", paths: paths, tags: tags, root: [root],
            contentDigest: nil, totals: totals, parent: nil, supersedes: nil, problems: [], durationSeconds: 0,
            program: "test")
        return Prepared(session: session, manifest: manifest, chain: own)
    }

    /// A committed snapshot of the files.
    ///
    /// `bases` are files of the same paths, stored before, to which these may be stored as the difference.
    @discardableResult
    func snapshot(
        _ files: Files, host: String = "host", chunkBytes: Int = 300 << 10, lists: Bool = false, tags: [String] = [],
        bases: Files = [:]
    ) async throws -> Identifier {
        let prepared = try await prepare(
            files, host: host, chunkBytes: chunkBytes, lists: lists, tags: tags, bases: bases)
        do {
            return try await prepared.session.commit(prepared.manifest, chain: prepared.chain).id
        } catch {
            await prepared.session.abandon()
            throw error
        }
    }

    private func store(
        _ files: Files, _ encoder: ChunkEncoder, _ chunkBytes: Int, _ lists: Bool, _ bases: Files
    ) throws -> ChunkID {
        var entries: [TreeEntry] = []
        var below: [String: Files] = [:]
        for (path, content) in files {
            let parts = path.split(separator: "/", maxSplits: 1).map(String.init)
            if parts.count == 2 {
                below[parts[0], default: [:]][parts[1]] = content
                continue
            }
            var items: [ContentItem] = []
            for start in stride(from: 0, to: content.count, by: chunkBytes) {
                let piece = Array(content[start..<min(start + chunkBytes, content.count)])
                var id: ChunkID
                if let base = bases[path] {
                    let other = Array(base[min(start, base.count)..<min(start + chunkBytes, base.count)])
                    let traits = ChunkTraits(
                        family: ChunkFamily(elementWidth: 2, isFloatingPoint: true), offset: start,
                        base: chunkIdentifier.id(of: SHA256State.digest(of: other), kind: .data))
                    id = try piece.withUnsafeBytes {
                        try encoder.add([$0], contentDigest: SHA256State.digest(of: $0), kind: .data, traits: traits)
                    }
                } else {
                    id = try encoder.add(piece, kind: .data)
                }
                items.append(.chunk(id, length: UInt32(piece.count)))
            }
            var metadata = FileMetadata(type: .regular, permissions: 0o644)
            metadata.size = UInt64(content.count)
            let stored: FileContent
            if lists {
                let id = try encoder.add(ContentList.encode(items), kind: .tree)
                stored = .lists([.init(id: id, bytes: UInt64(content.count))])
            } else {
                stored = .inline(items)
            }
            entries.append(TreeEntry(name: Array(path.utf8), metadata: metadata, content: stored))
        }
        for (name, files) in below {
            let page = try store(files, encoder, chunkBytes, lists, [:])
            entries.append(
                TreeEntry(
                    name: Array(name.utf8), metadata: FileMetadata(type: .directory, permissions: 0o755),
                    pages: [page]))
        }
        entries.sort { $0.name.lexicographicallyPrecedes($1.name) }
        return try encoder.add(DirectoryPage.encode(entries), kind: .tree)
    }

    /// All files of a snapshot, read back and checked against their ids.
    func files(of snapshot: Identifier) async throws -> Files {
        let listed = try await loadSnapshot(snapshot)
        let index = try await loadIndex()
        guard let roots = try listed.manifest?.rootPages() else {
            throw RepositoryError(.notPermitted, "no manifest")
        }
        return try await BlockingBridge.offload(name: "test-read") {
            Result {
                let loader = TreeLoader(repository: self, index: index)
                var files: Files = [:]
                var pending = roots.map { ($0, "") }
                while let (page, path) = pending.popLast() {
                    for entry in try loader.page(page) {
                        let name = path + String(decoding: entry.name, as: UTF8.self)
                        pending += entry.pages.map { ($0, name + "/") }
                        guard let content = entry.content else { continue }
                        files[name] = try self.content(try loader.items(of: content), index)
                    }
                }
                return files
            }
        }
    }

    private func content(_ items: [ContentItem], _ index: RepositoryIndex) throws -> [UInt8] {
        let ids = items.compactMap { item -> ChunkID? in
            if case .chunk(let id, _) = item { return id }
            return nil
        }
        let found = Monitor<[ChunkID: [UInt8]]>([:])
        let failures = try ChunkReader(repository: self, index: index).read(Array(Set(ids)), kind: .data) { id, bytes in
            found.withLock { $0[id] = Array(bytes) }
        }
        if let failure = failures.first { throw failure.error }
        return ids.flatMap { id in found.withLock { $0[id] ?? [] } }
    }
}

/// The text of a file.
func readText(_ path: FilePath) throws -> String {
    let file = try FileDescriptor.open(path, .readOnly)
    return try file.closeAfter {
        var text: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = try block.withUnsafeMutableBytes { try file.read(into: $0) }
            guard count > 0 else { return String(decoding: text, as: UTF8.self) }
            text += block.prefix(count)
        }
    }
}

extension TestRepository {
    /// The data pack with the first chunk of a snapshot's first file with content.
    func firstDataPack(of snapshot: Identifier) async throws -> String? {
        let index = try await repository.loadIndex()
        guard let roots = try await repository.loadSnapshot(snapshot).manifest?.rootPages() else { return nil }
        return try await BlockingBridge.offload(name: "test-find") { [repository] in
            Result {
                let loader = TreeLoader(repository: repository, index: index)
                var pending = roots
                var largest: (length: UInt32, pack: String)?
                while let page = pending.popLast() {
                    for entry in try loader.page(page) {
                        pending += entry.pages
                        guard let content = entry.content else { continue }
                        for case .chunk(let id, let length) in try loader.items(of: content) {
                            guard let location = index.find(id, kind: .data), length > largest?.length ?? 0 else {
                                continue
                            }
                            largest = (length, location.objectName)
                        }
                    }
                }
                return largest?.pack
            }
        }
    }
}
