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

    private func open(_ version: String) async throws -> Repository {
        // Reading leaves no trace, and writing is refused.
        let store = ReadOnlyObjectStore(try await DirectoryObjectStore(root: Self.root.appending(version)))
        return try await Repository.open(
            store: store, credential: .passphrase(Array("golden repository".utf8)),
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

    @Test("Version 1 verifies in full")
    func verifies() async throws {
        let report = try await Verifier(repository: try await open("v1")).verify(
            VerifyOptions(depth: .full, displayPath: { PathText.display($0) }))
        #expect(report.problems.isEmpty)
        #expect(report.snapshots == 2)
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
