internal import HTTPTransport
internal import Logging
internal import ObjectStorage
internal import S3ObjectStorage
internal import Synchronization

/// `becalm.io/s3`: Velero's backups in a bucket on Amazon S3 or a server that speaks its language, call by call as Velero's
/// plugin for AWS does it, with bounded memory and, where a key is configured, encrypted before it is sent.
///
/// All calls of a process share one set of connections and one set of credentials.
package final class S3ObjectStorePlugin: ObjectStorePlugin {
    /// For calls that Velero waits for with nothing else to do: a wrong address should be told before the minute is over in
    /// which Velero looks again.
    private static let callPolicy = RetryPolicy.brief
    /// For parts and ranges of a stream that has cost work already.
    private static let streamPolicy = RetryPolicy(
        maximumAttempts: 30, totalSeconds: 300, baseSeconds: 0.25, maximumDelaySeconds: 15)
    /// Keys that a list may have: Velero lists what one backup or restore has stored.
    private static let maximumKeys = 1_000_000
    /// Buckets that one process works with: Velero names one.
    private static let maximumBuckets = 16

    private let configuration: ObjectStoreConfiguration
    private let storeConfiguration: S3Configuration
    private let transport: any HTTPTransport
    private let credentials: any CredentialProvider
    private let encryption: ObjectEncryption
    private let keyCheck: LocationKeyCheck
    private let environment: PluginEnvironment
    private let stores = Mutex<[String: S3ObjectStore]>([:])

    private init(
        _ configuration: ObjectStoreConfiguration, _ storeConfiguration: S3Configuration,
        encryption: ObjectEncryption, transport: any HTTPTransport, credentials: any CredentialProvider,
        environment: PluginEnvironment
    ) {
        self.configuration = configuration
        self.storeConfiguration = storeConfiguration
        self.encryption = encryption
        keyCheck = LocationKeyCheck(encryption, prefix: configuration.prefix.isEmpty ? "" : configuration.prefix + "/")
        self.transport = transport
        self.credentials = credentials
        self.environment = environment
    }

    /// The object store for what Velero's `Init` says.
    ///
    /// Reads files, and Secrets where the configuration names some; the S3 server is not spoken to. Throws
    /// `invalidArgument` for a configuration that makes no sense, `accessDenied` for credentials that are not complete, and
    /// what reading a key throws.
    package static func open(
        config: [String: String], environment: PluginEnvironment, secrets: (any SecretSource)? = nil
    ) async throws(VeleroError) -> S3ObjectStorePlugin {
        let configuration = try ObjectStoreConfiguration(config)
        let keys = KeyReader(secrets: secrets ?? InClusterSecrets(environment))
        try await configuration.checkCredentialsFile()
        var customerKey: [UInt8]?
        if let source = configuration.customerKey {
            customerKey = try await keys.read(source, for: "the customer key for the server's encryption")
        }
        let encryption = ObjectEncryption(
            keys: try await keys.keyring(configuration), allowsUnencryptedReads: configuration.allowsUnencryptedReads)
        let variables = configuration.credentialVariables(environment)
        let storeConfiguration = try await configuration.storeConfiguration(variables, customerKey: customerKey)
        do {
            let transport = try CurlTransport(storeConfiguration.transport)
            let credentials = try await CredentialChain.provider(
                flags: configuration.flags, environment: variables, transport: transport, clock: environment.clock,
                logger: environment.logger)
            return S3ObjectStorePlugin(
                configuration, storeConfiguration, encryption: encryption, transport: transport,
                credentials: credentials,
                environment: environment)
        } catch let error as ObjectStorageError {
            throw VeleroError(error)
        } catch {
            throw VeleroError(.failed, "the object store cannot be opened: \(error)", cause: error)
        }
    }

    // MARK: Calls

    package func beginUpload(bucket: String, key: String) async throws(VeleroError) -> any ObjectUpload {
        let store = try store(bucket)
        try await keyCheck.run(store, retrying: try retrying(bucket, Self.streamPolicy), bucket: bucket)
        let upload: S3Upload
        do throws(ObjectStorageError) {
            upload = try S3Upload(store, key: key, retrier: retrier(Self.streamPolicy))
        } catch {
            throw VeleroError(error)
        }
        let protected = try encryption.protecting(StoredUpload(upload: upload), name: configuration.relativeName(key))
        return ArchiveUpload.isNeeded(key) ? ArchiveUpload(protected, label: "\(key) in \(store.location)") : protected
    }

    package func beginDownload(bucket: String, key: String) async throws(VeleroError) -> any ObjectDownload {
        let store = try retrying(bucket, Self.streamPolicy)
        let reader: ObjectReader
        do throws(ObjectStorageError) {
            reader = try await ObjectReader.open(store, key: key)
        } catch {
            throw VeleroError(error)
        }
        return try await encryption.reading(
            reader, name: configuration.relativeName(key), label: "\(key) in \(store.location)")
    }

    package func exists(bucket: String, key: String) async throws(VeleroError) -> Bool {
        let store = try retrying(bucket, Self.callPolicy)
        do throws(ObjectStorageError) {
            _ = try await store.head(key)
            return true
        } catch {
            guard error.code != .notFound else { return false }
            throw VeleroError(error)
        }
    }

    package func commonPrefixes(
        bucket: String, delimiter: String, prefix: String
    ) async throws(VeleroError) -> [String] {
        let store = try store(bucket)
        // Without a delimiter nothing is in common, and S3 answers so.
        guard !delimiter.isEmpty else { return [] }
        // Velero looks at a location in this way before it takes it for available.
        try await keyCheck.run(store, retrying: try retrying(bucket, Self.callPolicy), bucket: bucket)
        do throws(ObjectStorageError) {
            let found = try await retrier(Self.callPolicy).run("list", prefix, in: store.location) {
                (_) throws(ObjectStorageError) in
                try await store.listCommonPrefixes(prefix: prefix, delimiter: delimiter)
            }
            return found.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        } catch {
            throw VeleroError(error)
        }
    }

    package func keys(bucket: String, prefix: String) async throws(VeleroError) -> [String] {
        let store = try retrying(bucket, Self.callPolicy)
        var keys: [String] = []
        var token: String?
        do throws(ObjectStorageError) {
            repeat {
                let page = try await store.list(prefix: prefix, token: token)
                keys += page.objects.map(\.key)
                token = page.next
                guard keys.count <= Self.maximumKeys else {
                    throw ObjectStorageError(
                        .tooLarge,
                        "cannot list \(prefix)* in \(store.location): it has more than \(Self.maximumKeys) objects")
                }
            } while token != nil
        } catch {
            throw VeleroError(error)
        }
        // Objects before the "directory" that some servers list as an object of its own: Velero deletes in this order.
        return keys.sorted { $1.utf8.lexicographicallyPrecedes($0.utf8) }
    }

    package func delete(bucket: String, key: String) async throws(VeleroError) {
        let store = try retrying(bucket, Self.callPolicy)
        do throws(ObjectStorageError) {
            try await store.delete(key, ifTag: nil)
        } catch {
            throw VeleroError(error)
        }
    }

    package func signedURL(bucket: String, key: String, seconds: Int) async throws(VeleroError) -> String {
        let store = try store(bucket)
        do throws(ObjectStorageError) {
            return try await retrier(Self.callPolicy).run("sign", key, in: store.location) {
                (_) throws(ObjectStorageError) in try await store.presignedURL(.get, key, seconds: seconds)
            }
        } catch {
            throw VeleroError(error)
        }
    }

    // MARK: Parts

    /// The store of a bucket, made once.
    private func store(_ bucket: String) throws(VeleroError) -> S3ObjectStore {
        let known = stores.withLock { $0[bucket] }
        if let known { return known }
        var configuration = storeConfiguration
        do throws(ObjectStorageError) {
            configuration.location = try S3Location(bucket: bucket)
        } catch {
            throw VeleroError(error)
        }
        let made = S3ObjectStore(
            configuration, transport: transport, credentials: credentials, clock: environment.clock,
            logger: environment.logger)
        return try stores.withLock { stores throws(VeleroError) in
            if let other = stores[bucket] { return other }
            guard stores.count < Self.maximumBuckets else {
                throw VeleroError(.invalidArgument, "more than \(Self.maximumBuckets) buckets were named to one plugin")
            }
            stores[bucket] = made
            return made
        }
    }

    private func retrying(_ bucket: String, _ policy: RetryPolicy) throws(VeleroError) -> any ObjectStore {
        RetryingObjectStore(try store(bucket), policy: policy, onRetry: noteRetry)
    }

    private func retrier(_ policy: RetryPolicy) -> Retrier { Retrier(policy: policy, onRetry: noteRetry) }

    /// At `info`: a warning would be counted as the backup's.
    private var noteRetry: @Sendable (Retrier.Notice) -> Void {
        let logger = environment.logger
        return { notice in
            logger.info(
                "a request failed and is tried again",
                metadata: [
                    "attempt": "\(notice.attempts)", "seconds": "\(notice.delaySeconds)", "reason": "\(notice.error)",
                ])
        }
    }
}
