internal import Basics
internal import Logging
internal import ObjectStorage
package import Repository
package import RepositoryFormat
internal import Snapshots

/// The way from a store to a repository in it, which the command line and Velero's plugins share: first contact, then
/// the key and what it may do, then, for writing, what the store can be trusted with.
package struct RepositoryOpening: Sendable {
    /// What the repository is opened for.
    package enum Purpose: Sendable {
        /// Nothing in the store is changed, so that read-only media will do.
        case reading
        /// A store that was never probed from this machine is probed first, unless the key cannot do `what` anyway: a
        /// reader's is refused before anything is written.
        case writing(to: String)
        /// As for writing, with a key of the role `full` only.
        case managing(to: String)

        /// What the key must be able to do, and for what; nil where that shows later.
        fileprivate var need: (ability: KeyRole.Ability, what: String)? {
            switch self {
            case .reading: nil
            case .writing(let what): (.write, what)
            case .managing(let what): (.manage, what)
            }
        }
    }

    package var opened: OpenedStore
    package var decoration: StoreDecoration
    package var memory: CapabilityMemory
    package var options: RepositoryOptions

    package init(
        opened: OpenedStore, decoration: StoreDecoration, memory: CapabilityMemory, options: RepositoryOptions
    ) {
        self.opened = opened
        self.decoration = decoration
        self.memory = memory
        self.options = options
    }

    /// Whether there is a repository, as far as one can see without a key.
    package func holdsRepository() async throws -> Bool {
        try await RepositoryAccess.holdsRepository(
            decoration.around(opened.store, capabilities: nil, policy: .brief))
    }

    /// Opens the repository.
    ///
    /// A place without a repository, or one that `check` throws for, is told before anybody is asked for a `credential`.
    /// Throws `not_permitted` for a key that cannot do what it is opened for, and what `RepositoryAccess.open`, the store and
    /// the two closures throw.
    package func open(
        _ purpose: Purpose, check: () async throws -> Void = {}, credential: () async throws -> KeyCredential
    ) async throws -> Repository {
        guard try await holdsRepository() else {
            throw JourneyError(
                .noRepository, kind: "no_repository",
                "there is no repository at \(opened.store.location): check the place, or make one with 'becalm init'")
        }
        try await check()
        let credential = try await credential()
        let (memory, identity) = (memory, opened.identity)
        let known = try await BlockingBridge.offload(name: "becalm-cache") { Result { memory.load(identity) } }
        let repository = try await access(credential, known).open()
        guard let need = purpose.need else { return repository }
        try await JourneyError.mapping { try repository.require(need.ability, to: need.what) }
        guard known == nil, let found = try await probe() else { return repository }
        return repository.using(decorated(found))
    }

    /// Makes the repository. What `check` throws is told before anybody is asked for a `credential`. Throws
    /// `already_exists` where there is one.
    package func create(
        label: String, graceSeconds: UInt64, check: () async throws -> Void = {},
        credential: () async throws -> KeyCredential
    ) async throws -> Repository {
        guard try await !holdsRepository() else {
            throw JourneyError(
                .failed, kind: "already_exists",
                "there is a repository at \(opened.store.location) already: choose another place, or use it")
        }
        try await check()
        let credential = try await credential()
        let capabilities = try await probe()
        return try await access(credential, capabilities).create(label: label, graceSeconds: graceSeconds)
    }

    /// The name of something in the directory at `path` that no run of 'init' has left there; nil for none.
    package static func stranger(in path: [UInt8]) async throws -> String? {
        try await BlockingBridge.offload(name: "becalm-files") {
            Result { () -> String? in
                guard let names = SystemFiles.names(in: path) else { return nil }
                return names.first { !leftovers.contains(String(decoding: $0, as: UTF8.self)) }
                    .map { PathText.display($0) }
            }
        }
    }

    /// What an interrupted 'init' or 'doctor' leaves, and what a file system has in its root.
    private static let leftovers: Set<String> = [".tmp~", "probe", "keys", "keys-copy", "lost+found"]

    private func access(_ credential: KeyCredential, _ capabilities: StoreCapabilities?) -> RepositoryAccess {
        RepositoryAccess(store: decorated(capabilities), credential: credential, options: options)
    }

    /// The store with what a repository wants around it; `capabilities` nil takes the store's word.
    private func decorated(_ capabilities: StoreCapabilities?) -> any ObjectStore {
        decoration.around(opened.store, capabilities: capabilities, policy: .patient)
    }

    /// Probes the store and remembers the verdict; nil when the credentials do not allow it. Throws for a store that no
    /// backup should rely on.
    private func probe() async throws -> StoreCapabilities? {
        let store = decoration.around(opened.store, capabilities: nil, policy: .brief)
        let logger = options.logger
        let report: CapabilityProbe.Report
        do {
            report = try await CapabilityProbe(clock: options.clock).run(on: store)
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
        let (memory, identity) = (memory, opened.identity)
        try await BlockingBridge.offload(name: "becalm-cache") {
            Result { memory.store(report.capabilities, identity) }
        }
        return report.capabilities
    }
}
