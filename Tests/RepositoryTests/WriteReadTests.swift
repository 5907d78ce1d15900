import Basics
import ObjectStorage
import ObjectStorageTesting
import Repository
import RepositoryFormat
import Sealing
import Testing

@Suite struct WriteReadTests {
    static let files: Files = [
        "a": bytes(5000, seed: 1), "d/b": bytes(700_000, seed: 2), "text": [UInt8](repeating: 0x61, count: 90_000),
    ]

    @Test func whatIsWrittenIsReadBackByAnotherProcess() async throws {
        let test = try await TestRepository.create()
        var files = Self.files
        // Many small chunks: several groups in one pack.
        for number in 0..<300 { files["small/\(number)"] = bytes(number * 50, seed: UInt64(number + 10)) }
        let inline = try await test.repository.snapshot(files)
        let lists = try await test.repository.snapshot(files, lists: true)
        let repository = try await test.reopened()
        #expect(try await repository.files(of: inline) == files)
        #expect(try await repository.files(of: lists) == files)
    }

    @Test func aChunkIsStoredOnce() async throws {
        let test = try await TestRepository.create()
        try await test.repository.snapshot(Self.files)
        let packs = try await test.packs()
        let prepared = try await test.repository.prepare(Self.files)
        #expect(prepared.session.progress.chunksNew == 0)
        #expect(prepared.session.progress.bytesStored == 0)
        #expect(prepared.session.progress.bytesRead == 795_000)
        #expect(try await test.packs() == packs)
        _ = try await prepared.session.commit(prepared.manifest, chain: prepared.chain)
        #expect(try await test.names("sessions/").isEmpty)
        // Within one session too.
        let twice = try await test.repository.prepare(["x": bytes(400_000, seed: 80), "y": bytes(400_000, seed: 80)])
        #expect(twice.session.progress.bytesNew < 401_000)
    }

    @Test func condemnedPacksCountAsAbsent() async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(Self.files)
        let packs = try await test.packs()
        try await test.condemn(packs)
        let second = try await test.repository.snapshot(Self.files)
        #expect(try await test.packs().count == packs.count * 2)
        // For reading they still serve, until they are gone.
        #expect(try await test.repository.files(of: first) == Self.files)
        for pack in packs { try await test.memory.delete(pack, ifTag: nil) }
        #expect(try await test.repository.files(of: first) == Self.files)
        #expect(try await test.repository.files(of: second) == Self.files)
    }

    @Test func packsCondemnedWhileASnapshotIsMadeStopItsCommit() async throws {
        let test = try await TestRepository.create()
        try await test.repository.snapshot(Self.files)
        let prepared = try await test.repository.prepare(Self.files)
        try await test.condemn(try await test.packs())
        #expect(
            await code { _ = try await prepared.session.commit(prepared.manifest, chain: prepared.chain) }
                == .collectedMeanwhile)
        #expect(try await test.names("snapshots/").count == 1)
    }

    @Test(arguments: [false, true]) func aSnapshotIsWithdrawnWhenAPackGoesUnderIt(isMany: Bool) async throws {
        let test = try await TestRepository.create()
        // With more packs than are asked for one by one, the store is listed.
        for number in 0..<(isMany ? 20 : 1) {
            try await test.repository.snapshot(["f\(number)": bytes(3000, seed: UInt64(number))], host: "\(number)")
        }
        var files: Files = [:]
        for number in 0..<(isMany ? 20 : 1) { files["g\(number)"] = bytes(3000, seed: UInt64(number)) }
        let before = try await test.names("snapshots/")
        let pack = try #require(try await test.names("data/").first)
        let intruder = Intruder(test.store, at: .afterPut(ObjectNames.snapshots)) {
            try await test.memory.delete(pack, ifTag: nil)
        }
        let writer = try await test.reopened(store: intruder)
        #expect(await code { try await writer.snapshot(files) } == .collectedMeanwhile)
        #expect(try await test.names("snapshots/") == before)
        // The next pass stores what is missing.
        let id = try await test.repository.snapshotAgain(files)
        #expect(try await test.repository.files(of: id) == files)
    }

    @Test func aWriterKeyAddsAndRecognisesButCannotRead() async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(Self.files)
        let credential = KeyCredential.keyFile(bytes(40, seed: 8))
        let full = try await test.repository.addSlot(
            credential, role: .writer, label: "mover", cost: TestRepository.cost)
        let writer = try await test.reopened(credential)
        #expect(writer.keyring.role == .writer)
        var files = Self.files
        files["new"] = bytes(20_000, seed: 33)
        let prepared = try await writer.prepare(files)
        #expect(prepared.session.progress.bytesNew < 30_000)
        let second = try await prepared.session.commit(prepared.manifest, chain: prepared.chain).id
        #expect(await code { _ = try await writer.files(of: first) } == .notPermitted)
        #expect(await code { _ = try await writer.files(of: second) } == .notPermitted)
        #expect(await code { _ = try await writer.rotateKeys() } == .notPermitted)
        #expect(try await writer.listSnapshots().snapshots.map(\.manifest) == [nil, nil])
        #expect(try await full.files(of: second) == files)
        #expect(try await full.files(of: first) == Self.files)
    }

    @Test func aCrashAtAnyChangeOfAWriterLeavesEverythingReadable() async throws {
        var k = 1
        while true {
            let test = try await TestRepository.create()
            let first = try await test.repository.snapshot(Self.files)
            test.store.crash(atMutation: test.store.mutations + k)
            var files = Self.files
            files["d/new"] = bytes(400_000, seed: 44)
            _ = await code { try await test.repository.snapshot(files) }
            let hasCrashed = test.store.hasCrashed
            test.store.heal()
            let repository = try await test.reopened()
            let snapshots = try await repository.listSnapshots()
            #expect(snapshots.damage.isEmpty, "crash at change \(k)")
            for listed in snapshots.snapshots {
                #expect(
                    try await repository.files(of: listed.id) == (listed.id == first ? Self.files : files),
                    "crash at change \(k)")
            }
            let second = try await repository.snapshot(files)
            #expect(try await repository.files(of: second) == files, "crash at change \(k)")
            guard hasCrashed else {
                #expect(k > 4)
                return
            }
            k += 1
        }
    }

    @Test func aStoreThatFailsEndsTheSessionWithItsReason() async throws {
        let test = try await TestRepository.create()
        test.store.inject(.fail(.noSpace)) { $0.key.hasPrefix("data/") }
        let error = await #expect(throws: RepositoryError.self) { try await test.repository.snapshot(Self.files) }
        #expect((error?.cause as? ObjectStorageError)?.code == .noSpace)
        #expect(try await test.names("snapshots/").isEmpty)
    }

    @Test func aLostIndexIsReadFromThePacks() async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(Self.files)
        let second = try await test.repository.snapshot(["z": bytes(9000, seed: 90)])
        let segments = try await test.names("index/")
        try await test.memory.delete(segments[0], ifTag: nil)
        try await test.change(segments[1]) { $0[40] ^= 1 }
        #expect(try await test.repository.files(of: first) == Self.files)
        #expect(try await test.repository.files(of: second) == ["z": bytes(9000, seed: 90)])
        let index = try await test.repository.loadIndex()
        #expect(index.damage.map(\.object) == [segments[1]])
        #expect(index.allPacks().count == 4)
    }

    @Test func aNoteOfRetentionDoesNotHideThatAPackIsUncovered() async throws {
        let test = try await TestRepository.create(retention: .init(mode: .governance, seconds: 1000))
        let first = try await test.repository.snapshot(Self.files)
        let segment = try #require(try await test.names("index/").first)
        test.clock.advance(bySeconds: 500)
        // Re-uses the packs and notes that they are kept for longer.
        try await test.repository.snapshot(Self.files)
        #expect(try await test.names("index/").count == 2)
        test.clock.advance(bySeconds: 600)
        try await test.memory.delete(segment, ifTag: nil)
        #expect(try await test.repository.files(of: first) == Self.files)
        let report = try await Collector(repository: test.repository).prune(PruneOptions(graceSeconds: 0))
        #expect(report.packsCondemned == 0 && report.segmentsWritten == 1)
        #expect(try await test.repository.loadIndex().segments.contains { $0.count > 0 })
    }

    @Test func reusedPacksAreKeptAsLongAsTheNewSnapshot() async throws {
        let test = try await TestRepository.create(retention: .init(mode: .compliance, seconds: 1000))
        try await test.repository.snapshot(Self.files)
        test.clock.advance(bySeconds: 500)
        try await test.repository.snapshot(Self.files)
        // The session's own clock runs on a little between two answers of the store.
        let until = test.clock.now().advanced(bySeconds: 1000)
        let range = until...until.advanced(bySeconds: 100)
        for pack in try await test.packs() {
            let kept = try #require(test.memory.retention(of: pack)?.until)
            #expect(range.contains(kept))
        }
        #expect(try await test.repository.loadIndex().allPacks().values.allSatisfy { range.contains($0.retainedUntil) })
    }

    @Test(arguments: [false, true]) func aSecondCopyServesWhenTheFirstIsDamagedOrGone(isGone: Bool) async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(Self.files)
        let packs = try await test.packs()
        // A second copy of everything, whose packs may come first or last in the index.
        try await test.condemn(packs)
        try await test.repository.snapshot(Self.files)
        for name in try await test.names("condemned/") { try await test.memory.delete(name, ifTag: nil) }
        let copies = try await test.packs().subtracting(packs)
        for half in [packs, copies] {
            var saved: [String: [UInt8]] = [:]
            for name in half {
                saved[name] = try await test.get(name)
                if isGone {
                    try await test.memory.delete(name, ifTag: nil)
                } else {
                    try await test.change(name) { bytes in
                        for index in PackHeader.size..<max(PackHeader.size + 100, bytes.count - 1000) {
                            bytes[index] ^= 1
                        }
                    }
                }
            }
            #expect(try await test.repository.files(of: first) == Self.files)
            let report = try await VerifierTests.verify(test, .full)
            #expect(report.isSound && report.problems.count == 2)
            for (name, bytes) in saved { try await test.put(name, bytes) }
        }
    }
}

extension Repository {
    /// A snapshot whose index counts as missing what was found missing before, as a second pass would.
    func snapshotAgain(_ files: Files) async throws -> Identifier {
        let index = try await loadIndex()
        for _ in 0..<3 {
            let prepared = try await prepare(files, index: index)
            do {
                return try await prepared.session.commit(prepared.manifest, chain: prepared.chain).id
            } catch {
                guard error.code == .collectedMeanwhile else { throw error }
            }
        }
        throw RepositoryError(.failed, "three passes were not enough")
    }
}
