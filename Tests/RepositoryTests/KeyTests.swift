import Basics
import ObjectStorage
import ObjectStorageTesting
import Repository
import RepositoryFormat
import Sealing
import Testing

@Suite struct KeyTests {
    static let files: Files = ["a": bytes(5000, seed: 1)]

    @Test func aPassphraseOpensAndAWrongOneDoesNot() async throws {
        let clock = ManualWallClock()
        let store = MemoryObjectStore(clock: clock)
        let right = KeyCredential.passphrase(Array("correct horse".utf8))
        _ = try await Repository.create(
            store: store, credential: right, cost: TestRepository.cost, options: TestRepository.options(clock))
        _ = try await Repository.open(store: store, credential: right, options: TestRepository.options(clock))
        for wrong in [
            KeyCredential.passphrase(Array("correct hors".utf8)), .passphrase([]), .keyFile(bytes(64, seed: 1)),
            .identity(try X25519PrivateKey.generate()),
        ] {
            #expect(
                await code {
                    _ = try await Repository.open(
                        store: store, credential: wrong, options: TestRepository.options(clock))
                } == .wrongKey)
        }
        #expect(
            await code {
                _ = try await Repository.create(
                    store: store, credential: right, cost: TestRepository.cost, options: TestRepository.options(clock))
            } == .alreadyExists)
        #expect(
            await code {
                _ = try await Repository.open(
                    store: MemoryObjectStore(clock: clock), credential: right, options: TestRepository.options(clock))
            } == .noRepository)
    }

    @Test func slotsAreAddedReplacedAndRemoved() async throws {
        let test = try await TestRepository.create()
        let id = try await test.repository.snapshot(Self.files)
        let second = KeyCredential.keyFile(bytes(64, seed: 2))
        let identity = try X25519PrivateKey.generate()
        var repository = try await test.repository.addSlot(second, role: .full, label: "second")
        repository = try await repository.addRecipient(identity.publicKey.bytes, role: .full, label: "third")
        #expect(repository.slots.map(\.label) == ["first", "second", "third"])
        for credential in [TestRepository.key, second, .identity(identity)] {
            #expect(try await test.reopened(credential).files(of: id) == Self.files)
        }
        // Two changes at once: one of them is told to try again.
        #expect(await code { _ = try await test.repository.rotateKeys() } == .busy)
        let own = try await test.reopened(second)
        let third = KeyCredential.keyFile(bytes(64, seed: 3))
        _ = try await own.replaceOwnSlot(with: third)
        #expect(await code { _ = try await test.reopened(second) } == .wrongKey)
        #expect(try await test.reopened(third).files(of: id) == Self.files)
        let last = try await test.reopened(third)
        var rest = try await last.removeSlot(last.slots[0].id)
        #expect(await code { _ = try await test.reopened() } == .wrongKey)
        rest = try await rest.removeSlot(rest.slots.first { $0.kind == .recipient }?.id ?? "")
        #expect(rest.slots.count == 1)
        #expect(await code { _ = try await rest.removeSlot(rest.slots[0].id) } == .invalidArgument)
        #expect(await code { _ = try await rest.removeSlot("") } == .noSuchName)
        #expect(try await test.names("keys/").count == 1)
    }

    @Test func aRotationKeepsWhatIsStoredReadableAndLocksOutOldKeyrings() async throws {
        let test = try await TestRepository.create()
        let first = try await test.repository.snapshot(Self.files)
        let rotated = try await test.repository.rotateKeys()
        let more: Files = ["a": bytes(5000, seed: 1), "b": bytes(6000, seed: 2)]
        let prepared = try await rotated.prepare(more)
        // Chunk ids survive a rotation, so that chunks are still recognised.
        #expect(prepared.session.progress.bytesNew < 7000)
        let second = try await prepared.session.commit(prepared.manifest, chain: prepared.chain).id
        let fresh = try await test.reopened()
        #expect(fresh.keyring.currentEpoch.number == 2)
        #expect(try await fresh.files(of: first) == Self.files)
        #expect(try await fresh.files(of: second) == more)
        // Whoever holds the old keyring cannot read what is new.
        #expect(await code { _ = try await test.repository.files(of: second) } == .damaged)
    }

    @Test func aSlotSlippedInByAWriterIsRefused() async throws {
        let test = try await TestRepository.create()
        let credential = KeyCredential.keyFile(bytes(40, seed: 8))
        _ = try await test.repository.addSlot(credential, role: .writer, label: "mover")
        let writer = try await test.reopened(credential)
        // What a writer with access to the store could do: a table with a slot of its own, marked full.
        let slot = try KeySlot.create(
            .keyFile(bytes(40, seed: 9)), role: .full, label: "mine", created: test.clock.now())
        #expect(throws: FormatError.self) {
            _ = try KeyTable.create(
                generation: writer.keyTable.generation + 1, slots: writer.slots + [slot], keyring: writer.keyring)
        }
        // Sealed under a keyring of its own making, the table opens for nobody who has a right key.
        let forged = try KeyTable.create(
            generation: writer.keyTable.generation + 1, slots: [slot],
            keyring: try Keyring.generate(
                repositoryID: writer.config.repositoryID, configDigest: writer.keyring.configDigest))
        try await test.put(ObjectNames.keyTable(forged.generation), forged.encoded())
        #expect(await code { _ = try await test.reopened() } == .wrongKey)
        // A changed table with a right checksum is recognised by its MAC.
        try await test.memory.delete(ObjectNames.keyTable(forged.generation), ifTag: nil)
        let name = ObjectNames.keyTable(writer.keyTable.generation)
        for table in [name, ObjectNames.keyTableCopy(writer.keyTable.generation)] {
            try await test.change(table) { bytes in
                let label = Array("mover".utf8)
                guard let start = bytes.indices.first(where: { bytes[$0...].starts(with: label) }) else { return }
                bytes[start] = UInt8(ascii: "M")
                bytes.removeLast(Digest.size)
                bytes += SHA256State.digest(of: bytes).bytes
            }
        }
        #expect(await code { _ = try await test.reopened() } == .damaged)
    }

    @Test func aDamagedConfigOrTableFallsBackToItsCopy() async throws {
        let test = try await TestRepository.create()
        let id = try await test.repository.snapshot(Self.files)
        for name in [
            ObjectNames.config, ObjectNames.configCopy, ObjectNames.keyTable(1), ObjectNames.keyTableCopy(1),
        ] {
            let good = try await test.get(name)
            for damage in [
                { $0[$0.count / 2] ^= 1 }, { $0 = [] }, { $0.removeLast(5) }, { $0 += [1] },
            ] as [(inout [UInt8]) -> Void] {
                try await test.change(name, damage)
                #expect(try await test.reopened().files(of: id) == Self.files, "\(name)")
                try await test.put(name, good)
            }
            try await test.memory.delete(name, ifTag: nil)
            #expect(try await test.reopened().files(of: id) == Self.files, "\(name)")
            try await test.put(name, good)
        }
        for name in [ObjectNames.keyTable(1), ObjectNames.keyTableCopy(1)] {
            try await test.change(name) { $0[20] ^= 1 }
        }
        #expect(await code { _ = try await test.reopened() } == .damaged)
    }

    @Test("A table of a later version that comes meanwhile is no damage: nothing is changed past it")
    func aTableOfALaterVersionComesFirst() async throws {
        let test = try await TestRepository.create()
        var bytes = try await test.get(ObjectNames.keyTable(1))
        bytes[8] = 3
        bytes = Array(bytes.dropLast(Digest.size))
        bytes += SHA256State.digest(of: bytes).bytes
        try await test.put(ObjectNames.keyTable(3), bytes)
        #expect(await code { _ = try await test.repository.rotateKeys() } == .busy)
        #expect(try await test.names(ObjectNames.keyTables) == [1, 3].map(ObjectNames.keyTable))
        #expect(await code { _ = try await Collector(repository: test.repository).prune() } == .newerVersion)
        #expect(await code { _ = try await test.reopened() } == .newerVersion)
    }

    @Test func pruneFinishesAChangeOfKeysAndPutsBackWhatIsMissing() async throws {
        let test = try await TestRepository.create()
        try await test.repository.snapshot(Self.files)
        let tables = [ObjectNames.keyTable(1), ObjectNames.keyTableCopy(1)]
        let old = try await test.get(tables[0])
        _ = try await test.repository.rotateKeys()
        let copy = ObjectNames.keyTableCopy(2)
        // As a rotation leaves it that is killed between the new table and its copy.
        for name in tables { try await test.put(name, old) }
        try await test.memory.delete(copy, ifTag: nil)
        var repository = try await test.reopened()
        var report = try await Verifier(repository: repository).verify(.init(depth: .quick) { "\($0)" })
        #expect(report.problems.contains { $0.object == copy && $0.message.contains("interrupted") })
        #expect(report.isSound, "\(report.problems)")
        _ = try await Collector(repository: repository).prune()
        #expect(try await test.get(copy) == test.get(ObjectNames.keyTable(2)))
        #expect(try await test.names(ObjectNames.keyTables) == [ObjectNames.keyTable(2)])
        #expect(try await test.names(ObjectNames.keyTableCopies) == [copy])

        // A copy that somebody removed is damage.
        for name in [copy, ObjectNames.keyTable(2), ObjectNames.config, ObjectNames.configCopy] {
            let good = try await test.get(name)
            try await test.memory.delete(name, ifTag: nil)
            repository = try await test.reopened()
            report = try await Verifier(repository: repository).verify(.init(depth: .quick) { "\($0)" })
            #expect(!report.isSound && report.problems.map(\.object) == [name], "\(name): \(report.problems)")
            _ = try await Collector(repository: repository).prune()
            #expect(try await test.get(name) == good)
        }
    }

    @Test func aConfigOfAnotherRepositoryIsRefused() async throws {
        let test = try await TestRepository.create()
        let other = try await TestRepository.create()
        for name in [ObjectNames.config, ObjectNames.configCopy] {
            try await test.put(name, try await other.get(name))
        }
        #expect(await code { _ = try await test.reopened() } == .damaged)
        // Nor does one do that was changed and has a right checksum.
        var config = test.repository.config
        config.graceSeconds = 0
        for name in [ObjectNames.config, ObjectNames.configCopy] { try await test.put(name, config.encoded()) }
        #expect(await code { _ = try await test.reopened() } == .damaged)
    }
}
