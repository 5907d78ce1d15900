internal import Basics
internal import ObjectStorage
internal import S3ObjectStorage
internal import Synchronization

/// Sees to it that the key of a location fits what the location holds, before anything is stored there or Velero takes the
/// location for available: with another key, or none, backups would be stored that nobody expects to be so, and those that
/// are there could not be read.
final class LocationKeyCheck: Sendable {
    private let encryption: ObjectEncryption
    /// The location's own prefix, empty or with a slash at its end.
    private let prefix: String
    /// Buckets that were found right.
    private let checked = Mutex<Set<String>>([])

    /// Backups that are looked at until one has its description.
    private static let mostBackups = 4

    init(_ encryption: ObjectEncryption, prefix: String) {
        self.encryption = encryption
        self.prefix = prefix
    }

    /// Looks at the beginning of the newest backup's description, by name, once a process and bucket.
    ///
    /// Throws `accessDenied` when it is encrypted with a key that is not configured. One that is not encrypted says nothing:
    /// encryption may begin with the next backup. A location without backups is right. What keeps the store from answering
    /// is thrown.
    func run(_ store: S3ObjectStore, retrying: any ObjectStore, bucket: String) async throws(VeleroError) {
        guard !checked.withLock({ $0.contains(bucket) }) else { return }
        do throws(ObjectStorageError) {
            let backups = try await store.listCommonPrefixes(prefix: prefix + "backups/", delimiter: "/")
            for backup in backups.sorted().suffix(Self.mostBackups).reversed() {
                let key = backup + "velero-backup.json"
                guard let start = try await Self.start(of: key, retrying) else { continue }
                try check(start, "\(key) in \(store.location)")
                break
            }
        } catch {
            throw VeleroError(error)
        }
        checked.withLock { _ = $0.insert(bucket) }
    }

    private func check(_ start: [UInt8], _ label: String) throws(ObjectStorageError) {
        guard SealedObjectHeader.isSealed(start) else { return }
        do throws(SealedObjectError) {
            let header = try SealedObjectHeader(parsing: start)
            guard encryption.keys?[header.keyID] == nil else { return }
            let have = encryption.keys.map { "what is set is \($0.ids)" } ?? "none is set"
            throw SealedObjectError(
                .unknownKey,
                "this location is encrypted with the key \(header.keyID), and \(have); set encryptionKeySecret or encryptionKeyFile, or the previous ones, to that key"
            )
        } catch {
            throw ObjectStorageError(.accessDenied, "\(label): \(error.message)", cause: error)
        }
    }

    /// As many bytes as tell an encrypted object; nil when there is no such object.
    private static func start(of key: String, _ store: any ObjectStore) async throws(ObjectStorageError) -> [UInt8]? {
        let buffer = Buffer(capacity: SealedObjectHeader.size)
        do throws(ObjectStorageError) {
            _ = try await store.get(
                key, range: 0..<UInt64(SealedObjectHeader.size), into: buffer, maximumBytes: SealedObjectHeader.size)
            return buffer.array()
        } catch {
            // An empty object has no such range.
            guard error.code == .notFound || error.code == .invalidArgument else { throw error }
            return nil
        }
    }
}
