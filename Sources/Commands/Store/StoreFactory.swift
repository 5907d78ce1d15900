internal import Logging
package import ObjectStorage
internal import Orchestration
internal import S3ObjectStorage
internal import Snapshots
internal import SystemPackage

/// Builds the store of a location: the only place that knows which kinds there are.
package struct StoreFactory: Sendable {
    /// A store as it comes, without decorators.
    package struct Opened: Sendable {
        package var store: any ObjectStore
        /// The same for the same place, whoever asks: what is remembered of the store is filed under it.
        package var identity: String
        /// What `doctor` tells of it: name and value.
        package var facts: [(name: String, value: String)]
    }

    let options: GlobalOptions
    let environment: [String: String]
    let logger: Logger

    /// Opens the store; with `create` makes its directory, whose parent must be there. Throws what the stores throw.
    func open(_ location: RepositoryLocation, create: Bool) async throws -> Opened {
        switch location {
        case .directory(let path): try await openDirectory(path, create: create)
        case .s3(let text): try await openS3(text)
        }
    }

    private func openDirectory(_ path: [UInt8], create: Bool) async throws -> Opened {
        if create, SystemFiles.canonical(Array(path[..<(path.lastIndex(of: UInt8(ascii: "/")) ?? 0)]) + [0x2f]) == nil {
            throw JourneyError(
                .noRepository, kind: "no_such_directory",
                "cannot make a repository at \(PathText.display(path)): the directory that it would be in does not exist; make it, or mount what should be there"
            )
        }
        let store: DirectoryObjectStore
        do {
            store = try await DirectoryObjectStore(root: Self.filePath(path), create: create)
        } catch {
            guard error.code == .noSuchBucket else { throw error }
            throw JourneyError(.noRepository, kind: "no_repository", error.message, cause: error)
        }
        let identity = "directory \(PathText.display(path))"
        return Opened(
            store: store, identity: identity, facts: [("kind", "directory"), ("path", PathText.display(path))])
    }

    private func openS3(_ text: String) async throws -> Opened {
        var flags = S3Configuration.Flags()
        flags.endpoint = options.endpoint
        flags.region = options.region
        flags.usesPathStyle = options.pathStyle
        let location = try S3Location.parse(text)
        let store = try await S3ObjectStore.open(location, flags: flags, environment: environment, logger: logger)
        return Opened(
            store: store, identity: "\(location) at \(store.endpoint)",
            facts: [
                ("kind", "S3"), ("bucket", location.bucket), ("prefix", location.prefix), ("endpoint", store.endpoint),
                ("region", store.region), ("credentials", "\(store.credentialSource)"),
            ])
    }

    /// Throws a usage error unless the store can keep objects under retention, as far as it tells.
    func requireRetention(_ opened: Opened) async throws {
        var canRetain = opened.store.capabilities.retention
        if canRetain, let bucket = opened.store as? S3ObjectStore { canRetain = try await bucket.readLockSupport() }
        guard !canRetain else { return }
        throw JourneyError(
            .usage, kind: "no_object_lock",
            "\(opened.store.location) cannot keep objects under retention: leave --lock-for out, or use a bucket that was made with Object Lock"
        )
    }

    /// The store with everything around it that all commands want; `capabilities` are what is known to hold.
    ///
    /// From the inside: every attempt is logged; requests and bytes are bounded; what the store lacks is made up for; and
    /// what may pass is tried again.
    func decorated(
        _ store: any ObjectStore, capabilities: StoreCapabilities?, policy: RetryPolicy
    ) -> any ObjectStore {
        let logger = logger
        var limits = ThrottledObjectStore.Limits()
        limits.requests = 1...max(64, options.connections)
        limits.initialRequests = max(limits.initialRequests, options.connections)
        limits.uploadBytesPerSecond = options.limitUpload?.bytes
        limits.downloadBytesPerSecond = options.limitDownload?.bytes
        let throttled = ThrottledObjectStore(LoggingObjectStore(store, logger: logger), limits: limits)
        let base: any ObjectStore =
            capabilities.map { ProbedObjectStore(throttled, capabilities: $0) } ?? throttled
        return RetryingObjectStore(base, policy: policy) { notice in
            logger.warning(
                "attempt \(notice.attempts) failed, the next is in \(Format.duration(notice.delaySeconds)): \(notice.error)"
            )
        }
    }

    static func filePath(_ path: [UInt8]) -> FilePath {
        (path.prefix { $0 != 0 }.map { CChar(bitPattern: $0) } + [0]).withUnsafeBufferPointer { text in
            text.baseAddress.map { FilePath(platformString: $0) } ?? FilePath()
        }
    }
}
