import Basics
import ObjectStorage
import ObjectStorageTesting
import Repository
import RepositoryFormat
import Sealing
import Testing

/// A key that restores, and changes nothing.
@Suite("Reader keys") struct ReaderKeyTests {
    static let files: Files = ["a": bytes(5000, seed: 1), "d/b": bytes(700_000, seed: 2)]
    static let credential = KeyCredential.keyFile(bytes(40, seed: 8))

    /// A repository with a reader's slot and a snapshot of `files`.
    private static func world() async throws -> (test: TestRepository, full: Repository, snapshot: Identifier) {
        let test = try await TestRepository.create()
        let id = try await test.repository.snapshot(files)
        let full = try await test.repository.addSlot(
            credential, role: .reader, label: "audit", cost: TestRepository.cost)
        return (test, full, id)
    }

    @Test("It reads and verifies everything in a store that nobody may write to, and asks for no change of it")
    func reads() async throws {
        let (test, full, id) = try await Self.world()
        try await full.snapshot(["a": bytes(5000, seed: 1), "c": bytes(9000, seed: 3)])
        _ = try await full.forget([id])
        test.advance(days: 2)
        let store = RecordingObjectStore(ReadOnlyObjectStore(test.memory))
        let reader = try await test.reopened(Self.credential, store: store)
        #expect(reader.keyring.role == .reader)
        let listing = try await reader.listSnapshots()
        #expect(listing.snapshots.count == 1 && listing.snapshots.allSatisfy { $0.manifest != nil })
        #expect(
            try await reader.files(of: try #require(listing.snapshots.first).id)
                == ["a": bytes(5000, seed: 1), "c": bytes(9000, seed: 3)])
        let report = try await Verifier(repository: reader).verify(.init(depth: .full) { "\($0)" })
        #expect(report.problems.isEmpty, "\(report.problems)")
        var dry = PruneOptions()
        dry.isDryRun = true
        let pruning = try await Collector(repository: reader).prune(dry)
        #expect(pruning.isDryRun && pruning.packsCondemned > 0)
        let changes = store.requests.filter(\.operation.isMutation)
        #expect(changes.isEmpty, "\(changes)")
        #expect(store.requests.count > 10)
    }

    @Test("Damage is found with it as with a full key")
    func findsDamage() async throws {
        let (test, _, _) = try await Self.world()
        let pack = try #require(try await test.names("data/").first)
        try await test.change(pack) { $0[$0.count / 2] ^= 1 }
        let reader = try await test.reopened(Self.credential, store: ReadOnlyObjectStore(test.memory))
        let report = try await Verifier(repository: reader).verify(.init(depth: .full) { "\($0)" })
        #expect(report.problems.map(\.object) == [pack] && !report.isSound)
    }

    @Test("Whatever would change something is refused at once, in a line that says which role it takes")
    func changesNothing() async throws {
        let (test, full, id) = try await Self.world()
        let store = RecordingObjectStore(test.memory)
        let reader = try await test.reopened(Self.credential, store: store)
        let sound = try await Verifier(repository: full).verify(.init(depth: .quick) { "\($0)" })
        store.reset()
        let refused: [(String, String, () async throws -> Void)] = [
            (
                "'writer' or 'full'", "a session",
                { _ = try await WriteSession.begin(reader, index: reader.loadIndex()) }
            ),
            (
                "'full'", "a key",
                { _ = try await reader.addSlot(.keyFile(bytes(40, seed: 9)), role: .full, label: "mine") }
            ),
            (
                "'full'", "a recipient",
                {
                    let own = try X25519PrivateKey.generate().publicKey.bytes
                    _ = try await reader.addRecipient(own, role: .reader, label: "mine")
                }
            ),
            ("'full'", "another key", { _ = try await reader.replaceOwnSlot(with: .keyFile(bytes(40, seed: 9))) }),
            ("'full'", "no key", { _ = try await reader.removeSlot(reader.slotID) }),
            ("'full'", "a rotation", { _ = try await reader.rotateKeys() }),
            ("'full'", "forgetting", { _ = try await reader.forget([id]) }),
            ("'full'", "a prune", { _ = try await Collector(repository: reader).prune() }),
            ("'full'", "an index", { _ = try await RepositoryRepair(repository: reader).rebuildIndex() }),
            ("'full'", "a repair", { _ = try await RepositoryRepair(repository: reader).giveUpDamaged(sound) }),
        ]
        for (roles, what, body) in refused {
            let error = await #expect(throws: RepositoryError.self, "\(what)") { try await body() }
            #expect(error?.code == .notPermitted, "\(what): \(error?.message ?? "")")
            let message = error?.message ?? ""
            #expect(
                message.hasPrefix("a reader key cannot ") && message.hasSuffix(": use a key of the role \(roles)")
                    && !message.contains("\n"), "\(message)")
        }
        #expect(store.requests.filter(\.operation.isMutation).isEmpty)
        #expect(try await full.files(of: id) == Self.files)
    }

    @Test("A rotation locks out a reader who was removed; one who stays opens what is written after it")
    func rotation() async throws {
        let (test, full, first) = try await Self.world()
        let before = try await test.reopened(Self.credential)
        var rotated = try await full.rotateKeys()
        let more: Files = ["n": bytes(6000, seed: 4)]
        let second = try await rotated.snapshot(more)
        // Opened before it, the reader goes on with what was there, and takes nothing that is new for something else.
        #expect(try await before.files(of: first) == Self.files)
        #expect(await code { _ = try await before.files(of: second) } == .damaged)
        let after = try await test.reopened(Self.credential)
        #expect(after.keyring.epochs.count == 2)
        #expect(try await after.files(of: first) == Self.files)
        #expect(try await after.files(of: second) == more)

        rotated = try await rotated.removeSlot(after.slotID)
        #expect(await code { _ = try await test.reopened(Self.credential) } == .wrongKey)
        rotated = try await rotated.rotateKeys()
        let third = try await rotated.snapshot(["o": bytes(6000, seed: 5)])
        #expect(await code { _ = try await after.files(of: third) } == .damaged)
    }

    @Test("A prune meanwhile takes nothing away from a reader that is at work, within the grace period")
    func prune() async throws {
        let (test, full, first) = try await Self.world()
        let second = try await full.snapshot(["a": bytes(5000, seed: 1), "e": bytes(9000, seed: 6)])
        let reader = try await test.reopened(Self.credential, store: ReadOnlyObjectStore(test.memory))
        _ = try await reader.loadIndex()
        _ = try await full.forget([first])
        let condemned = try await Collector(repository: full).prune()
        #expect(try await reader.files(of: second) == ["a": bytes(5000, seed: 1), "e": bytes(9000, seed: 6)])
        test.advance(days: 3)
        let again = try await Collector(repository: full).prune()
        test.advance(days: 3)
        let removed = try await Collector(repository: full).prune()
        #expect(condemned.packsCondemned + again.packsCondemned > 0)
        #expect(again.packsDeleted + removed.packsDeleted > 0)
        #expect(try await reader.files(of: second) == ["a": bytes(5000, seed: 1), "e": bytes(9000, seed: 6)])
        #expect(try await reader.listSnapshots().snapshots.map(\.id) == [second])
    }

    /// Who may write to the store, and what he knows of the repository's secrets.
    enum Forger: CaseIterable {
        case stranger
        case writer
        case reader
    }

    @Test("A table of keys that somebody without a full key makes up opens for nobody", arguments: Forger.allCases)
    func forgedTable(forger: Forger) async throws {
        let (test, full, id) = try await Self.world()
        let writer = KeyCredential.keyFile(bytes(40, seed: 10))
        _ = try await full.addSlot(writer, role: .writer, label: "mover", cost: TestRepository.cost)
        let reader = try await test.reopened(Self.credential)
        var keyring =
            switch forger {
            case .stranger:
                try Keyring.generate(
                    repositoryID: reader.config.repositoryID, configDigest: reader.keyring.configDigest)
            case .writer: try await test.reopened(writer).keyring
            case .reader: reader.keyring
            }
        // All that anybody sees of the slots, and all that he knows, with a table key that he has made up and a slot of his
        // own: the next rotation would hand him its keys, were he believed.
        if forger == .writer {
            keyring.epochs += [
                try Keyring.generate(
                    repositoryID: reader.config.repositoryID, configDigest: reader.keyring.configDigest
                ).epochs[0]
            ]
        }
        (keyring.role, keyring.tableKey) = (.full, SecretKey())
        let own = KeyCredential.keyFile(bytes(40, seed: 9))
        let slot = try KeySlot.create(own, role: .full, label: "mine", created: test.clock.now())
        let forged = try KeyTable.create(
            generation: reader.keyTable.generation + 1, slots: reader.slots + [slot], keyring: keyring)
        for name in [ObjectNames.keyTable(forged.generation), ObjectNames.keyTableCopy(forged.generation)] {
            try await test.put(name, forged.encoded())
        }
        // It is a table, and it opens for who has made it.
        #expect(try forged.open(own).slot.id == slot.id)
        for credential in [TestRepository.key, writer, Self.credential] {
            let opened = try await test.reopened(credential)
            #expect(opened.keyTable.generation == reader.keyTable.generation)
            #expect(!opened.slots.contains { $0.id == slot.id })
        }
        #expect(try await test.reopened().files(of: id) == Self.files)
        // With the right one gone nothing opens, and the error says what may have happened.
        for name in [
            ObjectNames.keyTable(reader.keyTable.generation), ObjectNames.keyTableCopy(reader.keyTable.generation),
        ] { try await test.memory.delete(name, ifTag: nil) }
        for credential in [TestRepository.key, writer, Self.credential] {
            let error = await #expect(throws: RepositoryError.self) { _ = try await test.reopened(credential) }
            #expect(error?.code == .damaged)
            #expect(error?.message.contains("made by somebody without a full key") == true, "\(error?.message ?? "")")
        }
    }
}
