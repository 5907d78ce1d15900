internal import Kubernetes
package import ObjectStorage

/// What Velero keeps in a location, read without Velero: its layout is that of Velero's `pkg/persistence`.
package struct BackupLocation: Sendable {
    /// A backup as its own record tells it.
    package struct Backup: Sendable {
        package var name: String
        /// `Completed`, `PartiallyFailed` and so on; nil when it does not say or cannot be read.
        package var phase: String?
        package var started: String?
        package var expires: String?
        package var errors: Int64 = 0
        package var warnings: Int64 = 0
        /// Items that were backed up.
        package var items: Int64?
        /// The id of the key that the record is encrypted with; nil when it is not.
        package var keyID: String?
        /// Bytes of all its objects as they are stored.
        package var storedBytes: UInt64
        /// Why the record cannot be read; nil when it can.
        package var problem: VeleroError?
    }

    /// Bytes of a backup's record that are taken; the API server takes 1.5 MiB of any object.
    private static let maximumRecordBytes = 16 << 20

    private let store: any ObjectStore
    private let encryption: ObjectEncryption

    /// The location in a store whose keys are relative to it. `store` retries by itself.
    package init(_ store: any ObjectStore, encryption: ObjectEncryption) {
        self.store = store
        self.encryption = encryption
    }

    /// All backups, by name. One whose record cannot be read says why. Throws when the location cannot be listed.
    package func backups() async throws(VeleroError) -> [Backup] {
        var sizes: [String: UInt64] = [:]
        var records: Set<String> = []
        for object in try await list("backups/") {
            let parts = object.key.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 3, !parts[1].isEmpty else { continue }
            sizes[parts[1], default: 0] += object.size
            if parts[2] == "velero-backup.json" { records.insert(parts[1]) }
        }
        var backups: [Backup] = []
        for (name, size) in sizes.sorted(by: { $0.key < $1.key }) {
            var backup = Backup(name: name, storedBytes: size)
            if records.contains(name) {
                try await readRecord(&backup)
            } else {
                backup.problem = VeleroError(
                    .notFound,
                    "backups/\(name) in \(store.location) has no velero-backup.json: it was not stored to its end")
            }
            backups.append(backup)
        }
        return backups
    }

    /// The objects of a backup. Throws `notFound` when there is no such backup.
    package func objects(ofBackup name: String) async throws(VeleroError) -> [ObjectAttributes] {
        let objects = name.isEmpty || name.contains("/") ? [] : try await list("backups/\(name)/")
        guard !objects.isEmpty else {
            throw VeleroError(.notFound, "there is no backup \(Shown.quoted(name)) in \(store.location)")
        }
        return objects
    }

    /// Opens an object for reading, decrypted if it is encrypted.
    package func open(_ key: String) async throws(VeleroError) -> any ObjectDownload {
        try await encryption.reading(reader(key), name: key, label: "\(key) in \(store.location)")
    }

    private func reader(_ key: String) async throws(VeleroError) -> ObjectReader {
        do throws(ObjectStorageError) {
            return try await ObjectReader.open(store, key: key)
        } catch {
            throw VeleroError(error)
        }
    }

    private func list(_ prefix: String) async throws(VeleroError) -> [ObjectAttributes] {
        do throws(ObjectStorageError) {
            return try await store.listAll(prefix: prefix)
        } catch {
            throw VeleroError(error)
        }
    }

    /// Fills in what the record tells. Throws what concerns the store; what concerns this backup goes to `problem`.
    private func readRecord(_ backup: inout Backup) async throws(VeleroError) {
        let key = "backups/\(backup.name)/velero-backup.json"
        let label = "\(key) in \(store.location)"
        let reader = try await reader(key)
        let first = try await reader.next()
        if let first, SealedObjectHeader.isSealed(first) {
            backup.keyID = try? SealedObjectHeader(parsing: first).keyID
        }
        do throws(VeleroError) {
            // That it is not encrypted shows in the list, and nothing of it is used.
            let lenient = ObjectEncryption(keys: encryption.keys, allowsUnencryptedReads: true)
            let download = try await lenient.reading(ResumedDownload(reader, first: first), name: key, label: label)
            var bytes: [UInt8] = []
            while let piece = try await download.next() {
                bytes += piece
                guard bytes.count <= Self.maximumRecordBytes else {
                    await download.close()
                    throw VeleroError(.failed, "\(label) has more than \(Self.maximumRecordBytes) bytes")
                }
            }
            try Self.parse(bytes, label, into: &backup)
        } catch {
            guard error.cause is SealedObjectError || error.code == .failed else { throw error }
            backup.problem = error
        }
    }

    private static func parse(_ bytes: [UInt8], _ label: String, into backup: inout Backup) throws(VeleroError) {
        let record: JSONValue
        do throws(JSONError) {
            record = try JSONValue(parsing: bytes)
        } catch {
            throw VeleroError(.failed, "\(label) is no JSON: \(error)", cause: error)
        }
        let status = record.object?["status"]?.object
        backup.phase = status?["phase"]?.string
        backup.started = status?["startTimestamp"]?.string
        backup.expires = status?["expiration"]?.string
        backup.errors = status?["errors"]?.int64 ?? 0
        backup.warnings = status?["warnings"]?.int64 ?? 0
        backup.items = status?["progress"]?.object?["itemsBackedUp"]?.int64
    }
}
