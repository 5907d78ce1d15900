import Basics
import ObjectStorage
import ObjectStorageTesting
import Repository
import RepositoryFormat
import Testing

@Suite struct RepairTests {
    static let files: Files = [
        "a": bytes(5000, seed: 1), "d/b": bytes(700_000, seed: 2), "d/e/c": bytes(40_000, seed: 3),
    ]

    @Test func damagedAndLostSegmentsAreRebuilt() async throws {
        let test = try await TestRepository.create()
        var kept: [Identifier: Files] = [:]
        for number in 0..<3 {
            let files: Files = ["f": bytes(300_000 + number, seed: UInt64(number))]
            kept[try await test.repository.snapshot(files)] = files
        }
        let segments = try await test.names("index/")
        try await test.change(segments[0]) { $0[50] ^= 1 }
        try await test.memory.delete(segments[1], ifTag: nil)
        let report = try await RepositoryRepair(repository: test.repository).rebuildIndex()
        #expect(report.packsIndexed == 4 && report.segmentsRemoved == 1 && report.segmentsWritten == 1)
        #expect(report.packsSalvaged == 0 && report.lost.isEmpty)
        #expect(try await VerifierTests.verify(test, .full).problems.isEmpty)
        for (id, files) in kept { #expect(try await test.repository.files(of: id) == files) }
        let again = try await RepositoryRepair(repository: test.repository).rebuildIndex()
        #expect(again == RepairReport())
    }

    @Test(arguments: [false, true]) func aPackWithoutItsListIsSearchedForBlobs(withoutHeader: Bool) async throws {
        let test = try await TestRepository.create()
        let id = try await test.repository.snapshot(Self.files)
        let pack = try #require(try await test.firstDataPack(of: id))
        for name in try await test.names("index/") { try await test.memory.delete(name, ifTag: nil) }
        try await test.change(pack) { bytes in
            bytes[bytes.count - 30] ^= 1
            if withoutHeader { bytes[3] ^= 1 }
        }
        let report = try await RepositoryRepair(repository: test.repository).rebuildIndex()
        #expect(report.packsSalvaged == 1 && report.packsIndexed == 2 && report.lost.isEmpty)
        #expect(try await test.repository.files(of: id) == Self.files)
    }

    @Test func whatIsDamagedIsPassedOverAndTheRestFound() async throws {
        let test = try await TestRepository.create()
        let id = try await test.repository.snapshot(Self.files)
        let pack = try #require(try await test.firstDataPack(of: id))
        for name in try await test.names("index/") { try await test.memory.delete(name, ifTag: nil) }
        try await test.change(pack) { bytes in
            bytes[bytes.count - 30] ^= 1
            bytes[PackHeader.size + BlobHeader.size + 1000] ^= 1
        }
        let report = try await RepositoryRepair(repository: test.repository).rebuildIndex()
        #expect(report.packsSalvaged == 1)
        let verified = try await VerifierTests.verify(test, .index)
        #expect(verified.problems.flatMap(\.files) == ["d/b"])
        // A pack of which nothing is left is told.
        try await test.change(pack) { bytes in for index in bytes.indices { bytes[index] ^= 0x55 } }
        for name in try await test.names("index/") { try await test.memory.delete(name, ifTag: nil) }
        #expect(try await RepositoryRepair(repository: test.repository).rebuildIndex().lost.map(\.object) == [pack])
    }

    @Test func aSegmentThatOnlyTheCacheHasIsStoredAgain() async throws {
        let directory = try TemporaryDirectory()
        let test = try await TestRepository.create(cache: directory.path)
        let id = try await test.repository.snapshot(Self.files)
        let segment = try #require(try await test.names("index/").first)
        try await test.change(segment) { $0[50] ^= 1 }
        let verifier = Verifier(repository: test.repository)
        let before = try await verifier.verify(.init(depth: .index) { "\($0)" })
        #expect(before.problems.map(\.object) == [segment])
        let report = try await RepositoryRepair(repository: test.repository).rebuildIndex()
        #expect(report.segmentsRemoved == 1 && report.segmentsWritten == 1 && report.packsIndexed == 2)
        #expect(try await VerifierTests.verify(test, .full).problems.isEmpty)
        #expect(try await test.repository.files(of: id) == Self.files)
    }
}
