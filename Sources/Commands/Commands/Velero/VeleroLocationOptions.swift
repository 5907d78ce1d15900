package import ArgumentParser
internal import ObjectStorage
internal import Orchestration
internal import Snapshots
internal import Velero

/// Which of Velero's locations a command reads, and with which keys.
package struct VeleroLocationOptions: ParsableArguments, Sendable {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "Where Velero keeps its backups: s3://BUCKET/PREFIX, or a directory with a copy of it.", valueName: "place"),
        completion: .directory)
    package var location: String

    @Option(
        name: .long,
        help: ArgumentHelp(
            """
            File with a key that the location's objects are encrypted with, as in the Secret that its config names. May be \
            given several times, for keys of different ages.
            """, valueName: "file"),
        completion: .file())
    package var encryptionKeyFile: [String] = []

    @Flag(
        name: .long,
        help:
            "With a key: read objects that are not encrypted, too. Whoever can write to the bucket can put such there.")
    package var allowUnencrypted = false

    package init() {}

    /// Opens the location for reading.
    func open(_ global: GlobalOptions, _ context: CommandContext) async throws -> BackupLocation {
        var options = global
        options.repository = location
        let place = try RepositoryLocation(options, context)
        let session = RepositorySession(options, context)
        let opened = try await session.factory.open(place, create: false)
        let store = session.decoration.around(ReadOnlyObjectStore(opened.store), capabilities: nil, policy: .brief)
        return BackupLocation(
            store, encryption: ObjectEncryption(keys: try keyring(context), allowsUnencryptedReads: allowUnencrypted))
    }

    private func keyring(_ context: CommandContext) throws -> ObjectKeyring? {
        var keys: [ObjectEncryptionKey] = []
        for file in encryptionKeyFile {
            let path = context.path(file)
            let content = try SystemFiles.read(path, what: "the key", maximumBytes: 64 << 10)
            do throws(SealedObjectError) {
                keys.append(try ObjectEncryptionKey(content, source: "the file \(PathText.display(path))"))
            } catch {
                throw JourneyError(.usage, kind: "invalid_key", error.message, cause: error)
            }
        }
        return keys.first.map { ObjectKeyring($0, previous: Array(keys.dropFirst())) }
    }
}

extension JourneyError {
    /// The user's view of an error from reading Velero's location.
    init(velero error: VeleroError) {
        switch error.cause {
        case let cause as SealedObjectError:
            let (status, kind): (ExitStatus, String) =
                switch cause.code {
                case .unknownKey: (.wrongKey, "wrong_key")
                case .corrupted: (.integrity, "damaged")
                case .notEncrypted: (.integrity, "not_encrypted")
                case .unsupportedVersion: (.failed, "newer_version")
                default: (.usage, "invalid_key")
                }
            self.init(status, kind: kind, Self.words(cause, error), cause: error)
        case let cause as ObjectStorageError:
            self.init(cause)
            // Which object to read was the user's choice.
            if cause.code == .notFound { (status, kind) = (.usage, "not_found") }
            message = error.message
        default:
            let isMissing = error.code == .notFound
            self.init(
                isMissing ? .usage : .failed, kind: isMissing ? "not_found" : "failed", error.message, cause: error)
        }
    }

    /// The remedy is an option here, not a setting.
    private static func words(_ cause: SealedObjectError, _ error: VeleroError) -> String {
        let what = error.message.prefix { $0 != ":" }
        switch cause.code {
        case .unknownKey:
            return "\(what): \(cause.message.prefix { $0 != ";" }); give that key by --encryption-key-file"
        case .notEncrypted:
            return
                "\(what): it is not encrypted, so somebody else may have put it there; --allow-unencrypted reads it all the same"
        default: return error.message
        }
    }

    /// Runs `body`, whose errors become this one.
    static func readingVelero<R>(_ body: () async throws -> R) async throws -> R {
        do {
            return try await body()
        } catch let error as VeleroError {
            throw JourneyError(velero: error)
        }
    }
}
