import Basics
import ObjectStorage
import ObjectStorageTesting
import Repository
import RepositoryFormat
import Sealing
import Testing

/// What collectors, readers and writers do with bases that move, go, or are there twice.
@Suite struct MovingBaseTests {
    private static func verify(_ repository: Repository) async throws -> VerifyReport {
        try await Verifier(repository: repository).verify(
            .init(depth: .full) { String(decoding: $0 as [UInt8], as: UTF8.self) })
    }

    /// A base has two copies, one whole and one a difference.
    @Test func aBaseWithACopyThatIsADifferenceStaysWhole() async throws {
        let test = try await TestRepository.create(graceSeconds: 0)
        let c = TestWeights.make(900_000, seed: 101)
        let b = TestWeights.stepped(c, seed: 102)
        let a = TestWeights.stepped(b, seed: 103)
        _ = try await test.repository.snapshot(["model": c], host: "two")
        // Two hosts at once: the first has no base, the second has.
        let one = try await test.repository.prepare(
            ["model": b, "junk": bytes(12_000_000, seed: 104)], host: "one")
        let two = try await test.repository.prepare(
            ["model": b, "keep": bytes(12_000_000, seed: 105)], host: "two",
            index: try await { () async throws -> RepositoryIndex in
                let index = try await test.reopened().loadIndex()
                // As it was before the other published.
                let packs = Set(
                    index.allPacks().values.filter { $0.session.sessionID == one.session.header.sessionID }.map(\.id))
                index.setCondemned(packs)
                return index
            }(), bases: ["model": c])
        let oneID = try await one.session.commit(one.manifest, chain: one.chain).id
        let twoID = try await two.session.commit(two.manifest, chain: two.chain).id
        let three = try await test.repository.snapshot(["model": a], host: "one", bases: ["model": b])
        #expect(try await test.reopened().files(of: three)["model"] == a)
        #expect(try await Self.verify(try await test.reopened()).problems.isEmpty)
        _ = try await test.repository.forget([oneID])
        let report = try await Collector(repository: try await test.reopened()).prune()
        #expect(report.packsRepacked > 0 && report.packsDeleted > 0)
        let problems = try await Self.verify(try await test.reopened()).problems
        #expect(problems.isEmpty)
        #expect(try await test.reopened().files(of: twoID)["model"] == b)
        #expect(try await test.reopened().files(of: three)["model"] == a)
    }

    /// A base's pack is away while a prune runs, and comes back.
    @Test func aDifferenceOutlivesTheAbsenceOfItsBase() async throws {
        let test = try await TestRepository.create(graceSeconds: 0)
        let first = TestWeights.make(900_000, seed: 111)
        let second = TestWeights.stepped(first, seed: 112)
        _ = try await test.repository.snapshot(["model": first])
        let name = try #require(try await test.names("data/").first)
        let saved = try await test.get(name)
        let two = try await test.repository.snapshot(["model": second], bases: ["model": first])
        try await test.memory.delete(name, ifTag: nil)
        let report = try await Collector(repository: try await test.reopened()).prune()
        #expect(report.packsDeleted == 0 && !report.findings.isEmpty)
        try await test.put(name, saved)
        _ = try await RepositoryRepair(repository: try await test.reopened()).rebuildIndex()
        #expect(try await test.reopened().files(of: two)["model"] == second)
    }

    /// A reader whose index is older than the move of a base's pack.
    @Test func aReaderFollowsABaseThatMoved() async throws {
        let test = try await TestRepository.create(graceSeconds: 0)
        let first = TestWeights.make(900_000, seed: 121)
        let second = TestWeights.stepped(first, seed: 122)
        let one = try await test.repository.snapshot(["model": first, "junk": bytes(8_000_000, seed: 123)])
        let two = try await test.repository.snapshot(["model": second], bases: ["model": first])
        let repository = try await test.reopened()
        let stale = try await repository.loadIndex()
        _ = try await test.repository.forget([one])
        let report = try await Collector(repository: try await test.reopened()).prune()
        #expect(report.packsRepacked == 1 && report.packsDeleted > 0)
        #expect(try await test.reopened().files(of: two)["model"] == second)
        let chunks = stride(from: 0, to: second.count, by: 300 << 10).map { start in
            Array(second[start..<min(start + (300 << 10), second.count)])
        }
        let ids = chunks.map { repository.chunkIdentifier.id(of: SHA256State.digest(of: $0), kind: .data) }
        let failures = try await BlockingBridge.offload(name: "test") {
            Result { try ChunkReader(repository: repository, index: stale).read(ids, kind: .data) { _, _ in } }
        }
        #expect(failures.isEmpty, "\(failures.map(\.error.message))")
        // TreeLoader with a stale index
        let error = await code {
            _ = try await BlockingBridge.offload(name: "test") {
                Result { try TreeLoader(repository: repository, index: stale).chunk(ids[0], kind: .data) }
            }
        }
        #expect(error == nil, "TreeLoader: \(String(describing: error))")
    }

    /// The base cannot be read for a reason that is no loss (here: 403): the whole backup fails.
    @Test func aBaseThatMayNotBeReadFailsNoBackup() async throws {
        let test = try await TestRepository.create()
        let first = TestWeights.make(900_000, seed: 131)
        _ = try await test.repository.snapshot(["model": first])
        test.store.inject(.fail(.accessDenied), times: 1000) { $0.operation == .get && $0.key.hasPrefix("data/") }
        let two = try await test.reopened().snapshot(
            ["model": TestWeights.stepped(first, seed: 132)], bases: ["model": first])
        let readable = try await test.reopened(store: test.memory)
        #expect(try await readable.files(of: two)["model"] == TestWeights.stepped(first, seed: 132))
    }

    /// A copy whose base is given up (and damaged) is preferred to one whose base is good.
    @Test func theCopyWithTheGoodBaseIsKept() async throws {
        var lost = 0
        for round in 0..<6 as Range<UInt64> {
            let test = try await TestRepository.create(graceSeconds: 0)
            let b = TestWeights.make(450_000, seed: 200 + 10 * round)
            let c = TestWeights.stepped(b, seed: 201 + 10 * round)
            let a = TestWeights.stepped(b, seed: 202 + 10 * round)
            let zero = try await test.repository.snapshot(["model": b], host: "zero")
            let name = try #require(try await test.names("data/").first)
            _ = try await test.repository.snapshot(["model": c], host: "c")
            _ = try await test.repository.snapshot(["model": a], host: "one", bases: ["model": b])
            try await test.change(name) { bytes in
                for index in stride(from: 1000, to: bytes.count - 2000, by: 10_000) { bytes[index] ^= 1 }
            }
            let report = try await Self.verify(try await test.reopened())
            _ = try await RepositoryRepair(repository: try await test.reopened()).giveUpDamaged(report)
            _ = try await test.repository.forget([zero])
            let four = try await test.repository.snapshot(["model": a], host: "two", bases: ["model": c])
            #expect(try await test.reopened().files(of: four)["model"] == a)
            for _ in 0..<2 { _ = try await Collector(repository: try await test.reopened()).prune() }
            let now = try? await test.reopened().files(of: four)["model"]
            if now != a { lost += 1 }
        }
        #expect(lost == 0)
    }

    /// A damaged base is told once.
    @Test func aDamagedBaseIsToldOnce() async throws {
        var twice = 0
        for round in 0..<8 as Range<UInt64> {
            let test = try await TestRepository.create()
            let first = TestWeights.make(900_000, seed: 300 + 10 * round)
            _ = try await test.repository.snapshot(["model": first])
            let name = try #require(try await test.names("data/").first)
            for other in 1..<6 as Range<UInt64> {
                _ = try await test.repository.snapshot(
                    ["model": TestWeights.stepped(first, seed: 300 + 10 * round + other)], bases: ["model": first])
            }
            try await test.change(name) { $0[$0.count / 3] ^= 1 }
            let report = try await Self.verify(try await test.reopened())
            if report.problems.filter({ $0.object == name }).count > 1 { twice += 1 }
        }
        #expect(twice == 0)
    }

    /// A base's pack is cut short: one file is hit, nothing is thrown, other files are restored, backups go on.
    @Test func aBasesPackThatIsCutShortHitsOneFile() async throws {
        let test = try await TestRepository.create()
        let first = TestWeights.make(900_000, seed: 401)
        _ = try await test.repository.snapshot(["model": first])
        let name = try #require(try await test.names("data/").first)
        let second = TestWeights.stepped(first, seed: 402)
        let good = bytes(600_000, seed: 403)
        _ = try await test.repository.snapshot(["model": second, "good": good], bases: ["model": first])
        try await test.change(name) { $0.removeLast($0.count - 300_000) }
        let repository = try await test.reopened()
        let report = try await Self.verify(repository)
        #expect(Set(report.problems.map(\.object)) == [name] && report.problems.allSatisfy { $0.files == ["model"] })
        let index = try await repository.loadIndex()
        let ids = [second, good].flatMap { content in
            stride(from: 0, to: content.count, by: 300 << 10).map { start in
                repository.chunkIdentifier.id(
                    of: SHA256State.digest(of: Array(content[start..<min(start + (300 << 10), content.count)])),
                    kind: .data)
            }
        }
        let failures = try await BlockingBridge.offload(name: "test") {
            Result { try ChunkReader(repository: repository, index: index).read(ids, kind: .data) { _, _ in } }
        }
        // Of the model what lay before the cut, and the good file wholly.
        #expect(failures.count == 5 && ids.count == 8)
        let third = TestWeights.stepped(first, seed: 404)
        let three = try await repository.snapshot(["model": third], bases: ["model": first])
        #expect(try await test.reopened().files(of: three)["model"] == third)
    }

    /// Dead whole chunks beside live differences: how much the collector believes is unused.
    @Test func deadChunksBesideLiveDifferencesAreWrittenOff() async throws {
        let test = try await TestRepository.create(graceSeconds: 0)
        let first = TestWeights.make(6_000_000, seed: 501)
        _ = try await test.repository.snapshot(["model": first])
        let old = Set(try await test.names("data/"))
        let second = TestWeights.stepped(first, seed: 502)
        let both = try await test.repository.snapshot(
            ["model": second, "junk": bytes(5_000_000, seed: 503)], bases: ["model": first])
        _ = try await test.repository.snapshot(["model": second], bases: ["model": first])
        _ = try await test.repository.forget([both])
        let report = try await Collector(repository: try await test.reopened()).prune()
        #expect(report.packsRepacked == 1)
        let fresh = Set(try await test.names("data/")).subtracting(old)
        let bytes = try await test.memory.listAll(prefix: "data/").filter { fresh.contains($0.key) }
            .reduce(0) { $0 + Int($1.size) }
        #expect(bytes < 2_000_000)
    }

    /// A base's pack and its differences' pack are written anew in one run.
    @Test func differencesStaySmallWhenTheirBaseMovesToo() async throws {
        let test = try await TestRepository.create(graceSeconds: 0)
        let first = TestWeights.make(3_000_000, seed: 601)
        let one = try await test.repository.snapshot(["model": first, "junk": bytes(12_000_000, seed: 602)])
        let second = TestWeights.stepped(first, seed: 603)
        let two = try await test.repository.snapshot(
            ["model": second, "junk": bytes(13_000_000, seed: 604)], bases: ["model": first])
        let keepOne = try await test.repository.snapshot(["model": first], host: "a")
        let keepTwo = try await test.repository.snapshot(["model": second], host: "b")
        _ = try await test.repository.forget([one, two])
        let report = try await Collector(repository: try await test.reopened()).prune()
        #expect(report.packsRepacked == 2)
        let bytes = try await test.memory.listAll(prefix: "data/").reduce(0) { $0 + Int($1.size) }
        #expect(bytes < first.count)
        let index = try await test.reopened().loadIndex()
        let differences = index.segments.flatMap { s in (0..<s.count).map { s.entry($0) } }.count { $0.hasBase }
        #expect(try await test.reopened().files(of: keepTwo)["model"] == second)
        #expect(try await test.reopened().files(of: keepOne)["model"] == first)
        #expect(differences > 0)
    }
}
