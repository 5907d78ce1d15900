import Basics
import ObjectStorage
import ObjectStorageTesting
import Repository
import RepositoryFormat
import Synchronization
import SystemPackage
import Testing

@testable import Snapshots

/// Joins under bad conditions.
@Suite("Joining under bad conditions")
struct JoinHostileTests {
    private static let files: [(String, String)] = [("a", "1"), ("b/c", "2"), ("b/d", "=>a"), ("l", "->a")]

    @Test("Parts that writers have stored are joined by who can read them, and by nobody else")
    func writers() async throws {
        let world = try await JoinWorld()
        let credential = KeyCredential.keyFile([UInt8](repeating: 9, count: 32))
        _ = try await world.reopened().addSlot(credential, role: .writer, label: "mover")
        let tree = try SourceTree("v", Self.files)
        try tree.write("big", SourceTree.noise(5 << 20, seed: 1))
        var parts: [JoinPart] = []
        for index in 0..<3 {
            let writer = try await world.reopened(credential)
            let result = try await world.backUp([tree.bytes], with: writer) { $0.shard = Shard(index: index, count: 3) }
            parts.append(JoinWorld.part(result, from: "v", at: "volumes/ns/v"))
        }
        let error = await #expect(throws: RepositoryError.self) {
            try await world.join(parts, with: try await world.reopened(credential))
        }
        #expect(error?.code == .notPermitted && error?.message.contains("full") == true)
        let joined = try await world.join(parts)
        try await world.forget(joined.parts)
        try await world.verify()
        let whole = try await world.backUp([tree.bytes])
        let target = try ObjectStorageTesting.TemporaryDirectory()
        let back = target.path.appending("v")
        let result = try await world.restore(joined.snapshot, to: back) {
            $0.from = JoinWorld.components("volumes/ns/v")
        }
        #expect(result.failed.isEmpty && result.damaged.isEmpty && result.verified == 4)
        #expect(
            try await world.backUp([Array(back.string.utf8)]).manifest.contentDigest == whole.manifest.contentDigest)
    }

    @Test("A crash at any change of the store leaves the parts whole, and joining them again succeeds")
    func crashes() async throws {
        let world = try await JoinWorld()
        let trees = try [SourceTree("v", Self.files), SourceTree("v", Self.files)]
        let one = try await world.backUp([trees[0].bytes])
        let two = try await world.backUp([trees[1].bytes])
        let parts = [JoinWorld.part(one, at: "one"), JoinWorld.part(two, at: "two")]
        for takingEffect in [true, false] {
            for number in 1... {
                let repository = try await world.reopened()
                world.store.crash(atMutation: world.store.mutations + number, takingEffect: takingEffect)
                let joined = try? await world.join(parts, with: repository)
                let hasCrashed = world.store.hasCrashed
                world.store.heal()
                try await world.verify(leftovers: true)
                if !hasCrashed {
                    #expect(joined != nil)
                    break
                }
                #expect(number < 50)
            }
        }
        let joined = try await world.join(parts)
        try await world.forget(
            try await world.reopened().listSnapshots().snapshots.map(\.id).filter { $0 != joined.snapshot })
        try await world.verify(leftovers: true)
    }

    @Test("An interrupted join leaves nothing but the parts")
    func interrupted() async throws {
        let world = try await JoinWorld()
        let tree = try SourceTree("v", Self.files)
        let part = JoinWorld.part(try await world.backUp([tree.bytes]), at: "p")
        let progress = OperationProgress()
        progress.cancel()
        let error = await #expect(throws: RepositoryError.self) { try await world.join([part], progress: progress) }
        #expect(error?.code == .cancelled && error?.message.contains("join them again") == true)
        #expect(try await world.reopened().listSnapshots().snapshots.map(\.id) == [part.snapshot])
        try await world.verify()
    }

    @Test("A part that is forgotten and collected under the join ends it with its name, and no snapshot lacks anything")
    func removedMeanwhile() async throws {
        let world = try await JoinWorld()
        let tree = try SourceTree("v", Self.files)
        let one = JoinWorld.part(try await world.backUp([tree.bytes]), at: "one")
        let other = try SourceTree("w", [("q", "only here")])
        let two = JoinWorld.part(try await world.backUp([other.bytes]), at: "two")
        // Right before the snapshot is created: everything has been looked up by then.
        let hasRun = Mutex(false)
        let store = BeforePut(world.memory) { key in
            guard key.hasPrefix(ObjectNames.snapshots), hasRun.withLock({ $0.exchange(true) }) == false else { return }
            do {
                try await world.forget([two.snapshot])
            } catch {
                Issue.record(error)
            }
        }
        let repository = try await Repository.open(
            store: store, credential: JoinWorld.credential, options: JoinWorld.options)
        let error = await #expect(throws: RepositoryError.self) { try await world.join([one, two], with: repository) }
        #expect(hasRun.withLock { $0 })
        #expect(error?.message.contains("\(two.snapshot)") == true, "\(error?.message ?? "none")")
        #expect(try await world.reopened().listSnapshots().snapshots.map(\.id) == [one.snapshot])
        try await world.verify()
        let missing = await #expect(throws: RepositoryError.self) { try await world.join([one, two]) }
        #expect(missing?.code == .noSuchName && missing?.message.contains("\(two.snapshot) is not there") == true)
    }

    @Test("A part whose packs are damaged ends the join with the path and the snapshot")
    func damaged() async throws {
        let world = try await JoinWorld()
        let tree = try SourceTree("v", Self.files)
        let part = JoinWorld.part(try await world.backUp([tree.bytes]), at: "p")
        for object in try await world.memory.listAll(prefix: "tree/") {
            var bytes = try await world.memory.get(object.key, maximumBytes: 64 << 20)
            bytes[200] ^= 1
            try await world.memory.put(object.key, bytes: bytes)
        }
        let error = await #expect(throws: RepositoryError.self) { try await world.join([part]) }
        #expect(error?.code == .damaged && error?.message.contains("cannot join p") == true, "\(error?.message ?? "")")
        #expect(error?.message.contains("\(part.snapshot.description.prefix(12))") == true)
    }

    @Test("Ten thousand files in one directory of two parts, and eleven hundred directories in each other")
    func large() async throws {
        let world = try await JoinWorld()
        let trees = try [SourceTree("v"), SourceTree("v"), SourceTree("v")]
        for number in 0..<10_000 {
            for tree in [trees[number % 2], trees[2]] { try tree.write("file-\(number)", []) }
        }
        let deep = (0..<1100).map { "\($0 % 10)" }.joined(separator: "/")
        for tree in [trees[1], trees[2]] { try tree.put(deep + "/x", "x") }
        let parts = [try await world.backUp([trees[0].bytes]), try await world.backUp([trees[1].bytes])]
        let whole = try await world.backUp([trees[2].bytes])
        let joined = try await world.join(parts.map { JoinWorld.part($0, at: "") })
        #expect(joined.manifest.contentDigest == whole.manifest.contentDigest)
        #expect(joined.manifest.totals == whole.manifest.totals)
    }

    @Test("Places and parts that make no sense are refused")
    func refused() async throws {
        let world = try await JoinWorld()
        let tree = try SourceTree("v", Self.files)
        let part = JoinWorld.part(try await world.backUp([tree.bytes]), at: "p")
        for place in [[Array("..".utf8)], [[]], [Array("a/b".utf8)], [[0]]] as [[[UInt8]]] {
            let error = await #expect(throws: SnapshotError.self) {
                try await world.join([JoinPart(snapshot: part.snapshot, place: place)])
            }
            #expect(error?.code == .invalidArgument)
        }
        let none = await #expect(throws: SnapshotError.self) { try await world.join([]) }
        #expect(none?.code == .invalidArgument)
        for (from, isName) in [("v/a", false), ("v/none", true)] {
            let error = await #expect(throws: (any Error).self) {
                try await world.join([JoinPart(snapshot: part.snapshot, from: JoinWorld.components(from), place: [])])
            }
            #expect((error as? RepositoryError)?.code == .noSuchName || !isName)
            #expect((error as? SnapshotError)?.code == .invalidArgument || isName)
        }
    }
}

/// Calls somebody before anything is put.
private struct BeforePut: ForwardingObjectStore {
    let base: any ObjectStore
    let body: @Sendable (String) async -> Void

    init(_ base: any ObjectStore, _ body: @escaping @Sendable (String) async -> Void) {
        self.base = base
        self.body = body
    }

    func put(_ key: String, _ content: ObjectBody, options: PutOptions) async throws(ObjectStorageError) -> PutReceipt {
        await body(key)
        return try await base.put(key, content, options: options)
    }
}

extension Bool {
    /// Sets it; the value before.
    fileprivate mutating func exchange(_ value: Bool) -> Bool {
        defer { self = value }
        return self
    }
}
