import Logging
import ObjectStorage
import ObjectStorageTesting
import Repository
import RepositoryFormat
import SystemPackage
import Testing

@testable import Snapshots

/// Files of tensors as training writes them.
enum TensorFileData {
    /// Numbers of two bytes as trained weights have them: exponents that vary little, and noise below.
    static func weights(_ count: Int, seed: UInt64) -> [UInt8] {
        var generator = SeededGenerator(seed: seed)
        var bytes = generator.bytes(2 * count)
        for index in stride(from: 1, to: bytes.count, by: 2) { bytes[index] = 0x3c | bytes[index] & 0x83 }
        return bytes
    }

    /// The same after a small step.
    static func stepped(_ weights: [UInt8], seed: UInt64) -> [UInt8] {
        var next = weights
        var generator = SeededGenerator(seed: seed)
        let noise = generator.bytes(weights.count / 16 + 1)
        for index in stride(from: 0, to: next.count, by: 16) { next[index] ^= noise[index / 16] & 1 }
        return next
    }

    /// A safetensors file (a length, a JSON header, and the tensors one after another).
    static func safetensors(_ tensors: [(name: String, bytes: [UInt8])]) -> [UInt8] {
        var offset = 0
        var parts: [String] = []
        for (name, bytes) in tensors {
            parts.append(
                "\"\(name)\":{\"dtype\":\"BF16\",\"shape\":[\(bytes.count / 2)],\"data_offsets\":[\(offset),\(offset + bytes.count)]}"
            )
            offset += bytes.count
        }
        var header = Array("{\(parts.joined(separator: ","))}".utf8)
        while header.count % 8 != 0 { header.append(UInt8(ascii: " ")) }
        return withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) } + header
            + tensors.flatMap(\.bytes)
    }
}

/// Files of tensors: what the next state of a model costs, however its files are called and its tensors are spread.
@Suite("Backups of tensors")
struct TensorBackupTests {
    private static let credential = KeyCredential.keyFile([UInt8](repeating: 7, count: 32))
    private static let options = RepositoryOptions(memoryBytes: 96 << 20, processors: 2, logger: Logger(label: "test"))

    private let store = MemoryObjectStore()

    private func repository() async throws -> Repository {
        if try await store.listAll(prefix: "config").isEmpty {
            return try await Repository.create(store: store, credential: Self.credential, options: Self.options)
        }
        return try await Repository.open(store: store, credential: Self.credential, options: Self.options)
    }

    private func backUp(_ tree: SourceTree, bases: BackupRequest.Bases = .parent, paths: [[UInt8]]? = nil) async throws
        -> BackupResult
    {
        let request = BackupRequest(
            paths: paths ?? [tree.bytes], host: "h", user: "u", bases: bases, program: "test")
        return try await BackupOperation(
            repository: try await repository(), request: request, progress: OperationProgress()
        ).run()
    }

    /// Restores with every check and compares a file.
    private func restored(_ id: Identifier, _ name: String) async throws -> [UInt8] {
        let target = try ObjectStorageTesting.TemporaryDirectory()
        let request = RestoreRequest(snapshot: id, target: Array(target.path.string.utf8), verify: true)
        let result = try await RestoreOperation(
            repository: try await repository(), request: request, progress: OperationProgress()
        ).run()
        #expect(result.damaged.isEmpty && result.failed.isEmpty)
        return try SourceTree.read(target.path.appending(name))
    }

    private static let tensors: [(name: String, bytes: [UInt8])] = (0..<4).map {
        ("layer.\($0).weight", TensorFileData.weights(1_200_000 + 300_000 * $0, seed: UInt64($0)))
    }

    /// The model after a small step.
    private static func stepped(_ seed: UInt64) -> [UInt8] {
        TensorFileData.safetensors(tensors.map { ($0.name, TensorFileData.stepped($0.bytes, seed: seed)) })
    }

    @Test("Weights take two thirds, and the same tensors in other files and another order cost next to nothing")
    func reordered() async throws {
        let tree = try SourceTree()
        let file = TensorFileData.safetensors(Self.tensors)
        try tree.write("model.safetensors", file)
        let first = try await backUp(tree)
        #expect(Double(first.counters.bytesStored) < 0.7 * Double(file.count))

        try tree.write("a.safetensors", TensorFileData.safetensors([Self.tensors[3], Self.tensors[0]]))
        try tree.write("b.safetensors", TensorFileData.safetensors([Self.tensors[2], Self.tensors[1]]))
        let second = try await backUp(tree)
        #expect(second.counters.bytesNew < 10_000, "\(second.counters)")
        #expect(
            try await restored(second.snapshot, "run/a.safetensors")
                == TensorFileData.safetensors([Self.tensors[3], Self.tensors[0]]))
    }

    @Test("The next checkpoint is stored as the difference: under the same name, or one that differs in its number")
    func next() async throws {
        let tree = try SourceTree()
        try SourceTree.makeDirectory(tree.path.appending("checkpoint-500"))
        let name = "model-00001-of-00002.safetensors"
        let file = TensorFileData.safetensors(Self.tensors)
        try tree.write("checkpoint-500/\(name)", file)
        try tree.write(
            "checkpoint-500/model-00002-of-00002.safetensors",
            TensorFileData.safetensors([("layer.0.weight", TensorFileData.weights(1_200_000, seed: 77))]))
        let first = try await backUp(tree)

        let next = Self.stepped(9)
        try SourceTree.makeDirectory(tree.path.appending("checkpoint-1000"))
        try tree.write("checkpoint-1000/\(name)", next)
        let second = try await backUp(tree)
        #expect(second.counters.bytesStored < UInt64(next.count) / 10, "\(second.counters)")
        #expect(try await restored(second.snapshot, "run/checkpoint-1000/\(name)") == next)

        // In place, and with other numbers of tensors in front.
        let third = TensorFileData.safetensors(
            [("new", TensorFileData.weights(50_000, seed: 10))]
                + Self.tensors.map { ($0.name, TensorFileData.stepped($0.bytes, seed: 11)) })
        try tree.write("checkpoint-1000/\(name)", third)
        let fourth = try await backUp(tree)
        #expect(fourth.counters.bytesStored < UInt64(third.count) / 8, "\(fourth.counters)")
        #expect(try await restored(fourth.snapshot, "run/checkpoint-1000/\(name)") == third)
        #expect(try await restored(first.snapshot, "run/checkpoint-500/\(name)") == file)
        let report = try await Verifier(repository: try await repository()).verify(
            VerifyOptions(depth: .full, displayPath: { PathText.display($0) }))
        #expect(report.problems.isEmpty, "\(report.problems)")
    }

    @Test("Differences are off where they are not wanted, and taken to a named snapshot where one is")
    func chosen() async throws {
        let tree = try SourceTree("base")
        try tree.write("model.safetensors", TensorFileData.safetensors(Self.tensors))
        let base = try await backUp(tree)
        let tuned = try SourceTree("base")
        let next = Self.stepped(12)
        try tuned.write("model.safetensors", next)
        // Other sources: they have no snapshot before.
        let fine = try await backUp(tuned, bases: .snapshot(base.snapshot))
        #expect(fine.counters.bytesStored < UInt64(next.count) / 10, "\(fine.counters)")
        #expect(try await restored(fine.snapshot, "base/model.safetensors") == next)
        let other = Self.stepped(13)
        try tuned.write("model.safetensors", other)
        let off = try await backUp(tuned, bases: .none)
        #expect(off.counters.bytesStored > UInt64(next.count) / 2, "\(off.counters)")
        let missing = try Identifier.random()
        await #expect(throws: RepositoryError.self) { try await backUp(tuned, bases: .snapshot(missing)) }
    }

    @Test("A hole in a tensor stays a hole, and a header that lies changes nothing of the bytes")
    func odd() async throws {
        let tree = try SourceTree()
        // The header promises more than there is: the file is bytes.
        let torn = Array(TensorFileData.safetensors(Self.tensors).dropLast(100_000))
        try tree.write("torn.safetensors", torn)
        var sparse = TensorFileData.safetensors([
            Self.tensors[0], ("zeros", [UInt8](repeating: 0, count: 6 << 20)), Self.tensors[1],
        ])
        try tree.write("sparse.safetensors", sparse)
        let result = try await backUp(tree)
        #expect(try await restored(result.snapshot, "run/torn.safetensors") == torn)
        #expect(try await restored(result.snapshot, "run/sparse.safetensors") == sparse)
        sparse[sparse.count - 7] ^= 1
        try tree.write("sparse.safetensors", sparse)
        let second = try await backUp(tree)
        #expect(try await restored(second.snapshot, "run/sparse.safetensors") == sparse)
        #expect(second.counters.bytesNew <= 4 << 20)
    }
}
