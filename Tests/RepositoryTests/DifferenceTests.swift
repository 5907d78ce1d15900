import ObjectStorage
import ObjectStorageTesting
import Repository
import RepositoryFormat
import Sealing
import Testing

/// Chunks that are stored as the difference to others: what pins the others, and what happens when one is lost.
@Suite struct DifferenceTests {
    private static func packedDifferences(_ test: TestRepository) async throws -> [Identifier: Set<Identifier>] {
        let index = try await test.reopened().loadIndex(recovering: true)
        var packs: [Identifier: Set<Identifier>] = [:]
        for segment in index.segments {
            for row in 0..<segment.count {
                let entry = segment.entry(row)
                guard let base = entry.base else { continue }
                #expect(entry.hasBase)
                if let whole = index.findWhole(base, kind: .data) {
                    packs[segment.packs[Int(entry.pack)].id, default: []].insert(whole.pack)
                }
            }
        }
        return packs
    }

    private static func stored(_ test: TestRepository) async throws -> Int {
        try await test.memory.listAll(prefix: "data/").reduce(0) { $0 + Int($1.size) }
    }

    private static func verify(_ repository: Repository, _ depth: VerifyDepth = .full) async throws
        -> VerifyReport
    {
        try await Verifier(repository: repository).verify(
            .init(depth: depth) { String(decoding: $0 as [UInt8], as: UTF8.self) })
    }

    @Test func aSmallChangeCostsLittleAndIsReadBack() async throws {
        let test = try await TestRepository.create()
        let first = TestWeights.make(900_000, seed: 1)
        let one = try await test.repository.snapshot(["model": first], bases: ["model": []])
        let before = try await Self.stored(test)
        let second = TestWeights.stepped(first, seed: 2)
        let two = try await test.repository.snapshot(["model": second], bases: ["model": first])
        let added = try await Self.stored(test) - before
        #expect(added < second.count / 8, "\(added) bytes for \(second.count)")
        // A difference to what is a difference itself goes to the same base.
        let third = TestWeights.stepped(second, seed: 3)
        let three = try await test.repository.snapshot(["model": third], bases: ["model": second])
        let repository = try await test.reopened()
        #expect(try await repository.files(of: one)["model"] == first)
        #expect(try await repository.files(of: two)["model"] == second)
        #expect(try await repository.files(of: three)["model"] == third)
        let packs = try await Self.packedDifferences(test)
        #expect(packs.count == 2 && Set(packs.values.flatMap { $0 }).count == 1, "\(packs)")
        let report = try await Self.verify(repository)
        #expect(report.problems.isEmpty, "\(report.problems)")
    }

    @Test func aBaseStaysAsLongAsItIsNeeded() async throws {
        let test = try await TestRepository.create(graceSeconds: 0)
        let first = TestWeights.make(900_000, seed: 4)
        let second = TestWeights.stepped(first, seed: 5)
        let one = try await test.repository.snapshot(["model": first])
        let two = try await test.repository.snapshot(["model": second], bases: ["model": first])
        _ = try await test.repository.forget([one])
        for _ in 0..<3 {
            var options = PruneOptions()
            // Everything that is not full is written anew, so differences are copied too.
            options.repackBelow = 1
            options.maximumUnusedFraction = 0
            _ = try await Collector(repository: try await test.reopened()).prune(options)
        }
        let repository = try await test.reopened()
        #expect(try await repository.files(of: two)["model"] == second)
        #expect(try await Self.packedDifferences(test).count == 1)
        #expect(try await Self.verify(repository).problems.isEmpty)
        _ = try await repository.forget([two])
        for _ in 0..<2 { _ = try await Collector(repository: try await test.reopened()).prune() }
        #expect(try await test.names("data/").isEmpty)
    }

    /// A pack of differences of which some are dead is written anew: what is copied stays small.
    @Test func differencesStayDifferencesWhenTheirPackIsWrittenAnew() async throws {
        let test = try await TestRepository.create(graceSeconds: 0)
        let first = TestWeights.make(900_000, seed: 6)
        let second = TestWeights.stepped(first, seed: 7)
        try await test.repository.snapshot(["model": first])
        let both = try await test.repository.snapshot(
            ["model": second, "noise": bytes(2_000_000, seed: 8)], bases: ["model": first])
        let two = try await test.repository.snapshot(["model": second], bases: ["model": first])
        _ = try await test.repository.forget([both])
        let old = Set(try await test.names("data/"))
        var options = PruneOptions()
        options.repackBelow = 0.9
        options.maximumUnusedFraction = 0
        let report = try await Collector(repository: try await test.reopened()).prune(options)
        #expect(report.packsRepacked == 1)
        let repository = try await test.reopened()
        #expect(try await repository.files(of: two)["model"] == second)
        #expect(try await Self.packedDifferences(test).count == 1)
        let fresh = Set(try await test.names("data/")).subtracting(old)
        let bytes = try await test.memory.listAll(prefix: "data/").filter { fresh.contains($0.key) }
            .reduce(0) { $0 + Int($1.size) }
        #expect(bytes < second.count / 8 && !fresh.isEmpty, "\(bytes) bytes")
        #expect(try await Self.verify(repository).problems.isEmpty)
    }

    @Test func aLostBaseNamesEveryFileThatItHitsAndIsStoredAgain() async throws {
        let test = try await TestRepository.create()
        let first = TestWeights.make(900_000, seed: 9)
        let second = TestWeights.stepped(first, seed: 10)
        let one = try await test.repository.snapshot(["model": first])
        let basePacks = Set(try await test.names("data/"))
        let two = try await test.repository.snapshot(
            ["model": second, "other": bytes(400_000, seed: 11)], bases: ["model": first])
        let name = try #require(basePacks.first)
        let good = try await test.get(name)

        // Flipped: nothing but reading finds it. Gone: a listing does.
        for (damage, depth) in [("flip", VerifyDepth.full), ("gone", .index)] {
            if damage == "flip" {
                try await test.change(name) { $0[$0.count / 3] ^= 1 }
            } else {
                try await test.memory.delete(name, ifTag: nil)
            }
            let report = try await Self.verify(try await test.reopened(), depth)
            let problem = try #require(report.problems.first { $0.object == name }, "\(report.problems)")
            #expect(Set(problem.snapshots) == [one, two], "\(damage)")
            #expect(problem.files == ["model"])
            #expect(report.problems.filter { !$0.isHarmless }.map(\.object) == [name], "\(report.problems)")
            let code = await code { _ = try await test.reopened().files(of: two) }
            #expect(code == .damaged || code == .notFound || code == .storage, "\(damage): \(String(describing: code))")
            if damage == "flip" { try await test.put(name, good) }
        }
        // What had rested on it is stored anew, whole, once the loss is known.
        #expect(await code { try await test.repository.snapshot(["model": second]) } == .collectedMeanwhile)
        let index = try await test.repository.loadIndex()
        index.markMissing([try #require(ObjectNames.parsePack(name)).id])
        let prepared = try await test.repository.prepare(["model": second], index: index, bases: ["model": first])
        let three = try await prepared.session.commit(prepared.manifest, chain: prepared.chain).id
        let repository = try await test.reopened()
        #expect(try await repository.files(of: three)["model"] == second)
    }

    @Test func theIndexIsRebuiltFromPacksWithTheirBases() async throws {
        let test = try await TestRepository.create()
        let first = TestWeights.make(900_000, seed: 12)
        let second = TestWeights.stepped(first, seed: 13)
        try await test.repository.snapshot(["model": first])
        let old = Set(try await test.names("data/"))
        let two = try await test.repository.snapshot(["model": second], bases: ["model": first])
        // One footer is damaged, so its pack is looked through.
        let fresh = try #require(Set(try await test.names("data/")).subtracting(old).first)
        try await test.change(fresh) { $0[$0.count - 40] ^= 1 }
        for name in try await test.names(ObjectNames.segments) { try await test.memory.delete(name, ifTag: nil) }
        _ = try await RepositoryRepair(repository: try await test.reopened()).rebuildIndex()
        #expect(try await Self.packedDifferences(test).count == 1)
        #expect(try await test.reopened().files(of: two)["model"] == second)
    }

    /// A base that no segment lists any more is found by the list of its own pack.
    @Test func aBaseThatTheIndexHasLostIsFoundAllTheSame() async throws {
        let test = try await TestRepository.create()
        let first = TestWeights.make(900_000, seed: 18)
        let second = TestWeights.stepped(first, seed: 19)
        try await test.repository.snapshot(["model": first])
        let two = try await test.repository.snapshot(["model": second], bases: ["model": first])
        for name in try await test.names(ObjectNames.segments) {
            let good = try await test.get(name)
            try await test.memory.delete(name, ifTag: nil)
            #expect(try await test.reopened().files(of: two)["model"] == second, "\(name)")
            try await test.put(name, good)
        }
    }

    /// A writer that relies on a difference relies on the base's pack too, and begins anew when that is given up.
    @Test func aWriterRestsOnTheBaseToo() async throws {
        let test = try await TestRepository.create(graceSeconds: 0)
        let first = TestWeights.make(900_000, seed: 14)
        let second = TestWeights.stepped(first, seed: 15)
        let one = try await test.repository.snapshot(["model": first])
        let two = try await test.repository.snapshot(["model": second], bases: ["model": first])
        let late = try await test.repository.prepare(["model": second], host: "late")
        _ = try await test.repository.forget([one, two])
        _ = try await Collector(repository: try await test.reopened()).prune()
        #expect(try await test.names("data/").isEmpty)
        #expect(
            await code { _ = try await late.session.commit(late.manifest, chain: late.chain) } == .collectedMeanwhile)
        await late.session.heartbeatEnd()
    }

    @Test func aWriterKeyMakesNoDifferences() async throws {
        let test = try await TestRepository.create()
        let identity = try X25519PrivateKey.generate()
        _ = try await test.repository.addRecipient(identity.publicKey.bytes, role: .writer, label: "mover")
        let first = TestWeights.make(900_000, seed: 16)
        try await test.reopened().snapshot(["model": first])
        let writer = try await test.reopened(.identity(identity))
        let two = try await writer.snapshot(["model": TestWeights.stepped(first, seed: 17)], bases: ["model": first])
        #expect(try await Self.packedDifferences(test).isEmpty)
        #expect(try await test.reopened().files(of: two)["model"] == TestWeights.stepped(first, seed: 17))
    }
}
