import Basics
import Logging
import ObjectStorage
import ObjectStorageTesting
import Repository
import RepositoryFormat
import Synchronization
import SystemPackage
import Testing

@testable import Snapshots

/// Whole journeys over a store in memory, and over one that breaks.
@Suite("Backup and restore")
struct BackupRestoreTests {
    private static let credential = KeyCredential.keyFile([UInt8](repeating: 7, count: 32))
    private static let options = RepositoryOptions(memoryBytes: 96 << 20, processors: 2, logger: Logger(label: "test"))

    private func open(_ store: any ObjectStore, create: Bool = false) async throws -> Repository {
        if create {
            return try await Repository.create(store: store, credential: Self.credential, options: Self.options)
        }
        return try await Repository.open(store: store, credential: Self.credential, options: Self.options)
    }

    private func backUp(_ repository: Repository, _ tree: SourceTree, digests: Bool = true) async throws -> BackupResult
    {
        let request = BackupRequest(
            paths: [tree.bytes], host: "h", user: "u", fileDigests: digests, program: "test")
        return try await BackupOperation(
            repository: repository, request: request, progress: OperationProgress()
        ).run()
    }

    private func restore(
        _ repository: Repository, _ id: Identifier, to target: ObjectStorageTesting.TemporaryDirectory,
        overwrite: RestoreRequest.Overwrite? = nil, resume: Bool = false
    ) async throws -> RestoreResult {
        let request = RestoreRequest(
            snapshot: id, target: Array(target.path.string.utf8), overwrite: overwrite, resume: resume, verify: true)
        return try await RestoreOperation(
            repository: repository, request: request, progress: OperationProgress()
        ).run()
    }

    private func noise(_ count: Int, seed: UInt64) -> [UInt8] {
        var generator = SeededGenerator(seed: seed)
        return (0..<count / 8).flatMap { _ in withUnsafeBytes(of: generator.next()) { Array($0) } }
    }

    private func sampleTree() throws -> SourceTree {
        let tree = try SourceTree()
        try tree.write("config.json", Array("{\"layers\": 2}\n".utf8))
        try tree.write("empty", [])
        try tree.write("text", Array(String(repeating: "a line of a log\n", count: 20_000).utf8))
        try tree.write("weights", noise(3 << 20, seed: 1))
        for number in 0..<100 { try tree.write("shard-\(number)", noise(256 + number * 8, seed: UInt64(number))) }
        return tree
    }

    @Test("What was backed up comes back, and an unchanged tree adds nothing", arguments: [true, false])
    func roundTrip(digests: Bool) async throws {
        let repository = try await open(MemoryObjectStore(), create: true)
        let tree = try sampleTree()
        let first = try await backUp(repository, tree, digests: digests)
        let second = try await backUp(repository, tree, digests: digests)
        #expect(first.manifest.totals.files == 104)
        #expect((first.manifest.contentDigest != nil) == digests)
        #expect(second.counters.bytesRead == 0 && second.counters.bytesNew == 0)
        #expect(second.manifest.root == first.manifest.root)
        guard digests else { return }
        let target = try ObjectStorageTesting.TemporaryDirectory()
        let restored = try await restore(repository, second.snapshot, to: target)
        #expect(restored.contentDigest == first.manifest.contentDigest)
        #expect(restored.files == 104 && restored.damaged.isEmpty && restored.failed.isEmpty)
        let weights = try SourceTree.read(target.path.appending("run/weights"))
        #expect(weights == (try SourceTree.read(tree.path.appending("weights"))))
    }

    @Test("Equal trees have equal content digests in different repositories")
    func equalDigests() async throws {
        let tree = try sampleTree()
        let one = try await backUp(try await open(MemoryObjectStore(), create: true), tree)
        let other = try await backUp(try await open(MemoryObjectStore(), create: true), tree)
        #expect(one.manifest.contentDigest == other.manifest.contentDigest)
        #expect(one.manifest.root != other.manifest.root)
    }

    @Test("A restore touches nothing that exists unless it is told to, and then writes only what differs")
    func overwriting() async throws {
        let repository = try await open(MemoryObjectStore(), create: true)
        let tree = try sampleTree()
        let made = try await backUp(repository, tree)
        let target = try ObjectStorageTesting.TemporaryDirectory()
        _ = try await restore(repository, made.snapshot, to: target)
        await #expect(throws: SnapshotError.self) { _ = try await restore(repository, made.snapshot, to: target) }
        let damaged = target.path.appending("run/weights")
        let file = try FileDescriptor.open(damaged, .readWrite)
        try file.closeAfter { _ = try file.writeAll(toAbsoluteOffset: 1 << 20, [1, 2, 3]) }
        let repaired = try await restore(repository, made.snapshot, to: target, overwrite: .ifChanged)
        #expect(repaired.bytesWritten > 0 && repaired.bytesWritten <= 3 << 20)
        #expect(repaired.damaged.isEmpty && repaired.failed.isEmpty)
        let weights = try SourceTree.read(damaged)
        #expect(weights == (try SourceTree.read(tree.path.appending("weights"))))
        let again = try await restore(repository, made.snapshot, to: target, overwrite: .ifChanged, resume: true)
        #expect(again.bytesWritten == 0)
    }

    @Test("Going on with a restore touches nothing that it has not written itself")
    func resumingSparesOthersFiles() async throws {
        let repository = try await open(MemoryObjectStore(), create: true)
        let tree = try sampleTree()
        let made = try await backUp(repository, tree)
        let target = try ObjectStorageTesting.TemporaryDirectory()
        _ = try await restore(repository, made.snapshot, to: target)
        // What an earlier run has completed is left, what it lacks is added, and what is somebody else's is refused.
        let run = target.path.appending("run")
        let handle = try DirectoryHandle.open(path: Array(run.string.utf8))
        try handle.remove(name: Array("weights".utf8))
        try handle.remove(name: Array("config.json".utf8))
        let mine = try FileDescriptor.open(
            run.appending("config.json"), .writeOnly, options: [.create], permissions: [.ownerReadWrite])
        try mine.closeAfter { _ = try mine.writeAll(Array("mine".utf8)) }
        let result = try await restore(repository, made.snapshot, to: target, resume: true)
        #expect(result.bytesWritten == 3 << 20)
        #expect(result.failed.map(\.path) == ["run/config.json"])
        #expect(result.failed.first?.message.contains("no earlier run") == true)
        #expect(try SourceTree.read(run.appending("config.json")) == Array("mine".utf8))
        #expect(try SourceTree.read(run.appending("weights")) == SourceTree.read(tree.path.appending("weights")))
    }

    @Test(
        "A file that grows all the while is stored as it was at some moment, small or large",
        arguments: [400_000, 3 << 20])
    func growing(start: Int) async throws {
        let repository = try await open(MemoryObjectStore(), create: true)
        let tree = try SourceTree()
        let content = noise(16 << 20, seed: 9)
        try tree.write("log", Array(content[..<start]))
        // Others keep the walk busy between looking at the file and reading it.
        for number in 0..<300 { try tree.write("other-\(number)", [UInt8(number & 255)]) }
        let isDone = Mutex(false)
        let path = tree.path.appending("log")
        let writer = WorkerThreads(count: 1, name: "writer") { _ in
            guard let file = try? FileDescriptor.open(path, .writeOnly, options: [.append]) else { return }
            var end = start
            while !isDone.withLock({ $0 }), end < content.count {
                let next = min(end + 40_000, content.count)
                guard (try? file.writeAll(content[end..<next])) != nil else { break }
                end = next
            }
            try? file.close()
        }
        var ids: [Identifier] = []
        for _ in 0..<12 { ids.append(try await backUp(repository, tree).snapshot) }
        isDone.withLock { $0 = true }
        writer.join()
        for id in ids {
            let target = try ObjectStorageTesting.TemporaryDirectory()
            let result = try await restore(repository, id, to: target)
            #expect(result.damaged.isEmpty && result.failed.isEmpty)
            let restored = try SourceTree.read(target.path.appending("run/log"))
            #expect(restored.count >= start && restored == Array(content[..<restored.count]))
        }
    }

    @Test("A file that has outgrown its class since it was looked at is stored whole")
    func outgrown() async throws {
        let repository = try await open(MemoryObjectStore(), create: true)
        let tree = try SourceTree()
        let content = noise(900_000, seed: 5)
        try tree.write("log", content)
        let directory = try DirectoryHandle.open(path: tree.bytes)
        let session = try await WriteSession.begin(repository, index: try await repository.loadIndex(recovering: true))
        let source = SnapshotChain.source(host: "h", paths: ["p"])
        let context = try BackupContext(
            session: session, request: BackupRequest(paths: [tree.bytes], host: "h", user: "u", program: "test"),
            progress: OperationProgress(), journal: try await BackupJournal.open(session, source: source))
        var metadata = try directory.metadata(
            of: Array("log".utf8), owners: context.owners, includingExtendedAttributes: true)
        metadata.size = 500_000
        let root = DirectoryNode(
            entry: TreeEntry(name: [1], metadata: FileMetadata(type: .directory, permissions: 0)), parent: nil)
        let small = SmallFile(
            directory: directory, name: Array("log".utf8),
            entry: TreeEntry(name: Array("log".utf8), metadata: metadata), slot: root.announce())
        let encoder = try ChunkEncoder(session: session)
        #expect(try !small.store(context, encoder, Buffer(capacity: 1 << 20)))
        await session.abandon()
    }

    @Test("A directory page that cannot be read is stored anew by the next backup")
    func damagedParentHeals() async throws {
        let store = MemoryObjectStore()
        let repository = try await open(store, create: true)
        let tree = try sampleTree()
        _ = try await backUp(repository, tree)
        let packs = try await store.listAll(prefix: "tree/").map(\.key)
        for pack in packs {
            var bytes = try await store.get(pack, maximumBytes: 1 << 20)
            bytes[128 + 56 + 40] ^= 1
            try await store.put(pack, bytes: bytes)
        }
        let healed = try await backUp(try await open(store), tree)
        let target = try ObjectStorageTesting.TemporaryDirectory()
        let result = try await restore(try await open(store), healed.snapshot, to: target)
        #expect(result.files == 104 && result.damaged.isEmpty && result.failed.isEmpty)
    }

    @Test("The latest snapshot is not taken to be an older one because it cannot be read")
    func latestIsDamaged() async throws {
        let store = MemoryObjectStore()
        let repository = try await open(store, create: true)
        let tree = try sampleTree()
        let first = try await backUp(repository, tree).snapshot
        let second = try await backUp(repository, tree).snapshot
        #expect(try await repository.findSnapshot("latest").id == second)
        let name = ObjectNames.snapshot(second)
        let bytes = try await store.get(name, maximumBytes: 1 << 20)
        try await store.put(name, bytes: bytes.dropLast(9))
        let error = await #expect(throws: RepositoryError.self) { _ = try await repository.findSnapshot("latest") }
        #expect(error?.code == .damaged && error?.message.contains(first.description.prefix(12)) == true)
        #expect(try await repository.findSnapshot(first.description).id == first)
        // One that was stored before the newest is of no concern.
        try await store.put(name, bytes: bytes)
        let old = ObjectNames.snapshot(first)
        try await store.delete(old, ifTag: nil)
        #expect(try await repository.findSnapshot("latest").id == second)
    }

    @Test("A crash at any change of the store leaves earlier snapshots whole, and the next backup succeeds")
    func crashes() async throws {
        let tree = try sampleTree()
        var k = 1
        while true {
            let memory = MemoryObjectStore()
            let earlier = try await backUp(try await open(memory, create: true), tree)
            try tree.write("weights", noise(3 << 20, seed: UInt64(1000 + k)))
            let faulty = FaultyObjectStore(memory)
            faulty.crash(atMutation: k, takingEffect: k.isMultiple(of: 2))
            var crashed = false
            do { _ = try await backUp(try await open(faulty), tree) } catch { crashed = true }
            let target = try ObjectStorageTesting.TemporaryDirectory()
            let restored = try await restore(try await open(memory), earlier.snapshot, to: target)
            #expect(restored.contentDigest == earlier.manifest.contentDigest, "after a crash at change \(k)")
            let next = try await backUp(try await open(memory), tree)
            let other = try ObjectStorageTesting.TemporaryDirectory()
            let restoredNext = try await restore(try await open(memory), next.snapshot, to: other)
            #expect(restoredNext.contentDigest == next.manifest.contentDigest, "after a crash at change \(k)")
            // Past its last change the backup succeeds, or only failed to tidy up.
            if !crashed { break }
            k += 1
            try #require(k < 60, "the backup never came to its end")
        }
        #expect(k > 5)
    }

    @Test("A missing pack is named, and everything else is restored")
    func missingPack() async throws {
        let memory = MemoryObjectStore()
        let repository = try await open(memory, create: true)
        let tree = try sampleTree()
        let first = try await backUp(repository, tree)
        try tree.write("later", noise(1 << 20, seed: 99))
        let packs = Set(try await memory.listAll(prefix: "data/").map(\.key))
        let second = try await backUp(repository, tree)
        for object in try await memory.listAll(prefix: "data/") where !packs.contains(object.key) {
            try await memory.delete(object.key, ifTag: nil)
        }
        let target = try ObjectStorageTesting.TemporaryDirectory()
        let whole = try await restore(repository, first.snapshot, to: target)
        #expect(whole.damaged.isEmpty)
        let other = try ObjectStorageTesting.TemporaryDirectory()
        let hit = try await restore(repository, second.snapshot, to: other)
        #expect(hit.damaged.map(\.path) == ["run/later"])
        #expect(hit.files == 104 && hit.contentDigest == nil)
    }
}

@Suite("Glob patterns")
struct GlobPatternTests {
    @Test(
        "What fits and what does not",
        arguments: [
            ("*.tmp", "a/b.tmp", true), ("*.tmp", "a/b.tmpx", false), ("run/*", "run/a", true),
            ("run/*", "run/a/b", false), ("run/**", "run/a/b", true), ("**/b", "a/x/b", true), ("**/b", "b", true),
            ("a?c", "abc", true), ("a?c", "a/c", false), ("[a-c]x", "bx", true), ("[!a-c]x", "bx", false),
            ("\\*", "*", true), ("\\*", "a", false), ("/run/a", "run/a", true), ("**", "a/b/c", true),
            ("a*b*c*d*e*f", String(repeating: "a", count: 200), false),
        ])
    func matching(pattern: String, path: String, fits: Bool) {
        let components = path.split(separator: "/").map { Array($0.utf8) }
        #expect(GlobPattern(pattern).matches(components) == fits)
    }
}
