internal import Basics
internal import ObjectStorage
package import RepositoryFormat
internal import Sealing

extension Repository {
    /// The slots, in the order they were made.
    package var slots: [KeySlot] { keyTable.slots }

    /// Adds a slot that `credential` opens with `role`. Throws `.notPermitted`, `.busy`, and `.alreadyExists` when the
    /// credential opens a slot already: only the first of two would ever be used.
    package func addSlot(
        _ credential: KeyCredential, role: KeyRole, label: String, cost: ScryptCost = .standard
    ) async throws(RepositoryError) -> Repository {
        try await change("add a key") { now in
            if let known = try self.slot(openedBy: credential) { throw Self.alreadyOpens(known) }
            let slot = try KeySlot.create(credential, role: role, label: label, created: now, cost: cost)
            return (self.keyTable.slots + [slot], self.keyring)
        }
    }

    /// The slot that `credential` opens; nil for none.
    private func slot(openedBy credential: KeyCredential) throws(FormatError) -> KeySlot? {
        do throws(FormatError) { return try keyTable.open(credential).slot } catch {
            if error.code == .wrongKey { return nil }
            throw error
        }
    }

    private static func alreadyOpens(_ slot: KeySlot) -> RepositoryError {
        RepositoryError(
            .alreadyExists,
            "key slot \(slot.id) opens with this already: give another password, key file or public key, or remove that slot first"
        )
    }

    /// Adds a slot for the holder of the private key to `recipient`. Throws as `addSlot` does.
    package func addRecipient(
        _ recipient: [UInt8], role: KeyRole, label: String
    ) async throws(RepositoryError) -> Repository {
        try await change("add a key") { now in
            if let known = self.keyTable.slots.first(where: { $0.isOpened(byOwnerOf: recipient) }) {
                throw Self.alreadyOpens(known)
            }
            let slot = try KeySlot.create(
                recipient: X25519PublicKey(bytes: recipient), role: role, label: label, created: now)
            return (self.keyTable.slots + [slot], self.keyring)
        }
    }

    /// Removes the slot whose id begins with `prefix`. Throws `.noSuchName`, `.ambiguous`, `.invalidArgument` for the last full one.
    package func removeSlot(_ prefix: String) async throws(RepositoryError) -> Repository {
        try await change("remove a key") { _ in
            let matching = self.keyTable.slots.filter { !prefix.isEmpty && $0.id.hasPrefix(prefix) }
            guard let slot = matching.first, matching.count == 1 else {
                throw RepositoryError(
                    matching.isEmpty ? .noSuchName : .ambiguous,
                    "'\(prefix)' names \(counted(matching.count, "key slot")): 'becalm key list' shows them")
            }
            let rest = self.keyTable.slots.filter { $0.id != slot.id }
            guard rest.contains(where: { $0.role == .full }) else {
                throw RepositoryError(
                    .invalidArgument, "key slot \(slot.id) is the last with the role 'full': add another one first")
            }
            return (rest, self.keyring)
        }
    }

    /// Replaces the credential of the slot in use.
    package func replaceOwnSlot(
        with credential: KeyCredential, cost: ScryptCost = .standard
    ) async throws(RepositoryError) -> Repository {
        try await change("change a key") { now in
            guard let own = self.keyTable.slots.first(where: { $0.id == self.slotID }) else {
                throw RepositoryError(
                    .busy, "key slot \(self.slotID) is gone: somebody else changed the keys, try again")
            }
            let slot = try KeySlot.create(credential, role: own.role, label: own.label, created: now, cost: cost)
            return (self.keyTable.slots.map { $0.id == own.id ? slot : $0 }, self.keyring)
        }
    }

    /// Begins a new epoch: what is written from now on is sealed under keys that no earlier writer or copy of a keyring
    /// has. What is stored stays readable under the old ones.
    package func rotateKeys() async throws(RepositoryError) -> Repository {
        try await change("rotate the keys") { _ in (self.keyTable.slots, try self.keyring.rotated()) }
    }

    /// One change of the key table: the next generation is created if absent, then older ones are removed.
    private func change(
        _ what: String, _ body: (Timestamp) throws -> ([KeySlot], Keyring)
    ) async throws(RepositoryError) -> Repository {
        do {
            try require(.manage, to: what)
            let (slots, keyring) = try body(try await store.serverTime())
            let table = try KeyTable.create(generation: keyTable.generation + 1, slots: slots, keyring: keyring)
            do {
                try await Repository.putTable(table, in: store)
            } catch {
                guard error.code == .preconditionFailed else { throw error }
                throw RepositoryError(
                    .busy, "cannot \(what): somebody else changed the keys of \(store.location) meanwhile, try again",
                    cause: error)
            }
            try await refuseOvertaken(table, what)
            try await removeTables(olderThan: table.generation)
            return Repository(
                store: store, config: config, keyring: keyring, slotID: slotID, keyTable: table, options: options)
        } catch {
            throw RepositoryError(error, doing: "cannot \(what)")
        }
    }

    private func removeTables(olderThan generation: UInt32) async throws(ObjectStorageError) {
        for prefix in [ObjectNames.keyTables, ObjectNames.keyTableCopies] {
            for object in try await store.listAll(prefix: prefix) {
                guard let other = ObjectNames.generation(of: object.key), other < generation else { continue }
                try await store.delete(object.key, ifTag: nil)
            }
        }
    }

    /// Puts what is missing of the config, the key table and their copies in its place, and removes the tables of before:
    /// what an interrupted change of keys, or somebody who deleted one, has left. What is there is left as it is.
    ///
    /// Throws what the store throws.
    func completeHead() async throws(ObjectStorageError) {
        let condition: PutCondition = store.capabilities.createIfAbsent ? .ifAbsent : .none
        let (config, table) = (config.encoded(), keyTable.encoded())
        for (name, bytes) in [
            (ObjectNames.config, config), (ObjectNames.configCopy, config),
            (ObjectNames.keyTable(keyTable.generation), table), (ObjectNames.keyTableCopy(keyTable.generation), table),
        ] {
            do {
                _ = try await store.head(name)
            } catch {
                guard error.code == .notFound else { throw error }
                do {
                    try await store.put(name, bytes: bytes, options: PutOptions(condition: condition))
                } catch {
                    // Somebody else has just done it.
                    guard error.code == .preconditionFailed else { throw error }
                }
            }
        }
        try await removeTables(olderThan: keyTable.generation)
    }

    /// Throws `.busy`, and takes the table back, when somebody has made a later one: ours began from one that is no more.
    private func refuseOvertaken(_ table: KeyTable, _ what: String) async throws {
        for prefix in [ObjectNames.keyTables, ObjectNames.keyTableCopies] {
            for object in try await store.listAll(prefix: prefix) {
                guard let generation = ObjectNames.generation(of: object.key), generation > table.generation else {
                    continue
                }
                let bytes: [UInt8]
                do {
                    bytes = try await store.get(object.key, maximumBytes: 64 << 20)
                } catch {
                    guard error.code == .notFound || error.code == .tooLarge else { throw error }
                    continue
                }
                do throws(FormatError) {
                    guard try KeyTable(decoding: bytes).repositoryID == config.repositoryID else { continue }
                } catch {
                    // What is no table is no later one; what a later version wrote is.
                    guard error.code == .newerVersion else { continue }
                }
                try await store.delete(ObjectNames.keyTable(table.generation), ifTag: nil)
                try await store.delete(ObjectNames.keyTableCopy(table.generation), ifTag: nil)
                throw RepositoryError(
                    .busy, "cannot \(what): somebody else changed the keys of \(store.location) meanwhile, try again")
            }
        }
    }
}
