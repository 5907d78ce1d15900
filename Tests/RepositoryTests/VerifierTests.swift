import Basics
import ObjectStorage
import ObjectStorageTesting
import Repository
import RepositoryFormat
import Sealing
import Synchronization
import SystemPackage
import Testing

@Suite struct VerifierTests {
    static let files: Files = [
        "a": bytes(5000, seed: 1), "d/b": bytes(700_000, seed: 2), "d/e/c": bytes(40_000, seed: 3),
    ]
    static let more: Files = ["a": bytes(5000, seed: 1), "z": bytes(310_000, seed: 9)]

    static func verify(
        _ test: TestRepository, _ depth: VerifyDepth, snapshot: Identifier? = nil, budget: Double? = nil,
        _ progress: @escaping MaintenanceProgress.Handler = { _ in }
    ) async throws -> VerifyReport {
        let repository = try await test.reopened(store: test.memory)
        return try await Verifier(repository: repository, progress: progress).verify(
            VerifyOptions(depth: depth, snapshot: snapshot, budgetSeconds: budget) {
                String(decoding: $0, as: UTF8.self)
            })
    }

    @Test(arguments: VerifyDepth.allCases) func aSoundRepositoryHasNoProblems(depth: VerifyDepth) async throws {
        let test = try await TestRepository.create()
        try await test.repository.snapshot(Self.files)
        try await test.repository.snapshot(Self.more, lists: true)
        let report = try await Self.verify(test, depth)
        #expect(report.problems.isEmpty)
        #expect(report.isSound && report.isComplete)
        #expect(report.snapshots == 2 && report.packs == 4)
        #expect(report.treeChunks == (depth >= .index ? 6 : 0))
        // Five and four chunks, of which each snapshot has "a"; the lists are tree chunks.
        #expect(report.dataChunks == (depth >= .index ? 7 : 0))
        #expect(report.packsRead == (depth == .full ? 4 : 0))
        #expect(report.chunksRead == (depth == .full ? 13 : 0))
    }

    @Test(arguments: VerifyDepth.allCases) func aMissingPackNamesSnapshotsAndFiles(depth: VerifyDepth) async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(Self.files)
        let pack = try #require(try await test.names("data/").first)
        let second = try await test.repository.snapshot(Self.more)
        try await test.memory.delete(pack, ifTag: nil)
        let report = try await Self.verify(test, depth)
        #expect(!report.isSound)
        let problem = try #require(report.problems.first { $0.object == pack })
        #expect(problem.kind == .pack && !problem.isHarmless)
        #expect(problem.snapshots == [first, second])
        #expect(problem.files.sorted() == ["a", "d/b", "d/e/c"])
        #expect(problem.fileCount == 3)
    }

    @Test func aMissingPackThatNobodyNeedsIsHarmless() async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(Self.files)
        let pack = try #require(try await test.names("data/").first)
        _ = try await test.repository.forget([first])
        try await test.memory.delete(pack, ifTag: nil)
        let report = try await Self.verify(test, .full)
        #expect(report.problems.map(\.object) == [pack])
        #expect(report.isSound)
    }

    @Test func oneFlippedBitInAPackIsFoundByReadingIt() async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(Self.files)
        let second = try await test.repository.snapshot(Self.more)
        let pack = try #require(try await test.firstDataPack(of: first))
        // In the first blob, which holds the beginning of d/b.
        try await test.change(pack) { $0[PackHeader.size + BlobHeader.size + 100] ^= 4 }
        #expect(try await Self.verify(test, .index).problems.isEmpty)
        let report = try await Self.verify(test, .full)
        #expect(report.problems.map(\.object) == [pack])
        let problem = try #require(report.problems.first)
        #expect(problem.snapshots == [first])
        #expect(problem.files == ["d/b"])
        #expect(report.packsRead == 4)
        // One snapshot alone, and the one that does not need it.
        #expect(try await Self.verify(test, .full, snapshot: first).isSound == false)
        #expect(try await Self.verify(test, .full, snapshot: second).isSound)
    }

    @Test func damageOfOtherSnapshotsDoesNotTouchTheOneAskedFor() async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(["x": bytes(400_000, seed: 70)], host: "one")
        let second = try await test.repository.snapshot(["y": bytes(400_000, seed: 71)], host: "two")
        let pack = try #require(try await test.firstDataPack(of: first))
        try await test.change(pack) { $0[PackHeader.size + BlobHeader.size + 100] ^= 4 }
        let report = try await Self.verify(test, .full, snapshot: second)
        #expect(report.problems.isEmpty)
        #expect(report.packsRead == 2 && report.snapshots == 1)
        #expect(
            await code { _ = try await Self.verify(test, .quick, snapshot: try Identifier.random()) } == .noSuchName)
    }

    @Test(arguments: [0, 20, 60, 130]) func aDamagedPackHeaderOrFooterIsFound(offset: Int) async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(Self.files)
        let pack = try #require(try await test.firstDataPack(of: first))
        try await test.change(pack) { $0[offset] ^= 4 }
        let header = try await Self.verify(test, .full)
        #expect(header.problems.contains { $0.object == pack })
        // All but a blob's header is only about the pack: what is in it can be read by the index.
        #expect(header.isSound == (offset < PackHeader.size))
        try await test.change(pack) {
            $0[offset] ^= 4
            $0[$0.count - 20] ^= 4
        }
        let footer = try await Self.verify(test, .full)
        #expect(footer.problems.map(\.object) == [pack])
        #expect(footer.isSound)
    }

    @Test func aTruncatedPackNamesOnlyTheFilesBeyondItsEnd() async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(Self.files)
        let pack = try #require(try await test.firstDataPack(of: first))
        // The group with the small files is last.
        try await test.change(pack) { $0.removeLast(60_000) }
        for depth in [VerifyDepth.quick, .index, .full] {
            let report = try await Self.verify(test, depth)
            let problem = try #require(report.problems.first { $0.object == pack && !$0.isHarmless })
            // The last piece of d/b shares the group.
            #expect(problem.files.sorted() == ["a", "d/b", "d/e/c"])
            #expect(!report.isSound)
        }
    }

    @Test func swappedPacksAreFound() async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(["x": bytes(400_000, seed: 70)])
        let second = try await test.repository.snapshot(["y": bytes(400_000, seed: 71)])
        let one = try #require(try await test.firstDataPack(of: first))
        let two = try #require(try await test.firstDataPack(of: second))
        let (left, right) = (try await test.get(one), try await test.get(two))
        try await test.put(one, right)
        try await test.put(two, left)
        let report = try await Self.verify(test, .full)
        #expect(Set(report.problems.filter { !$0.isHarmless }.map(\.object)) == [one, two])
        #expect(Set(report.problems.flatMap(\.files)) == ["x", "y"])
    }

    @Test func aDirectoryThatCannotBeReadIsNamedWithItsPath() async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(Self.files)
        let tree = try #require(try await test.names("tree/").first)
        try await test.change(tree) { $0[PackHeader.size + BlobHeader.size + 10] ^= 1 }
        #expect(try await Self.verify(test, .quick).problems.isEmpty)
        let report = try await Self.verify(test, .index)
        let problem = try #require(report.problems.first { $0.object == tree })
        #expect(problem.files == ["/"] && problem.snapshots == [first])
    }

    @Test func aListThatCannotBeReadNamesItsFile() async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(Self.files)
        let trees = Set(try await test.names("tree/"))
        let second = try await test.repository.snapshot(Self.files, lists: true)
        // The lists and the pages that name them are in one group; make the pages readable by a pack of their own.
        let tree = try #require(Set(try await test.names("tree/")).subtracting(trees).first)
        try await test.memory.delete(tree, ifTag: nil)
        let report = try await Self.verify(test, .index)
        let problem = try #require(report.problems.first { $0.object == tree })
        #expect(problem.snapshots == [second] && problem.files == ["/"])
        #expect(try await test.repository.files(of: first) == Self.files)
    }

    @Test func damagedBookkeepingIsToldApart() async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(Self.files)
        let second = try await test.repository.snapshot(Self.more)
        _ = try await test.repository.forget([first])
        try await test.condemn([])
        try await test.put(ObjectNames.journals + "a-b", [1, 2, 3])
        let condemned = try #require(try await test.names("condemned/").first)
        let forgotten = try #require(try await test.names("forgotten/").first)
        let segment = try #require(try await test.names("index/").first)
        for name in [condemned, forgotten, segment, ObjectNames.configCopy, "keys-copy/00000001"] {
            try await test.change(name) { $0[$0.count / 2] ^= 1 }
        }
        try await test.put("data/stray", [1])
        try await test.put("snapshots/stray", [1])
        try await test.put("hello", [1])
        let report = try await Self.verify(test, .quick)
        let kinds = Dictionary(grouping: report.problems, by: \.object).mapValues { $0.map(\.kind) }
        #expect(kinds[condemned] == [.condemned])
        #expect(kinds[forgotten] == [.forgotten])
        #expect(kinds[segment] == [.segment])
        #expect(kinds[ObjectNames.configCopy] == [.config])
        #expect(kinds["keys-copy/00000001"] == [.keys])
        #expect(kinds[ObjectNames.journals + "a-b"] == [.journal])
        #expect(kinds["data/stray"] == [.other])
        #expect(kinds["hello"] == [.other])
        #expect(kinds["snapshots/stray"] == [.snapshot])
        // The record that would explain it is damaged.
        #expect(kinds[ObjectNames.snapshot(first)] == [.snapshot])
        #expect(try await test.repository.files(of: second) == Self.more)
    }

    @Test func aSnapshotThatWasRemovedWithoutForgetIsMissed() async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(Self.files)
        let second = try await test.repository.snapshot(Self.more)
        try await test.repository.snapshot(Self.files, host: "other")
        try await test.memory.delete(ObjectNames.snapshot(first), ifTag: nil)
        let report = try await Self.verify(test, .quick)
        #expect(report.problems.map(\.object) == [ObjectNames.snapshot(first)])
        #expect(report.problems.first?.message.contains(second.description) == true)
        #expect(!report.isSound)
    }

    @Test func aForgottenSnapshotIsNotMissed() async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(Self.files)
        try await test.repository.snapshot(Self.more)
        let report = try await test.repository.forget([first, try Identifier.random()])
        #expect(report.removed == [first] && report.missing.count == 1)
        #expect(try await Self.verify(test, .full).problems.allSatisfy(\.isHarmless))
    }

    @Test func aRolledBackSnapshotIsFound() async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(Self.files)
        let second = try await test.repository.snapshot(Self.more)
        // Somebody with a key puts another snapshot under the first one's name.
        let old = try await test.repository.loadSnapshot(first)
        let (session, key) = try SessionHeader.create(keyring: test.repository.keyring)
        let replaced = try SnapshotObject.encode(
            id: first, chain: old.object.chain, manifest: try #require(old.manifest), session: session,
            sessionKey: key, keyring: test.repository.keyring)
        try await test.put(ObjectNames.snapshot(first), replaced)
        let report = try await Self.verify(test, .quick)
        #expect(report.problems.map(\.object) == [ObjectNames.snapshot(first)])
        #expect(report.problems.first?.message.contains(second.description) == true)
        #expect(!report.isSound)
    }

    @Test func aSharedDirectoryIsHitInEverySnapshot() async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(["d/e/x": bytes(400_000, seed: 70), "a": [1]])
        let second = try await test.repository.snapshot(["d/e/x": bytes(400_000, seed: 70), "b": [2]])
        let third = try await test.repository.snapshot(["b": [2]])
        let pack = try #require(try await test.firstDataPack(of: first))
        try await test.change(pack) { $0[PackHeader.size + BlobHeader.size + 100] ^= 4 }
        let report = try await Self.verify(test, .full)
        let problem = try #require(report.problems.first)
        #expect(problem.snapshots == [first, second] && !problem.snapshots.contains(third))
        #expect(problem.files == ["d/e/x"] && problem.fileCount == 1)
    }

    @Test(arguments: [false, true]) func aWriterThatLiesAboutAChunkIsFound(isGrouped: Bool) async throws {
        let test = try await TestRepository.create()
        let count = isGrouped ? 5000 : 280_000
        let session = try await WriteSession.begin(
            test.repository, index: try await test.repository.loadIndex())
        // Sealed and listed as it should be, but not the bytes that the id stands for.
        try await BlockingBridge.offload(name: "test-lie") {
            Result {
                let encoder = try ChunkEncoder(session: session)
                let digest = SHA256State.digest(of: bytes(count, seed: 1))
                _ = try bytes(count, seed: 2).withUnsafeBytes {
                    try encoder.add([$0], contentDigest: digest, kind: .data)
                }
                try encoder.flush()
                try session.finish()
            }
        }
        await session.abandon()
        let id = try await test.repository.snapshot(["x": bytes(count, seed: 1)])
        #expect(await code { _ = try await test.repository.files(of: id) } == .damaged)
        #expect(try await Self.verify(test, .index).problems.isEmpty)
        let report = try await Self.verify(test, .full)
        #expect(!report.isSound)
        #expect(report.problems.flatMap(\.files) == ["x"] && report.problems.flatMap(\.snapshots) == [id])
        // Nor does a collector carry the lie on.
        try await test.condemn(try await test.packs())
        let pruned = try await Collector(repository: test.repository).prune(PruneOptions(graceSeconds: 0))
        #expect(pruned.findings.contains { $0.object == report.problems.first?.object })
        #expect(try await test.packs().contains(report.problems.first?.object ?? ""))
    }

    @Test func anIndexThatPlacesChunksWronglyIsFound() async throws {
        let test = try await TestRepository.create()
        let id = try await test.repository.snapshot(Self.files)
        let index = try await test.repository.loadIndex()
        let segment = try #require(index.segments.first)
        // The same segment with one chunk of the largest file moved by a byte.
        var entries = (0..<segment.count).map { segment.entry($0) }
        let moved = try #require(entries.firstIndex { $0.rawLength == 300 << 10 })
        entries[moved].offset += 1
        let name = try Identifier.random()
        let plain = IndexSegmentLayout.encode(packs: segment.packs, entries: entries)
        try await test.put(
            ObjectNames.segment(name),
            IndexSegmentLayout.seal(plain, id: name, keyring: test.repository.keyring))
        try await test.memory.delete(ObjectNames.segment(segment.id), ifTag: nil)
        #expect(try await Self.verify(test, .index).problems.isEmpty)
        let report = try await Self.verify(test, .full)
        #expect(!report.isSound)
        let problem = try #require(report.problems.first)
        #expect(problem.files == ["d/b"] && problem.snapshots == [id])
    }

    @Test func problemsOfOtherSnapshotsDoNotCountForTheOneAskedFor() async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(["x": bytes(400_000, seed: 70)])
        let second = try await test.repository.snapshot(["y": bytes(400_000, seed: 71)])
        let third = try await test.repository.snapshot(["z": bytes(400_000, seed: 72)])
        let pack = try #require(try await test.firstDataPack(of: second))
        try await test.memory.delete(pack, ifTag: nil)
        try await test.memory.delete(ObjectNames.snapshot(first), ifTag: nil)
        #expect(try await Self.verify(test, .full, snapshot: third).isSound)
        let own = try await Self.verify(test, .full, snapshot: second)
        #expect(Set(own.problems.filter { !$0.isHarmless }.map(\.object)) == [pack, ObjectNames.snapshot(first)])
    }

    @Test func writersSideBySideMayFollowTheSameSnapshot() async throws {
        let test = try await TestRepository.create()
        try await test.repository.snapshot(Self.files)
        let one = try await test.repository.prepare(Self.more)
        let two = try await test.repository.prepare(Self.files)
        _ = try await one.session.commit(one.manifest, chain: one.chain)
        _ = try await two.session.commit(two.manifest, chain: two.chain)
        try await test.repository.snapshot(Self.more)
        #expect(try await Self.verify(test, .full).problems.isEmpty)
    }

    @Test func aChainWithAWrongNumberIsFound() async throws {
        let test = try await TestRepository.create()
        let prepared = try await test.repository.prepare(Self.files)
        var chain = prepared.chain
        chain.counter = 7
        let committed = try await prepared.session.commit(prepared.manifest, chain: chain)
        #expect(try await Self.verify(test, .quick).problems.map(\.object) == [ObjectNames.snapshot(committed.id)])
        let next = try await test.repository.prepare(Self.more)
        chain = next.chain
        chain.counter += 1
        let second = try await next.session.commit(next.manifest, chain: chain)
        let objects = try await Self.verify(test, .quick).problems.map(\.object)
        #expect(objects.contains(ObjectNames.snapshot(second.id)))
    }

    @Test func aWithdrawnSnapshotLeavesNoGap() async throws {
        let test = try await TestRepository.create()
        try await test.repository.snapshot(Self.files)
        let other = try await test.reopened(store: test.memory)
        let pack = try #require(try await test.names("data/").first)
        // Between the manifest and the second look a pack vanishes, and another writer follows the snapshot.
        let intruder = Intruder(test.store, at: .afterPut(ObjectNames.snapshots)) {
            try await other.snapshot(["w": bytes(1000, seed: 55)])
            try await test.memory.delete(pack, ifTag: nil)
        }
        let writer = try await test.reopened(store: intruder)
        #expect(await code { try await writer.snapshot(Self.files.merging(Self.more) { $1 }) } == .collectedMeanwhile)
        #expect(intruder.hasRun.withLock { $0 } && intruder.failure.withLock { $0 } == nil)
        #expect(try await test.names("snapshots/").count == 2)
        let report = try await Self.verify(test, .quick)
        #expect(report.problems.filter { $0.kind == .snapshot }.isEmpty)
    }

    @Test func aBudgetReadsWhatWasReadLongestAgoFirst() async throws {
        let directory = try TemporaryDirectory()
        let test = try await TestRepository.create()
        for number in 0..<6 {
            try await test.repository.snapshot(["f": bytes(300_000, seed: UInt64(number))], host: "\(number)")
        }
        let repository = try await test.reopened(store: test.memory, cache: directory.path)
        var seen: UInt64 = 0
        var rounds = 0
        while seen < 12, rounds < 12 {
            // Each pack read takes half a minute of a minute's budget; a few threads may have begun by then.
            let verifier = Verifier(repository: repository) {
                if $0.phase == .reading { test.clock.advance(bySeconds: 30) }
            }
            let report = try await verifier.verify(VerifyOptions(depth: .full, budgetSeconds: 60) { "\($0)" })
            #expect(report.problems.isEmpty)
            #expect(report.packsToRead == 12)
            #expect(report.packsRead < 12 && !report.isComplete)
            seen += report.packsRead
            rounds += 1
        }
        // Every pack was read once: nothing was read twice before all were.
        let ledger = directory.path.appending(repository.config.repositoryID.description).appending("verified")
        let lines = try readText(ledger).split(separator: "\n")
        #expect(lines.count >= 12 || rounds == 12)
        #expect(lines.count == 12)
    }
}
