internal import Basics
internal import Logging
internal import ObjectStorage
package import RepositoryFormat
internal import Sealing

/// What became of snapshots that were to be forgotten.
package struct ForgetReport: Hashable, Sendable {
    /// Removed: their data goes with the next collections.
    package var removed: [Identifier] = []
    /// Kept by the store under retention; named by the record all the same, try again later.
    package var locked: [Identifier] = []
    /// There were no such snapshots.
    package var missing: [Identifier] = []

    package init() {}
}

extension Repository {
    /// Removes snapshots on purpose: first a record that says so, then the manifests. Their data stays until a collection.
    ///
    /// A snapshot that cannot be read may be forgotten too; the record then names its object's digest and no source.
    /// Throws `.notPermitted` without the role `full`, `.storage`. May be interrupted anywhere and run again.
    package func forget(_ ids: [Identifier]) async throws(RepositoryError) -> ForgetReport {
        do {
            try require(.manage, to: "forget snapshots")
            var report = ForgetReport()
            var present: [ForgottenRecord.Snapshot] = []
            for id in Set(ids).sorted() {
                if let snapshot = try await describeForForgetting(id) {
                    present.append(snapshot)
                } else {
                    report.missing.append(id)
                }
            }
            guard !present.isEmpty else { return report }
            try await putForgotten(ForgottenRecord(snapshots: present))
            for snapshot in present {
                do {
                    try await store.delete(ObjectNames.snapshot(snapshot.id), ifTag: nil)
                    report.removed.append(snapshot.id)
                } catch {
                    guard error.code == .locked else { throw error }
                    options.logger.warning("snapshot \(snapshot.id) stays: \(error)")
                    report.locked.append(snapshot.id)
                }
            }
            return report
        } catch {
            throw RepositoryError(error, doing: "cannot forget snapshots")
        }
    }

    private func describeForForgetting(_ id: Identifier) async throws -> ForgottenRecord.Snapshot? {
        let bytes: [UInt8]
        do {
            bytes = try await store.get(ObjectNames.snapshot(id), maximumBytes: SnapshotObject.maximumBytes)
        } catch {
            if error.code == .notFound { return nil }
            guard error.code == .tooLarge else { throw error }
            bytes = []
        }
        do {
            let object = try SnapshotObject(id: id, decoding: bytes, keyring: keyring)
            return .init(
                id: id, digest: object.digest, source: object.chain.source, counter: object.chain.counter)
        } catch {
            guard error.code == .damaged else { throw error }
            guard let none = Digest(bytes: [UInt8](repeating: 0, count: Digest.size)) else { throw error }
            return .init(id: id, digest: SHA256State.digest(of: bytes), source: none, counter: 0)
        }
    }

    /// Stores a record of forgotten snapshots under a new name.
    func putForgotten(_ record: ForgottenRecord) async throws {
        let id = try Identifier.random()
        let condition: PutCondition = store.capabilities.createIfAbsent ? .ifAbsent : .none
        try await store.put(
            ObjectNames.forgottenRecord(id), bytes: try record.encoded(id: id, keyring: keyring),
            options: PutOptions(condition: condition))
    }

    /// All records of forgotten snapshots, and those that cannot be read.
    func loadForgotten() async throws -> (
        records: [Identifier: ForgottenRecord], damage: [RepositoryIndex.DamagedObject]
    ) {
        var records: [Identifier: ForgottenRecord] = [:]
        var damage: [RepositoryIndex.DamagedObject] = []
        for object in try await store.listAll(prefix: ObjectNames.forgotten) {
            guard let id = ObjectNames.identifier(of: object.key, under: ObjectNames.forgotten) else { continue }
            do {
                let bytes = try await store.get(object.key, maximumBytes: 256 << 20)
                records[id] = try ForgottenRecord(decoding: bytes, id: id, keyring: keyring)
            } catch let error as ObjectStorageError {
                guard error.code == .notFound else { throw error }
            } catch let error as FormatError {
                guard error.code == .damaged else { throw error }
                damage.append(.init(object: object.key, message: error.message))
            }
        }
        return (records, damage)
    }
}
