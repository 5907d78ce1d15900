internal import Basics
internal import HTTPTransport
internal import Logging
internal import ObjectStorage
internal import Orchestration
internal import Repository
internal import RepositoryFormat
internal import S3ObjectStorage
internal import Snapshots

/// Opens the repository that a location names, anew for each call: nothing is kept from one to the next.
struct VolumeRepository: Sendable {
    let configuration: VolumesConfiguration
    let environment: PluginEnvironment
    /// Nil where there is no cluster to ask.
    let secrets: (any SecretSource)?

    /// Requests to the store at once: each takes up to 2.5 MiB of libcurl's own buffers.
    private static let connections = 4
    /// Threads that compute, at the most: each has a compressor of its own, and Velero's server has one processor by
    /// default.
    private static let mostProcessors = 4
    /// How long garbage of a repository that is made here waits for its collection: a day, as `becalm init` has it.
    private static let graceSeconds: UInt64 = 86_400

    /// Opens it for writing a snapshot, or for what `purpose` says, or makes it where that was asked for.
    func openForSnapshot(
        _ purpose: RepositoryOpening.Purpose = .writing(to: "store a volume")
    ) async throws -> Repository {
        do {
            return try await opening().open(purpose, credential: credential)
        } catch {
            guard configuration.createsRepository, !Self.isPlaceMissing(error),
                JourneyError(error).status == .noRepository
            else { throw error }
        }
        do {
            let repository = try await opening().create(
                label: "velero", graceSeconds: Self.graceSeconds, check: checkRoom, credential: credential)
            environment.logger.info("made repository \(repository.config.repositoryID) at \(repository.store.location)")
            return repository
        } catch {
            // Somebody else has made it in the meantime.
            guard JourneyError(error).kind == "already_exists" else { throw error }
            return try await opening().open(purpose, credential: credential)
        }
    }

    /// Opens it, which must be the one that `snapshot` is in.
    func open(for snapshot: VolumeSnapshotID) async throws -> Repository {
        let repository = try await opening().open(.reading, credential: credential)
        guard repository.config.repositoryID == snapshot.repository else {
            throw VeleroError(
                .notFound,
                "the snapshot is in repository \(snapshot.repository), and \(repository.store.location) holds \(repository.config.repositoryID): name the other one in the location's config"
            )
        }
        return repository
    }

    /// Opens it to remove `snapshot`; nil when there is no repository any more, or another one. Throws for a directory or
    /// bucket that is not there, which may only be not mounted, or misspelt.
    func openForRemoval(of snapshot: VolumeSnapshotID) async throws -> Repository? {
        let opening = try await opening()
        guard try await opening.holdsRepository() else {
            // A bucket that is not there looks like an object that is not: asked for a list, the server tells them apart.
            _ = try await opening.opened.store.list(prefix: "", token: nil)
            return nil
        }
        let repository = try await opening.open(.managing(to: "remove a snapshot"), credential: credential)
        return repository.config.repositoryID == snapshot.repository ? repository : nil
    }

    /// Whether there is not even the directory or bucket that a repository would be in.
    private static func isPlaceMissing(_ error: any Error) -> Bool {
        var error: (any Error)? = error
        while let present = error {
            switch present {
            case let present as ObjectStorageError:
                if present.code == .noSuchBucket { return true }
                error = present.cause
            case let present as JourneyError: error = present.cause
            case let present as RepositoryError: error = present.cause
            default: error = nil
            }
        }
        return false
    }

    private func checkRoom() async throws {
        guard case .directory(let path) = configuration.place,
            let stranger = try await RepositoryOpening.stranger(in: path)
        else { return }
        throw JourneyError(
            .failed, kind: "directory_in_use",
            "\(PathText.display(path)) holds other things (\(stranger)): a repository needs a directory of its own")
    }

    private func opening() async throws -> RepositoryOpening {
        let logger = environment.logger
        // A warning would count as one of Velero's backup; an attempt that is made again is none.
        let decoration = StoreDecoration(connections: Self.connections, logger: logger, retryLevel: .info)
        let options = RepositoryOptions(
            memoryBytes: MemoryPlan.minimumBytes, processors: min(SystemLimits.processors, Self.mostProcessors),
            connections: Self.connections, cacheDirectory: configuration.cacheDirectory, clock: environment.clock,
            logger: logger)
        return RepositoryOpening(
            opened: try await openStore(), decoration: decoration,
            memory: CapabilityMemory(directory: configuration.cacheDirectory, logger: logger), options: options)
    }

    private func openStore() async throws -> OpenedStore {
        switch configuration.place {
        // Never made here: where a volume is not mounted it would be made in the container, and go with it.
        case .directory(let path): return try await .directory(path, create: false)
        case .s3(let location):
            let variables = variables
            let settings = try await S3Configuration.resolve(location, flags: flags, environment: variables)
            var transport = settings.transport
            if let pem = configuration.s3.caCert { transport.authorities = .systemAnd(pem: Array(pem.utf8)) }
            if configuration.s3.skipsVerification { transport.authorities = .anyone }
            let curl = try CurlTransport(transport)
            let credentials = try await CredentialChain.provider(
                flags: flags, environment: variables, transport: curl, logger: environment.logger)
            let store = S3ObjectStore(
                settings, transport: curl, credentials: credentials, clock: environment.clock,
                logger: environment.logger)
            return OpenedStore(store: store, identity: "\(location) at \(store.endpoint)")
        }
    }

    private var flags: S3Configuration.Flags {
        var flags = S3Configuration.Flags()
        flags.endpoint = configuration.s3.url
        flags.region = configuration.s3.region
        flags.usesPathStyle = configuration.s3.usesPathStyle
        flags.profile = configuration.s3.profile
        return flags
    }

    /// The variables for credentials: a file that the location names is read as credentials and as config, and stands
    /// above a role of the pod, as the AWS plugin has it.
    private var variables: [String: String] {
        var variables = environment.variables
        guard let file = configuration.s3.credentialsFile else { return variables }
        variables["AWS_SHARED_CREDENTIALS_FILE"] = file
        variables["AWS_CONFIG_FILE"] = file
        for name in ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME"] { variables[name] = nil }
        return variables
    }

    // MARK: The key

    /// What opens the repository, read anew: Secrets and files may have been replaced.
    private func credential() async throws -> KeyCredential {
        switch configuration.key {
        case .key(let source): return try Self.key(try await read(source), "\(source)")
        case .password(let source):
            return try KeyMaterial.password(KeyMaterial.line(try await read(source)), source: "\(source)")
        }
    }

    /// A key file's bytes, or a private key of `becalm key generate`.
    private static func key(_ content: [UInt8], _ source: String) throws(JourneyError) -> KeyCredential {
        if content.starts(with: "# A private key for becalm".utf8) || content.starts(with: "becalm-secret-".utf8) {
            return try IdentityText.credential(content, file: source)
        }
        return try KeyMaterial.keyFile(content, source: source)
    }

    private func read(_ source: KeySource) async throws -> [UInt8] {
        switch source {
        case .file(let path):
            return try await BlockingBridge.offload(name: "becalm-key") {
                Result { try SystemFiles.read(Array(path.utf8), what: "the repository's key:") }
            }
        case .secret(let name, let key):
            guard let secrets else {
                throw VeleroError(
                    .invalidArgument,
                    "the repository's key, \(source), cannot be read here: mount it, and name the file in repositoryKeyFile or repositoryPasswordFile"
                )
            }
            return try await secrets.value(ofSecret: name, key: key)
        }
    }
}
