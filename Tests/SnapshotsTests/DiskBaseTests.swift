import Logging
import ObjectStorage
import ObjectStorageTesting
import Repository
import RepositoryFormat
import Sealing
import SystemPackage
import Testing

@testable import Snapshots

/// Bases that are read from the disk that is backed up: for a key that cannot read the repository, and for checkpoints that
/// come into it together.
@Suite("Bases on the disk")
struct DiskBaseTests {
    private static let credential = KeyCredential.keyFile([UInt8](repeating: 7, count: 32))
    private static let options = RepositoryOptions(memoryBytes: 96 << 20, processors: 2, logger: Logger(label: "test"))
    private static let tensors: [(name: String, bytes: [UInt8])] = (0..<3).map {
        ("layer.\($0).weight", TensorFileData.weights(1_200_000 + 1_300_000 * $0, seed: 40 + UInt64($0)))
    }
    private static let first = TensorFileData.safetensors(tensors)

    private let store = MemoryObjectStore()
    private let identity: X25519PrivateKey
    private let tree: SourceTree

    init() async throws {
        identity = try X25519PrivateKey.generate()
        tree = try SourceTree()
        let repository = try await Repository.create(
            store: store, credential: Self.credential, options: Self.options)
        _ = try await repository.addRecipient(identity.publicKey.bytes, role: .writer, label: "mover")
    }

    private static func stepped(_ seed: UInt64) -> [UInt8] {
        TensorFileData.safetensors(tensors.map { ($0.name, TensorFileData.stepped($0.bytes, seed: seed)) })
    }

    private func open(_ role: KeyRole) async throws -> Repository {
        try await Repository.open(
            store: store, credential: role == .writer ? .identity(identity) : Self.credential, options: Self.options)
    }

    private func backUp(
        as role: KeyRole, excludes: [String] = [], bases: BackupRequest.Bases = .parent
    ) async throws -> BackupResult {
        let request = BackupRequest(
            paths: [tree.bytes], host: "h", user: "u", excludes: excludes, bases: bases, program: "test")
        return try await BackupOperation(
            repository: try await open(role), request: request, progress: OperationProgress()
        ).run()
    }

    private func write(_ step: Int, _ content: [UInt8]) throws {
        let name = "checkpoint-\(step)"
        if (try? FileDescriptor.open(tree.path.appending(name), .readOnly).close()) == nil {
            try SourceTree.makeDirectory(tree.path.appending(name))
        }
        try tree.write("\(name)/model.safetensors", content)
    }

    /// Reads all that is stored, and restores `files` to compare them.
    private func check(_ id: Identifier, _ files: [Int: [UInt8]]) async throws {
        let report = try await Verifier(repository: try await open(.full)).verify(
            VerifyOptions(depth: .full, displayPath: { PathText.display($0) }))
        #expect(report.problems.isEmpty, "\(report.problems)")
        let target = try ObjectStorageTesting.TemporaryDirectory()
        let request = RestoreRequest(snapshot: id, target: Array(target.path.string.utf8), verify: true)
        let result = try await RestoreOperation(
            repository: try await open(.full), request: request, progress: OperationProgress()
        ).run()
        #expect(result.damaged.isEmpty && result.failed.isEmpty)
        for (step, content) in files {
            let name = "run/checkpoint-\(step)/model.safetensors"
            #expect(try SourceTree.read(target.path.appending(name)) == content, "\(step)")
        }
    }

    @Test("A writer key stores the next checkpoint as the difference to the one that is still on the disk")
    func writer() async throws {
        try write(100, Self.first)
        let first = try await backUp(as: .writer)
        #expect(first.counters.bytesStored > UInt64(Self.first.count) / 2)
        let second = Self.stepped(1)
        try write(200, second)
        let two = try await backUp(as: .writer)
        #expect(two.counters.bytesStored < UInt64(second.count) / 8, "\(two.counters)")
        // The nearest is a difference itself: its base, which is there too, serves.
        let third = Self.stepped(2)
        try write(300, third)
        let three = try await backUp(as: .writer)
        #expect(three.counters.bytesStored < UInt64(third.count) / 8, "\(three.counters)")
        try await check(three.snapshot, [100: Self.first, 200: second, 300: third])
    }

    @Test("What changed on the disk since it was stored is no base for what is stored before it")
    func changed() async throws {
        try write(900, Self.first)
        _ = try await backUp(as: .writer)
        // By name it comes before the other, which is not what it was: one bit of each piece has changed.
        let second = Self.stepped(3)
        try write(1000, second)
        var changed = Self.first
        for place in stride(from: 1 << 20, to: changed.count, by: 1 << 20) { changed[place] ^= 1 }
        try write(900, changed)
        let result = try await backUp(as: .writer)
        #expect(result.counters.bytesStored > UInt64(second.count) / 2, "\(result.counters)")
        try await check(result.snapshot, [1000: second, 900: changed])
    }

    @Test("An excluded checkpoint is not looked at, though the repository has it")
    func excluded() async throws {
        try write(100, Self.first)
        _ = try await backUp(as: .writer)
        let second = Self.stepped(4)
        try write(200, second)
        let result = try await backUp(as: .writer, excludes: ["checkpoint-100"])
        #expect(result.counters.bytesStored > UInt64(second.count) / 2, "\(result.counters)")
    }

    @Test("Differences are off for a writer key too where they are not wanted")
    func off() async throws {
        try write(100, Self.first)
        _ = try await backUp(as: .writer)
        let second = Self.stepped(5)
        try write(200, second)
        let result = try await backUp(as: .writer, bases: .none)
        #expect(result.counters.bytesStored > UInt64(second.count) / 2, "\(result.counters)")
    }

    @Test("Of checkpoints that are backed up for the first time together, the later are differences to the first")
    func together() async throws {
        let (second, third) = (Self.stepped(6), Self.stepped(7))
        try write(100, Self.first)
        try write(200, second)
        try write(300, third)
        let result = try await backUp(as: .full)
        #expect(result.counters.bytesStored < UInt64(Self.first.count), "\(result.counters)")
        try await check(result.snapshot, [100: Self.first, 200: second, 300: third])
    }

    @Test("A full key reads the base on the disk rather than in the repository")
    func spared() async throws {
        try write(100, Self.first)
        _ = try await backUp(as: .full)
        let second = Self.stepped(8)
        try write(200, second)
        let recorded = RecordingObjectStore(store)
        let repository = try await Repository.open(
            store: recorded, credential: Self.credential, options: Self.options)
        let request = BackupRequest(paths: [tree.bytes], host: "h", user: "u", program: "test")
        let result = try await BackupOperation(
            repository: repository, request: request, progress: OperationProgress()
        ).run()
        #expect(result.counters.bytesStored < UInt64(second.count) / 8, "\(result.counters)")
        // Nothing but the older file's header.
        let read = recorded.requests.filter { $0.operation == .get && $0.key.hasPrefix("data/") }
            .reduce(0) { $0 + ($1.range.map { Int($0.upperBound - $0.lowerBound) } ?? Int.max / 2) }
        #expect(read < 100_000, "\(read) bytes")
        try await check(result.snapshot, [100: Self.first, 200: second])
    }
}
