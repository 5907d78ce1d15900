import Basics
import ObjectStorage
import ObjectStorageTesting
import RepositoryFormat
import Sealing
import Testing

@testable import Repository

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

    /// What is given up is stored anew by whoever has it, and the damaged pack goes in the end.
    @Test(arguments: [ChunkKind.data, .tree]) func aDamagedPackThatIsGivenUpHeals(kind: ChunkKind) async throws {
        let test = try await TestRepository.create(graceSeconds: 1000)
        let id = try await test.repository.snapshot(Self.files)
        let pack = try #require(try await test.packs().first { ObjectNames.parsePack($0)?.kind == kind })
        try await test.change(pack) { $0[PackHeader.size + BlobHeader.size + 50] ^= 1 }
        let damaged = try await VerifierTests.verify(test, .full)
        #expect(!damaged.isSound)
        // As it is, a backup relies on what is damaged.
        try await test.repository.snapshot(Self.files)
        #expect(try await !VerifierTests.verify(test, .full).isSound)
        let repair = RepositoryRepair(repository: test.repository)
        #expect(try await repair.giveUpDamaged(damaged) == [pack])
        let again = try await test.reopened()
        let healed = try await again.snapshot(Self.files)
        let report = try await VerifierTests.verify(test, .full)
        #expect(report.isSound, "\(report.problems.filter { !$0.isHarmless })")
        for snapshot in [id, healed] { #expect(try await again.files(of: snapshot) == Self.files) }
        test.clock.advance(bySeconds: 2000)
        for _ in 0..<2 {
            _ = try await Collector(repository: try await test.reopened()).prune()
            test.clock.advance(bySeconds: 2000)
        }
        #expect(try await !test.packs().contains(pack))
        #expect(try await VerifierTests.verify(test, .full).problems.isEmpty)
        #expect(try await repair.giveUpDamaged(damaged) == [], "what is gone needs no giving up")
    }

    /// All packs of a repository whose index is lost are one segment in memory, which may be larger than a stored one.
    @Test func aLostIndexOfAnySizeIsStoredInPieces() async throws {
        let test = try await TestRepository.create()
        let pack = { (number: UInt64) throws in
            IndexedPack(
                id: try Identifier.random(), kind: .data, bytes: number, retainedUntil: Timestamp(nanoseconds: 0),
                session: try SessionHeader.create(keyring: test.repository.keyring).header)
        }
        let packs = try (0..<3).map { try pack(UInt64($0)) }
        var entries: [IndexEntry] = []
        let each = IndexSegmentLayout.maximumEntries - 10
        for row in 0..<3 {
            for number in 0..<each {
                let id = ChunkID(
                    SHA256State.digest(of: [
                        UInt8(row), UInt8(number >> 16), UInt8(number >> 8 & 255), UInt8(number & 255),
                    ]))
                entries.append(
                    IndexEntry(
                        id: id, pack: UInt32(row), offset: UInt32(number), sealedLength: 1, rawLength: 1, isGroup: false
                    ))
            }
        }
        let segment = try IndexSegment(
            recovered: packs + packs,
            entries: entries
                + entries.map { entry in
                    var entry = entry
                    entry.pack += 3
                    return entry
                }, id: try Identifier.random())
        #expect(segment.count == 6 * each && segment.count > 4 * IndexSegmentLayout.maximumEntries)
        #expect(try await test.repository.putSegments(packs, entries) == 3)
        let index = try await test.reopened().loadIndex()
        #expect(index.segments.map(\.count) == [each, each, each])
    }
}
