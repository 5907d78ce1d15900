import Basics
import ObjectStorage
import ObjectStorageTesting
import Repository
import RepositoryFormat
import Testing

@Suite struct CollectorTests {
    static let old: Files = ["a": bytes(5000, seed: 1), "d/b": bytes(700_000, seed: 2)]
    static let new: Files = ["a": bytes(5000, seed: 3), "d/c": bytes(600_000, seed: 4)]

    @Test func packsOfForgottenSnapshotsAreCondemnedAndRemovedAfterTheGracePeriod() async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(Self.old)
        let oldPacks = try await test.packs()
        let second = try await test.repository.snapshot(Self.new)
        let allPacks = try await test.packs()
        _ = try await test.repository.forget([first])
        test.advance(days: 2)
        let condemning = try await Collector(repository: test.repository).prune()
        #expect(condemning.packsCondemned == UInt64(oldPacks.count))
        #expect(condemning.packsDeleted == 0)
        #expect(try await test.packs() == allPacks)
        // The grace period has not passed.
        let waiting = try await Collector(repository: test.repository).prune()
        #expect(waiting.packsDeleted == 0 && waiting.packsWaiting == UInt64(oldPacks.count))
        #expect(waiting.packsCondemned == 0)
        test.advance(days: 1.01)
        let removing = try await Collector(repository: test.repository).prune()
        #expect(removing.packsDeleted == UInt64(oldPacks.count))
        #expect(removing.freedBytes > 700_000)
        #expect(removing.findings.isEmpty)
        #expect(try await test.packs() == allPacks.subtracting(oldPacks))
        #expect(try await test.names("condemned/").isEmpty)
        #expect(try await test.names("claims/").isEmpty)
        #expect(try await test.repository.files(of: second) == Self.new)
        // The index names no pack that is gone.
        let index = try await test.repository.loadIndex()
        let present = try await test.packs()
        #expect(index.allPacks().allSatisfy { present.contains(ObjectNames.pack($0.key, $0.value.kind)) })
        let again = try await Collector(repository: test.repository).prune()
        #expect(again.packsCondemned == 0 && again.packsDeleted == 0 && again.segmentsWritten == 0)
    }

    @Test func youngPacksAndThoseOfSessionsAtWorkAreLeftAlone() async throws {
        let test = try await TestRepository.create(graceSeconds: 1000)
        try await test.repository.snapshot(Self.new)
        let prepared = try await test.repository.prepare(Self.old)
        // Old enough, but its session is at work: its object was touched a moment ago.
        test.clock.advance(bySeconds: 2000)
        let name = ObjectNames.sessions + prepared.session.header.sessionID.description
        try await test.put(name, [1])
        #expect(try await Collector(repository: test.repository).prune().packsCondemned == 0)
        // The session is dead: nothing protects them any more, but a young pack would be spared.
        try await test.memory.delete(name, ifTag: nil)
        try await test.repository.snapshot(["young": bytes(300_000, seed: 77)], host: "other")
        _ = try await test.repository.forget(
            test.repository.listSnapshots().snapshots.filter { $0.manifest?.host == "other" }.map(\.id))
        let report = try await Collector(repository: test.repository).prune()
        #expect(report.packsCondemned == 2)
    }

    @Test func withoutGraceEverythingGoesInOneRun() async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(Self.old)
        let second = try await test.repository.snapshot(Self.new)
        _ = try await test.repository.forget([first])
        let before = try await test.packs()
        let report = try await Collector(repository: test.repository).prune(PruneOptions(graceSeconds: 0))
        #expect(report.packsCondemned == 2 && report.packsDeleted == 2)
        #expect(try await test.packs().count == before.count - 2)
        #expect(try await test.names("condemned/").isEmpty)
        #expect(try await test.repository.files(of: second) == Self.new)
    }

    @Test func withoutGraceTheReportWarnsOfWritersAtWork() async throws {
        let test = try await TestRepository.create()
        let prepared = try await test.repository.prepare(Self.old)
        let report = try await Collector(repository: test.repository).prune(PruneOptions(graceSeconds: 0))
        #expect(report.findings.contains { $0.object.hasPrefix("sessions/") })
        #expect(report.packsDeleted == 2)
        // The writer notices and publishes nothing.
        await #expect {
            _ = try await prepared.session.commit(prepared.manifest, chain: prepared.chain)
        } throws: {
            ($0 as? RepositoryError)?.code == .collectedMeanwhile
        }
        #expect(try await test.names("snapshots/").isEmpty)
    }

    @Test func sparsePacksAreWrittenAnewAndTheirRestRemoved() async throws {
        let test = try await TestRepository.create()
        var files = Self.old
        for number in 0..<20 { files["n/\(number)"] = bytes(40_000, seed: UInt64(100 + number)) }
        let first = try await test.repository.snapshot(files)
        let kept = ["n/3": files["n/3"] ?? [], "n/4": files["n/4"] ?? []]
        let second = try await test.repository.snapshot(kept)
        _ = try await test.repository.forget([first])
        test.advance(days: 2)
        let report = try await Collector(repository: test.repository).prune()
        #expect(report.packsRepacked == 1)
        #expect(report.bytesRepacked == 80_000)
        #expect(report.packsCondemned == 2)
        test.advance(days: 2)
        let removing = try await Collector(repository: test.repository).prune()
        #expect(removing.packsDeleted == 2)
        #expect(removing.chunksRescued == 0)
        #expect(try await test.repository.files(of: second) == kept)
        let bytes = try await test.memory.listAll(prefix: "data/").reduce(0) { $0 + $1.size }
        #expect(bytes < 100_000)
    }

    @Test func repackingObeysItsLimits() async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(Self.old)
        try await test.repository.snapshot(["a": Self.old["a"] ?? []])
        _ = try await test.repository.forget([first])
        test.advance(days: 2)
        for options in [
            PruneOptions(isDryRun: true, repackBytesLimit: 1000),
            PruneOptions(isDryRun: true, maximumUnusedFraction: 1),
            PruneOptions(isDryRun: true, repackBelow: 0.001),
        ] {
            #expect(try await Collector(repository: test.repository).prune(options).packsRepacked == 0)
        }
        let dry = try await Collector(repository: test.repository).prune(PruneOptions(isDryRun: true))
        #expect(dry.packsRepacked == 1 && dry.isDryRun)
    }

    @Test func aDryRunChangesNothing() async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(Self.old)
        try await test.repository.snapshot(Self.new)
        _ = try await test.repository.forget([first])
        test.advance(days: 2)
        let before = try await test.memory.listAll(prefix: "")
        let mutations = test.store.mutations
        let dry = try await Collector(repository: test.repository).prune(PruneOptions(isDryRun: true))
        #expect(dry.packsCondemned == 2 && dry.bytesCondemned > 700_000)
        #expect(test.store.mutations == mutations)
        #expect(try await test.memory.listAll(prefix: "") == before)
        #expect(try await Collector(repository: test.repository).prune().packsCondemned == 2)
        test.advance(days: 2)
        let removing = try await Collector(repository: test.repository).prune(PruneOptions(isDryRun: true))
        #expect(removing.packsDeleted == 2 && removing.freedBytes == dry.bytesCondemned)
    }

    @Test func whatIsAliveInCondemnedPacksIsRescuedBeforeTheyGo() async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(Self.old)
        let writer = try await test.reopened()
        // A writer that looked at the index before the packs were condemned, and dies between its manifest and its
        // second look.
        let index = try await writer.loadIndex()
        let prepared = try await writer.prepare(Self.old, index: index)
        _ = try await test.repository.forget([first])
        test.advance(days: 2)
        test.store.inject(.crash(takingEffect: true)) {
            $0.operation == .put && $0.key.hasPrefix(ObjectNames.snapshots)
        }
        await #expect(throws: RepositoryError.self) {
            _ = try await prepared.session.commit(prepared.manifest, chain: prepared.chain)
        }
        test.store.heal()
        let late = try #require(try await test.repository.listSnapshots().snapshots.first?.id)
        // Condemn everything by hand, as if the collector had walked before that snapshot.
        try await test.condemn(try await test.packs())
        let waiting = try await Collector(repository: test.repository).prune()
        #expect(waiting.chunksRescued > 0)
        #expect(waiting.packsDeleted == 0)
        test.advance(days: 2)
        let removing = try await Collector(repository: test.repository).prune()
        #expect(removing.packsDeleted == 2)
        #expect(try await test.repository.files(of: late) == Self.old)
    }

    @Test func aDamagedSnapshotStopsEverythingUntilItIsForgotten() async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(Self.old)
        let second = try await test.repository.snapshot(Self.new)
        _ = try await test.repository.forget([first])
        test.advance(days: 2)
        try await test.change(ObjectNames.snapshot(second)) { $0[$0.count - 1] ^= 1 }
        let before = try await test.packs()
        let error = await #expect(throws: RepositoryError.self) {
            _ = try await Collector(repository: test.repository).prune()
        }
        #expect(error?.code == .damaged)
        #expect(error?.message.contains(second.description) == true)
        #expect(try await test.packs() == before)
        #expect(try await test.names("condemned/").isEmpty)
        #expect(try await test.names("claims/").isEmpty)
        #expect(try await test.repository.forget([second]).removed == [second])
        #expect(try await Collector(repository: test.repository).prune().packsCondemned == 4)
    }

    @Test func anUnreadableDirectoryStopsEverythingAndNamesTheSnapshot() async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(Self.old)
        let trees = Set(try await test.names("tree/"))
        let second = try await test.repository.snapshot(Self.new)
        test.advance(days: 2)
        let tree = try #require(Set(try await test.names("tree/")).subtracting(trees).first)
        try await test.change(tree) { $0[PackHeader.size + BlobHeader.size + 5] ^= 1 }
        let error = await #expect(throws: RepositoryError.self) {
            _ = try await Collector(repository: test.repository).prune(PruneOptions(graceSeconds: 0))
        }
        #expect(error?.code == .damaged)
        #expect(error?.message.contains(second.description) == true)
        #expect(error?.message.contains(first.description) == false)
        #expect(try await test.names("condemned/").isEmpty)
    }

    @Test func aPackThatWasReplacedIsNotRemovedOnTheOldRecord() async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(Self.old)
        _ = try await test.repository.forget([first])
        test.advance(days: 2)
        _ = try await Collector(repository: test.repository).prune()
        // As a copy of the bucket would: the same bytes under the same names, with other tags.
        for name in try await test.packs() { try await test.put(name, try await test.get(name)) }
        test.advance(days: 2)
        let report = try await Collector(repository: test.repository).prune()
        #expect(report.packsDeleted == 0)
        #expect(report.findings.count == 2)
        #expect(try await test.packs().count == 2)
        #expect(try await test.names("condemned/").count == 1)
        test.advance(days: 2)
        #expect(try await Collector(repository: test.repository).prune().packsDeleted == 2)
        #expect(try await test.packs().isEmpty)
        #expect(try await test.names("condemned/").isEmpty)
    }

    @Test func packsUnderRetentionStayCondemnedUntilTheyMayGo() async throws {
        let test = try await TestRepository.create(
            graceSeconds: 100, retention: .init(mode: .compliance, seconds: 10 * 86_400))
        let first = try await test.repository.snapshot(Self.old)
        test.advance(days: 1)
        let report = try await test.repository.forget([first])
        #expect(report.locked == [first] && report.removed.isEmpty)
        #expect(try await test.repository.listSnapshots().snapshots.count == 1)
        // The snapshot's own lock ends at the same time as the packs'; lift the snapshot only.
        test.advance(days: 9.5)
        let second = try await test.repository.snapshot(Self.new)
        #expect(try await test.repository.forget([first, second]).locked == [second])
        test.advance(days: 1)
        #expect(try await Collector(repository: test.repository).prune().packsCondemned == 2)
        // Somebody prolonged the retention of one pack.
        let pack = try #require(try await test.condemnedPacks().first)
        try await test.memory.extendRetention(
            pack, Retention(mode: .compliance, until: test.clock.now().advanced(bySeconds: 5 * 86_400)))
        test.advance(days: 1)
        let locked = try await Collector(repository: test.repository).prune()
        #expect(locked.packsDeleted == 1 && locked.packsRetained == 1)
        #expect(try await test.names("condemned/").count == 1)
        test.advance(days: 5)
        #expect(try await Collector(repository: test.repository).prune().packsDeleted == 1)
    }

    @Test func manySmallSegmentsBecomeOne() async throws {
        let test = try await TestRepository.create()
        var expected: [Identifier: Files] = [:]
        for number in 0..<12 {
            let files: Files = ["f": bytes(2000, seed: UInt64(1000 + number))]
            expected[try await test.repository.snapshot(files)] = files
        }
        #expect(try await test.names("index/").count == 12)
        let report = try await Collector(repository: test.repository).prune()
        #expect(report.segmentsRemoved == 12 && report.segmentsWritten == 1)
        #expect(try await test.names("index/").count == 1)
        for (id, files) in expected { #expect(try await test.repository.files(of: id) == files) }
        #expect(try await test.repository.loadIndex().allPacks().count == 24)
    }

    @Test func packsThatNoSegmentListsAreAdoptedWhenAliveAndCondemnedWhenNot() async throws {
        let test = try await TestRepository.create()
        let kept = try await test.repository.snapshot(Self.old)
        let lost = try await test.repository.prepare(Self.new)
        await lost.session.abandon()
        for name in try await test.names("index/") { try await test.memory.delete(name, ifTag: nil) }
        test.advance(days: 2)
        let report = try await Collector(repository: test.repository).prune()
        #expect(report.packsCondemned == 2)
        #expect(report.segmentsWritten == 1)
        let index = try await test.repository.loadIndex()
        #expect(index.allPacks().count == 2)
        #expect(try await test.repository.files(of: kept) == Self.old)
    }

    @Test func aPackThatCannotBeListedIsNeverCondemned() async throws {
        let test = try await TestRepository.create()
        let prepared = try await test.repository.prepare(Self.old)
        await prepared.session.abandon()
        for name in try await test.names("index/") { try await test.memory.delete(name, ifTag: nil) }
        let pack = try #require(try await test.names("data/").first)
        try await test.change(pack) { $0[$0.count - 20] ^= 1 }
        test.advance(days: 2)
        let report = try await Collector(repository: test.repository).prune()
        #expect(report.packsCondemned == 1)
        #expect(report.findings.map(\.object) == [pack])
        #expect(try await test.packs().contains(pack))
    }

    @Test func aChunkThatCannotBeCopiedKeepsItsPack() async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(Self.old)
        try await test.repository.snapshot(["a": Self.old["a"] ?? []])
        _ = try await test.repository.forget([first])
        let pack = try #require(try await test.names("data/").first)
        // The group with the small file is the pack's last blob.
        try await test.change(pack) { bytes in
            for index in 0..<bytes.count - 400 where index > 200 { bytes[index] ^= 1 }
        }
        test.advance(days: 2)
        let report = try await Collector(repository: test.repository).prune()
        #expect(report.packsRepacked == 0)
        #expect(report.findings.map(\.object) == [pack])
        #expect(try await test.condemnedPacks().contains(pack) == false)
        // Nor does it go when it was condemned already.
        try await test.condemn([pack])
        test.advance(days: 2)
        let second = try await Collector(repository: test.repository).prune()
        #expect(try await test.packs().contains(pack))
        #expect(second.findings.contains { $0.object == pack })
    }

    @Test func leftoversOfDeadRunsGo() async throws {
        let test = try await TestRepository.create()
        try await test.repository.snapshot(Self.old)
        try await test.put(ObjectNames.sessions + (try Identifier.random()).description, [1])
        try await test.put(ObjectNames.journals + "x-y", [1, 2, 3])
        test.advance(days: 2)
        let fresh = ObjectNames.sessions + (try Identifier.random()).description
        try await test.put(fresh, [1])
        #expect(try await Collector(repository: test.repository).prune().leftoversRemoved == 1)
        #expect(try await test.names("sessions/") == [fresh])
        test.advance(days: 6)
        #expect(try await Collector(repository: test.repository).prune().leftoversRemoved == 2)
        #expect(try await test.names("journal/").isEmpty)
    }

    @Test func recordsOfForgottenSnapshotsAreJoined() async throws {
        let test = try await TestRepository.create()
        var ids: [Identifier] = []
        for _ in 0..<66 { ids.append(try await test.repository.snapshot(["a": [1]])) }
        for id in ids.dropLast() { _ = try await test.repository.forget([id]) }
        #expect(try await test.names("forgotten/").count == 65)
        _ = try await Collector(repository: test.repository).prune()
        #expect(try await test.names("forgotten/").count == 1)
        let report = try await Verifier(repository: test.repository).verify(.init(depth: .quick) { "\($0)" })
        #expect(report.problems.isEmpty)
    }

    @Test func aWriterKeyMayNotPruneOrForget() async throws {
        let test = try await TestRepository.create()
        let credential = KeyCredential.keyFile(bytes(40, seed: 8))
        _ = try await test.repository.addSlot(credential, role: .writer, label: "w", cost: TestRepository.cost)
        let writer = try await test.reopened(credential)
        let none = try Identifier.random()
        let codes = [
            await code { _ = try await Collector(repository: writer).prune() },
            await code { _ = try await writer.forget([none]) },
            await code { _ = try await Verifier(repository: writer).verify(.init(depth: .quick) { "\($0)" }) },
            await code { _ = try await RepositoryRepair(repository: writer).rebuildIndex() },
        ]
        #expect(codes == [.notPermitted, .notPermitted, .notPermitted, .notPermitted])
    }

    @Test func keysThatWereRotatedMeanwhileStopTheRun() async throws {
        let test = try await TestRepository.create()
        try await test.repository.snapshot(Self.old)
        _ = try await test.repository.rotateKeys()
        let error = await #expect(throws: RepositoryError.self) {
            _ = try await Collector(repository: test.repository).prune(PruneOptions(graceSeconds: 0))
        }
        #expect(error?.code == .busy)
        let fresh = try await test.reopened()
        try await fresh.snapshot(Self.new)
        #expect(try await Collector(repository: fresh).prune(PruneOptions(graceSeconds: 0)).packsCondemned == 0)
    }
}

extension TestRepository {
    /// Condemns packs by their object names, as a collector would.
    func condemn(_ names: Set<String>) async throws {
        let id = try Identifier.random()
        var packs: [CondemnedRecord.Pack] = []
        for name in names.sorted() {
            guard let pack = ObjectNames.parsePack(name) else { continue }
            packs.append(.init(id: pack.id, kind: pack.kind, tag: try await memory.head(name).tag))
        }
        let record = CondemnedRecord(packs: packs)
        try await put(ObjectNames.condemnedRecord(id), try record.encoded(id: id, keyring: repository.keyring))
    }

    /// Object names of all condemned packs.
    func condemnedPacks() async throws -> Set<String> {
        var found = Set<String>()
        for name in try await names("condemned/") {
            guard let id = ObjectNames.identifier(of: name, under: ObjectNames.condemned) else { continue }
            let record = try CondemnedRecord(decoding: try await get(name), id: id, keyring: repository.keyring)
            found.formUnion(record.packs.map { ObjectNames.pack($0.id, $0.kind) })
        }
        return found
    }
}
