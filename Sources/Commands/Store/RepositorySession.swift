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
    /// What the repository is opened for.
    package enum Purpose: Sendable {
        /// Nothing in the store is changed, so that read-only media will do.
        case reading
        /// A store that was never probed from this machine is probed first.
        case writing
    }

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

    /// The cache directory; nil for none.
    var cacheDirectory: FilePath? {
        let chosen = options.cacheDir ?? context.variable("BECALM_CACHE_DIR")
        if chosen == "none" { return nil }
        if let chosen { return StoreFactory.filePath(context.path(chosen)) }
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

    /// Opens the repository: first contact, then the key, then, for writing, what the store can be trusted with.
    ///
    /// A place without a repository, or without the retention that is asked for, is told before anybody is asked for a
    /// password.
    package func open(
        _ purpose: Purpose, retention: RepositoryOptions.RetentionPolicy? = nil
    ) async throws -> Repository {
        let repositoryOptions = try repositoryOptions(retention: retention)
        let location = try location
        let opened = try await factory.open(location, create: false)
        let first = factory.decorated(opened.store, capabilities: nil, policy: .brief)
        guard try await RepositoryAccess.holdsRepository(first) else {
            throw JourneyError(
                .noRepository, kind: "no_repository",
                "there is no repository at \(opened.store.location): check the place, or make one with 'becalm init'")
        }
        if retention != nil { try await factory.requireRetention(opened) }
        let credential = try await credential()
        let capabilities = try await capabilities(opened, purpose: purpose)
        let store = factory.decorated(opened.store, capabilities: capabilities, policy: .patient)
        return try await RepositoryAccess(store: store, credential: credential, options: repositoryOptions).open()
    }

    /// Makes the repository.
    package func create(label: String, graceSeconds: UInt64) async throws -> Repository {
        let repositoryOptions = try repositoryOptions()
        let location = try location
        let opened = try await factory.open(location, create: true)
        let first = factory.decorated(opened.store, capabilities: nil, policy: .brief)
        guard try await !RepositoryAccess.holdsRepository(first) else {
            throw JourneyError(
                .failed, kind: "already_exists",
                "there is a repository at \(opened.store.location) already: choose another place, or use it")
        }
        if let stranger = try await stranger(at: location) {
            throw JourneyError(
                .failed, kind: "directory_in_use",
                "\(location.text) holds other things (\(stranger)): a repository needs a directory of its own, so name an empty or a new one"
            )
        }
        let credential = try await credential(isNew: true)
        let capabilities = try await probe(opened)
        let store = factory.decorated(opened.store, capabilities: capabilities, policy: .patient)
        return try await RepositoryAccess(store: store, credential: credential, options: repositoryOptions)
            .create(label: label, graceSeconds: graceSeconds)
    }

    /// The name of something in the directory that no run of 'init' has left there; nil for none, and for a bucket.
    func stranger(at location: RepositoryLocation) async throws -> String? {
        guard case .directory(let path) = location else { return nil }
        return try await BlockingBridge.offload(name: "becalm-files") {
            Result { () -> String? in
                guard let names = SystemFiles.names(in: path) else { return nil }
                return names.first { !Self.leftovers.contains(String(decoding: $0, as: UTF8.self)) }
                    .map { PathText.display($0) }
            }
        }
    }

    /// What an interrupted 'init' or 'doctor' leaves, and what a file system has in its root.
    private static let leftovers: Set<String> = [".tmp~", "probe", "keys", "keys-copy", "lost+found"]

    /// The credential in use, found on a thread that may block.
    func credential(isNew: Bool = false) async throws -> KeyCredential {
        let (options, context) = (options, context)
        return try await BlockingBridge.offload(name: "becalm-key") {
            Result { try Credentials(context: context).present(options, isNew: isNew) }
        }
    }

    /// What is known of the store: remembered, or for writing found out now; nil takes the store's word.
    private func capabilities(_ opened: StoreFactory.Opened, purpose: Purpose) async throws -> StoreCapabilities? {
        let memory = memory
        let known = try await BlockingBridge.offload(name: "becalm-cache") { Result { memory.load(opened.identity) } }
        if let known { return known }
        return purpose == .writing ? try await probe(opened) : nil
    }

    /// Probes the store and remembers the verdict; nil when the credentials do not allow it. Throws for a store that no
    /// backup should rely on.
    private func probe(_ opened: StoreFactory.Opened) async throws -> StoreCapabilities? {
        let store = factory.decorated(opened.store, capabilities: nil, policy: .brief)
        let report: CapabilityProbe.Report
        do {
            report = try await CapabilityProbe(clock: context.clock).run(on: store)
        } catch {
            guard error.code == .accessDenied || error.code == .locked else { throw error }
            logger.warning(
                "the store cannot be tested, for not all of it is allowed; it is taken at its word: \(error)")
            return nil
        }
        if let broken = report.findings.first(where: { $0.severity == .broken }) {
            throw JourneyError(.failed, kind: "unsafe_store", "\(opened.store.location): \(broken)")
        }
        for finding in report.findings { logger.warning("\(opened.store.location): \(finding)") }
        let memory = memory
        try await BlockingBridge.offload(name: "becalm-cache") {
            Result { memory.store(report.capabilities, opened.identity) }
        }
        return report.capabilities
    }
}
