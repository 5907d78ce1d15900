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

/// Repositories of every format version that was ever released, read from their committed bytes.
@Suite("Golden repositories")
struct GoldenRepositoryTests {
    private static let root = FilePath(#filePath).removingLastComponent().appending("Golden")

    private static let password = KeyCredential.passphrase(Array("golden repository".utf8))

    private func open(_ version: String, with credential: KeyCredential = password) async throws -> Repository {
        // Reading leaves no trace, and writing is refused.
        let store = ReadOnlyObjectStore(try await DirectoryObjectStore(root: Self.root.appending(version)))
        return try await Repository.open(
            store: store, credential: credential,
            options: RepositoryOptions(processors: 2, logger: Logger(label: "golden")))
    }

    @Test(
        "Version 1 restores to the same bytes",
        arguments: [
            ("b5ac58b5657d5a0e30cea38295bd7649", "1c47c9f48fbc26e80ccbe59ab3679d96b79905aa077f797a50fc7354e2edd472"),
            ("80abdbf5e5bdfc083fdbdea4cb83144e", "d57f9ebf02e69f00cb728269407f730b00c7a9dd36a9beb7ca356fee65faa3d6"),
        ])
    func restores(snapshot: String, contentDigest: String) async throws {
        let repository = try await open("v1")
        let id = try #require(Identifier(hex: snapshot))
        let target = try ObjectStorageTesting.TemporaryDirectory()
        let request = RestoreRequest(snapshot: id, target: Array(target.path.string.utf8), verify: true)
        let result = try await RestoreOperation(
            repository: repository, request: request, progress: OperationProgress()
        ).run()
        #expect(result.damaged.isEmpty && result.failed.isEmpty)
        #expect(result.files == 7)
        #expect(result.contentDigest == contentDigest)
        // Made of the SHA-256 of a counter, so the bytes can be made again here.
        var weights: [UInt8] = []
        var counter = 0
        while weights.count < 300_000 {
            weights += SHA256State.digest(of: Array(String(counter).utf8)).bytes
            counter += 1
        }
        #expect(try SourceTree.read(target.path.appending("run/ckpt/weights.bin")) == weights)
    }

    /// The bytes of SHA-256 of a counter that begins at `start`.
    private static func stream(_ count: Int, from start: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        var counter = start
        while bytes.count < count {
            bytes += SHA256State.digest(of: Array(String(counter).utf8)).bytes
            counter += 1
        }
        return Array(bytes.prefix(count))
    }

    /// A model of two tensors, as a trainer saves it first, and after a step that touched every 16th number of the first.
    private static func model(stepped: Bool) -> [UInt8] {
        var weights = stream(300_000, from: 0).flatMap { [$0 & 7, 0x3c | $0 >> 7] }
        if stepped {
            let noise = stream(weights.count / 32 + 1, from: 90_000)
            for index in stride(from: 0, to: weights.count, by: 32) { weights[index] ^= noise[index / 32] & 1 }
        }
        let first = #"{"a":{"dtype":"BF16","shape":[300000],"data_offsets":[0,600000]},"#
        var header = Array((first + #""b":{"dtype":"F32","shape":[1000],"data_offsets":[600000,604000]}}"#).utf8)
        while header.count % 8 != 0 { header.append(UInt8(ascii: " ")) }
        return withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) } + header + weights
            + stream(4000, from: 50_000)
    }

    @Test("Byte planes, and a difference to them, restore to the same bytes")
    func tensors() async throws {
        let repository = try await open("v1-tensors")
        let id = try #require(Identifier(hex: "2dd74a09d9c6ef00ebc61cf6834ea006"))
        let target = try ObjectStorageTesting.TemporaryDirectory()
        let request = RestoreRequest(snapshot: id, target: Array(target.path.string.utf8), verify: true)
        let result = try await RestoreOperation(
            repository: repository, request: request, progress: OperationProgress()
        ).run()
        #expect(result.damaged.isEmpty && result.failed.isEmpty && result.files == 2)
        #expect(result.contentDigest == "6aa425cedf34595075cb00a4580ce05217dbb58c3b9faed00aff9fba6b8cd9e3")
        for (number, stepped) in [(1, false), (2, true)] {
            let restored = try SourceTree.read(target.path.appending("run/checkpoint-\(number)/model.safetensors"))
            #expect(restored == Self.model(stepped: stepped))
        }
        let index = try await repository.loadIndex()
        let bases = index.segments.flatMap(\.entries).compactMap(\.base)
        #expect(bases.count == 1 && bases.allSatisfy { index.findWhole($0, kind: .data) != nil })
    }

    @Test("What tells codecs restores to the same bytes and tells them, what does not tells none")
    func codecs() async throws {
        let repository = try await open("v1-codecs")
        let id = try #require(Identifier(hex: "1afd26bf2722a4c0ccd25b59582fca26"))
        let target = try ObjectStorageTesting.TemporaryDirectory()
        let request = RestoreRequest(snapshot: id, target: Array(target.path.string.utf8), verify: true)
        let result = try await RestoreOperation(
            repository: repository, request: request, progress: OperationProgress()
        ).run()
        #expect(result.damaged.isEmpty && result.failed.isEmpty && result.files == 4)
        #expect(result.contentDigest == "05db52a3406deec421215f633009f009819e664843b6d1a070d1ec0e2f534a5f")
        for (number, stepped) in [(1, false), (2, true)] {
            let restored = try SourceTree.read(target.path.appending("run/checkpoint-\(number)/model.safetensors"))
            #expect(restored == Self.model(stepped: stepped))
        }
        let told = try await repository.loadIndex().segments.flatMap(\.entries).map(\.codec)
        #expect(Set(told) == [.stored, .zstd, .planes, .difference])
        let untold = try await open("v1-tensors").loadIndex().segments.flatMap(\.entries)
        #expect(untold.allSatisfy { $0.codec == ($0.hasBase ? .difference : nil) } && !untold.isEmpty)
    }

    @Test("Version 1 verifies in full", arguments: [("v1", 2), ("v1-tensors", 2), ("v1-codecs", 1)])
    func verifies(version: String, snapshots: UInt64) async throws {
        let report = try await Verifier(repository: try await open(version)).verify(
            VerifyOptions(depth: .full, displayPath: { PathText.display($0) }))
        #expect(report.problems.isEmpty)
        #expect(report.snapshots == snapshots)
    }

    @Test("Slots of version 2 of the key table, one of them a reader's, open two epochs")
    func roles() async throws {
        for (credential, role) in [
            (Self.password, KeyRole.full), (.keyFile([UInt8](repeating: 0x33, count: 40)), .reader),
        ] {
            let repository = try await open("v1-roles", with: credential)
            #expect(repository.keyring.role == role && repository.keyring.epochs.count == 2)
            #expect(repository.slots.map(\.role) == [.full, .reader] && repository.slots.allSatisfy(\.isAnchored))
            for (snapshot, contentDigest) in [
                (
                    "61d18840c766982a1e79a45d487f5e74",
                    "bd804f24468830a49950e0ec263a7ef87fe687255c52130982c10d6e9b32ecd9"
                ),
                (
                    "0f4fa56e4dc8457ecd5bbeefd6d24d60",
                    "a679be7a6819efc79355d1c2c19e8eb030e9c08ddbbfaa18f67fa8b6caedc622"
                ),
            ] {
                let target = try ObjectStorageTesting.TemporaryDirectory()
                let request = RestoreRequest(
                    snapshot: try #require(Identifier(hex: snapshot)), target: Array(target.path.string.utf8),
                    verify: true)
                let result = try await RestoreOperation(
                    repository: repository, request: request, progress: OperationProgress()
                ).run()
                #expect(result.damaged.isEmpty && result.failed.isEmpty && result.files == 2)
                #expect(result.contentDigest == contentDigest)
            }
            let report = try await Verifier(repository: repository).verify(
                VerifyOptions(depth: .full, displayPath: { PathText.display($0) }))
            #expect(report.problems.isEmpty && report.snapshots == 2)
        }
    }

    @Test("A repository of version 1 takes new keys, and its old ones go on opening it")
    func takesKeys() async throws {
        let golden = try await DirectoryObjectStore(root: Self.root.appending("v1"))
        let store = MemoryObjectStore()
        for object in try await golden.listAll(prefix: "") {
            try await store.put(object.key, bytes: try await golden.get(object.key, maximumBytes: 64 << 20))
        }
        let options = RepositoryOptions(processors: 2, logger: Logger(label: "golden"))
        let password = Self.password
        let (reader, renewed) = (
            KeyCredential.keyFile([UInt8](repeating: 3, count: 40)),
            KeyCredential.keyFile([UInt8](repeating: 4, count: 40))
        )
        var repository = try await Repository.open(store: store, credential: password, options: options)
        #expect(repository.slots.map(\.isAnchored) == [false])
        repository = try await repository.addSlot(reader, role: .reader, label: "audit")
        for credential in [password, reader] {
            let opened = try await Repository.open(store: store, credential: credential, options: options)
            #expect(opened.slots.map(\.isAnchored) == [false, true])
            let report = try await Verifier(repository: opened).verify(
                VerifyOptions(depth: .full, displayPath: { PathText.display($0) }))
            #expect(report.problems.isEmpty && report.snapshots == 2)
        }
        repository = try await repository.replaceOwnSlot(with: renewed)
        #expect(repository.slots.map(\.isAnchored) == [true, true])
        let opened = try await Repository.open(store: store, credential: renewed, options: options)
        #expect(try await opened.listSnapshots().snapshots.allSatisfy { $0.manifest != nil })
        await #expect(throws: RepositoryError.self) {
            _ = try await Repository.open(store: store, credential: password, options: options)
        }
    }

    @Test("A wrong password is told from damage")
    func wrongPassword() async throws {
        let repository = try await open("v1")
        await #expect(throws: RepositoryError.self) {
            _ = try await Repository.open(
                store: repository.store, credential: .passphrase([1]), options: RepositoryOptions())
        }
    }
}
