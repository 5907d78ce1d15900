internal import Basics
internal import Logging
package import ObjectStorage
package import RepositoryFormat
internal import Sealing

/// An opened, unlocked repository: the store, what never changes, and the keys. Holds no state that can go stale but
/// the index, which is loaded by `loadIndex`.
package final class Repository: Sendable {
    package let store: any ObjectStore
    package let config: RepositoryConfig
    package let keyring: Keyring
    /// The slot that was opened.
    package let slotID: String
    /// The key table that was opened.
    package let keyTable: KeyTable
    package let options: RepositoryOptions
    package let plan: MemoryPlan
    package let chunkIdentifier: ChunkIdentifier

    init(
        store: any ObjectStore, config: RepositoryConfig, keyring: Keyring, slotID: String, keyTable: KeyTable,
        options: RepositoryOptions
    ) {
        self.store = store
        self.config = config
        self.keyring = keyring
        self.slotID = slotID
        self.keyTable = keyTable
        self.options = options
        plan = MemoryPlan(
            memoryBytes: options.memoryBytes, processors: options.processors, connections: options.connections)
        chunkIdentifier = keyring.chunkIdentifier
    }

    /// Makes a repository in `store` that `credential` opens with the role `full`.
    ///
    /// Throws `.alreadyExists` when there is one: nothing is changed then.
    package static func create(
        store: any ObjectStore, credential: KeyCredential, label: String = "first", cost: ScryptCost = .standard,
        graceSeconds: UInt64 = 86_400, options: RepositoryOptions
    ) async throws(RepositoryError) -> Repository {
        do {
            try await refuseExisting(store)
            let now = try await store.serverTime()
            let config = RepositoryConfig(
                repositoryID: try Identifier.random(), created: now, graceSeconds: graceSeconds)
            let encoded = config.encoded()
            let keyring = try Keyring.generate(
                repositoryID: config.repositoryID, configDigest: SHA256State.digest(of: encoded))
            let slot = try KeySlot.create(credential, role: .full, label: label, created: now, cost: cost)
            let table = try KeyTable.create(generation: 1, slots: [slot], keyring: keyring)
            // Keys first: a config without keys would be a repository that nobody can open.
            try await putTable(table, in: store)
            let condition = PutOptions(condition: store.capabilities.createIfAbsent ? .ifAbsent : .none)
            try await store.put(ObjectNames.config, bytes: encoded, options: condition)
            try await store.put(ObjectNames.configCopy, bytes: encoded, options: PutOptions())
            return Repository(
                store: store, config: config, keyring: keyring, slotID: slot.id, keyTable: table, options: options)
        } catch let error as ObjectStorageError where error.code == .preconditionFailed {
            throw RepositoryError(
                .alreadyExists,
                "a repository is being made at \(store.location) by somebody else: use that one; or, if 'init' was interrupted there, remove 'keys' and 'keys-copy' first",
                cause: error)
        } catch {
            throw RepositoryError(error, doing: "cannot create a repository at \(store.location)")
        }
    }

    /// Opens the repository in `store`. Throws `.noRepository`, `.wrongKey`, `.newerVersion`, `.damaged`, `.storage`.
    package static func open(
        store: any ObjectStore, credential: KeyCredential, options: RepositoryOptions
    ) async throws(RepositoryError) -> Repository {
        do {
            let (config, encoded) = try await loadConfig(store, options)
            let (table, keyring, slot) = try await unlock(store, credential, options)
            guard keyring.repositoryID == config.repositoryID else {
                throw RepositoryError(
                    .damaged,
                    "the config of the repository at \(store.location) and its keys belong to different repositories")
            }
            guard keyring.configDigest == SHA256State.digest(of: encoded) else {
                throw RepositoryError(
                    .damaged,
                    "the config of the repository at \(store.location) was replaced: it is not the one that was made with its keys"
                )
            }
            return Repository(
                store: store, config: config, keyring: keyring, slotID: slot.id, keyTable: table, options: options)
        } catch {
            throw RepositoryError(error)
        }
    }

    private static func refuseExisting(_ store: any ObjectStore) async throws {
        for name in [ObjectNames.config, ObjectNames.configCopy] {
            do {
                _ = try await store.head(name)
            } catch {
                guard error.code == .notFound else { throw error }
                continue
            }
            throw RepositoryError(
                .alreadyExists, "there is a repository at \(store.location) already: choose another place, or use it")
        }
    }

    private static func loadConfig(
        _ store: any ObjectStore, _ options: RepositoryOptions
    ) async throws -> (RepositoryConfig, [UInt8]) {
        var first: (any Error)?
        var missing = 0
        for name in [ObjectNames.config, ObjectNames.configCopy] {
            do {
                let bytes = try await store.get(name, maximumBytes: 64 << 10)
                let config = try RepositoryConfig(decoding: bytes)
                if let first { options.logger.warning("using \(name): \(first)") }
                return (config, bytes)
            } catch let error as ObjectStorageError where error.code == .notFound {
                missing += 1
                first = first ?? error
            } catch {
                if let error = error as? FormatError, error.code == .newerVersion { throw error }
                if let error = error as? ObjectStorageError, error.code != .tooLarge { throw error }
                first = error
            }
        }
        if missing == 2 {
            throw RepositoryError(
                .noRepository,
                "there is no repository at \(store.location): check the place, or make one with 'becalm init'")
        }
        throw first.map { RepositoryError($0) } ?? RepositoryError(.noRepository, "no repository at \(store.location)")
    }

    /// Times that the tables are listed when those that were listed are gone: each change of keys removes the ones before it.
    private static let unlockAttempts = 8

    /// The newest table that is whole, from either copy, opened.
    private static func unlock(
        _ store: any ObjectStore, _ credential: KeyCredential, _ options: RepositoryOptions
    ) async throws -> (KeyTable, Keyring, KeySlot) {
        var generations = try await listTables(store)
        var attempt = 1
        while true {
            let missing: (any Error)?
            switch try await open(generations, store, credential, options) {
            case .opened(let table, let keyring, let slot): return (table, keyring, slot)
            case .gone(let error): missing = error
            case .damaged(let error): throw RepositoryError(error)
            }
            let now = try await listTables(store)
            guard now != generations, attempt < unlockAttempts else {
                throw missing.map { RepositoryError($0) }
                    ?? RepositoryError(
                        .damaged,
                        "the repository at \(store.location) has lost its key tables: restore the objects under 'keys/' from a copy"
                    )
            }
            generations = now
            attempt += 1
        }
    }

    /// The generations of the tables that are there.
    private static func listTables(_ store: any ObjectStore) async throws(ObjectStorageError) -> Set<UInt32> {
        var generations = Set<UInt32>()
        for prefix in [ObjectNames.keyTables, ObjectNames.keyTableCopies] {
            for object in try await store.listAll(prefix: prefix) {
                if let generation = ObjectNames.generation(of: object.key) { generations.insert(generation) }
            }
        }
        return generations
    }

    private enum Unlocking {
        case opened(KeyTable, Keyring, KeySlot)
        /// None of them is there any more; nil where there were none.
        case gone((any Error)?)
        case damaged(any Error)
    }

    private static func open(
        _ generations: Set<UInt32>, _ store: any ObjectStore, _ credential: KeyCredential, _ options: RepositoryOptions
    ) async throws -> Unlocking {
        var missing: (any Error)?
        var damage: (any Error)?
        for generation in generations.sorted(by: >) {
            for name in [ObjectNames.keyTable(generation), ObjectNames.keyTableCopy(generation)] {
                do {
                    let table = try KeyTable(decoding: try await store.get(name, maximumBytes: 64 << 20))
                    guard table.generation == generation else {
                        throw FormatError(.damaged, "\(name) holds another generation's table")
                    }
                    let (keyring, slot) = try table.open(credential)
                    if let error = damage ?? missing { options.logger.warning("using \(name): \(error)") }
                    return .opened(table, keyring, slot)
                } catch let error as ObjectStorageError where error.code == .notFound {
                    missing = missing ?? RepositoryError(error)
                } catch let error as FormatError where error.code == .damaged {
                    damage = RepositoryError(error, doing: name)
                }
            }
        }
        return damage.map { .damaged($0) } ?? .gone(missing)
    }

    static func putTable(_ table: KeyTable, in store: any ObjectStore) async throws(ObjectStorageError) {
        let bytes = table.encoded()
        let condition: PutCondition = store.capabilities.createIfAbsent ? .ifAbsent : .none
        try await store.put(
            ObjectNames.keyTable(table.generation), bytes: bytes, options: PutOptions(condition: condition))
        try await store.put(ObjectNames.keyTableCopy(table.generation), bytes: bytes, options: PutOptions())
    }

    /// Throws `.notPermitted`, with a line that names the roles that can, where the key in use cannot do `what`, for which
    /// it needs `ability`.
    package func require(_ ability: KeyRole.Ability, to what: String) throws(RepositoryError) {
        guard !keyring.role.can(ability) else { return }
        throw RepositoryError(.notPermitted, keyring.role.refusal(ability, to: what))
    }

    /// The same over another view of its store, such as one that knows what the store can be trusted with.
    package func using(_ store: any ObjectStore) -> Repository {
        Repository(
            store: store, config: config, keyring: keyring, slotID: slotID, keyTable: keyTable, options: options)
    }

    /// Retention for an object that is stored now, by the options; nil for none.
    func retention(from now: Timestamp) -> Retention? {
        options.retention.map { Retention(mode: $0.mode, until: now.advanced(bySeconds: $0.seconds)) }
    }
}
