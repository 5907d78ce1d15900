internal import Basics
internal import Logging
internal import ObjectStorage
package import Orchestration
package import Repository
internal import RepositoryFormat
internal import Snapshots
internal import SystemPackage

/// The way from options to an opened repository.
package struct RepositorySession: Sendable {
    let options: GlobalOptions
    let context: CommandContext
    let logger: Logger

    package init(_ options: GlobalOptions, _ context: CommandContext) {
        self.options = options
        self.context = context
        logger = options.logger(context.console)
    }

    /// Where the repository is.
    package var location: RepositoryLocation {
        get throws(JourneyError) { try RepositoryLocation(options, context) }
    }

    var factory: StoreFactory {
        StoreFactory(options: options, environment: context.environment, logger: logger)
    }

    /// What is put around the store.
    var decoration: StoreDecoration {
        StoreDecoration(
            connections: options.connections, uploadBytesPerSecond: options.limitUpload?.bytes,
            downloadBytesPerSecond: options.limitDownload?.bytes, logger: logger)
    }

    /// The cache directory; nil for none.
    var cacheDirectory: FilePath? {
        let chosen = options.cacheDir ?? context.variable("BECALM_CACHE_DIR")
        if chosen == "none" { return nil }
        if let chosen { return SystemFiles.filePath(context.path(chosen)) }
        if let root = context.variable("XDG_CACHE_HOME"), root.hasPrefix("/") {
            return FilePath(root).appending("becalm")
        }
        return context.variable("HOME").map { FilePath($0).appending(".cache").appending("becalm") }
    }

    var memory: CapabilityMemory { CapabilityMemory(directory: cacheDirectory, logger: logger) }

    /// The repository's options. Throws a usage error for a memory that is too small.
    package func repositoryOptions(
        retention: RepositoryOptions.RetentionPolicy? = nil
    ) throws(JourneyError) -> RepositoryOptions {
        if let memory = options.memory, memory.bytes < MemoryPlan.minimumBytes {
            throw .usage("--memory takes at least \(Format.bytes(UInt64(MemoryPlan.minimumBytes)))")
        }
        return RepositoryOptions(
            memoryBytes: options.memory?.bytes, connections: options.connections,
            compression: options.compression?.mode ?? .zstd(level: 1), cacheDirectory: cacheDirectory,
            retention: retention, clock: context.clock, logger: logger)
    }

    /// The way to a repository in a store that was opened.
    private func opening(
        _ opened: OpenedStore, retention: RepositoryOptions.RetentionPolicy? = nil
    ) throws(JourneyError) -> RepositoryOpening {
        RepositoryOpening(
            opened: opened, decoration: decoration, memory: memory,
            options: try repositoryOptions(retention: retention))
    }

    /// Opens the repository. A place without a repository, or without the retention that is asked for, is told before
    /// anybody is asked for a password.
    package func open(
        _ purpose: RepositoryOpening.Purpose, retention: RepositoryOptions.RetentionPolicy? = nil
    ) async throws -> Repository {
        // Options that make no sense are told before the store is asked anything.
        _ = try repositoryOptions(retention: retention)
        let opened = try await factory.open(try location, create: false)
        return try await opening(opened, retention: retention).open(
            purpose, check: { if retention != nil { try await factory.requireRetention(opened) } },
            credential: { try await credential() })
    }

    /// Opens the repository as often as it is called, each time as it is then, with a credential that is asked for once.
    /// Places and options that make no sense are told now.
    func opener(
        _ purpose: RepositoryOpening.Purpose
    ) async throws -> @Sendable () async throws -> Repository {
        _ = try repositoryOptions()
        let opening = try opening(try await factory.open(try location, create: false))
        let once = OnceAsked { try await self.credential() }
        return { try await opening.open(purpose) { try await once.credential() } }
    }

    /// Makes the repository.
    package func create(label: String, graceSeconds: UInt64) async throws -> Repository {
        _ = try repositoryOptions()
        let location = try location
        let opened = try await factory.open(location, create: true)
        return try await opening(opened).create(
            label: label, graceSeconds: graceSeconds,
            check: {
                guard let stranger = try await stranger(at: location) else { return }
                throw JourneyError(
                    .failed, kind: "directory_in_use",
                    "\(location.text) holds other things (\(stranger)): a repository needs a directory of its own, so name an empty or a new one"
                )
            },
            credential: { try await credential(isNew: true) })
    }

    /// The name of something in the directory that no run of 'init' has left there; nil for none, and for a bucket.
    func stranger(at location: RepositoryLocation) async throws -> String? {
        guard case .directory(let path) = location else { return nil }
        return try await RepositoryOpening.stranger(in: path)
    }

    /// The credential in use, found on a thread that may block.
    func credential(isNew: Bool = false) async throws -> KeyCredential {
        let (options, context) = (options, context)
        return try await BlockingBridge.offload(name: "becalm-key") {
            Result { try Credentials(context: context).present(options, isNew: isNew) }
        }
    }
}

/// A credential that is asked for when it is first needed, and kept.
private actor OnceAsked {
    private let ask: @Sendable () async throws -> KeyCredential
    private var known: KeyCredential?

    init(_ ask: @escaping @Sendable () async throws -> KeyCredential) { self.ask = ask }

    func credential() async throws -> KeyCredential {
        if let known { return known }
        let credential = try await ask()
        known = credential
        return credential
    }
}
