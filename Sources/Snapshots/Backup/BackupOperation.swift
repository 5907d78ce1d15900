internal import Basics
internal import Logging
package import Repository
internal import RepositoryFormat
internal import Sealing

/// Takes a snapshot.
package struct BackupOperation: Sendable {
    private let repository: Repository
    private let request: BackupRequest
    private let progress: OperationProgress
    /// Passes over the sources at the most, when data that a pass relied on is collected under it.
    private static let attempts = 4
    /// Passes at the most when a job's checkpoints are rotated away faster than they are read.
    private static let statePasses = 3

    /// The complete checkpoints in a directory changed while they were read, and no other is stored.
    private struct BereftOfCheckpoints: Error {
        /// In the snapshot.
        var directory: String
    }

    package init(repository: Repository, request: BackupRequest, progress: OperationProgress) {
        self.repository = repository
        self.request = request
        self.progress = progress
    }

    /// Backs the sources up and commits the snapshot.
    ///
    /// Throws `RepositoryError` (`.cancelled` after an interruption, with what was stored kept for the next run),
    /// `.notPermitted` with a reader key),
    /// `SnapshotError` (`.invalidArgument`, `.sourceMissing` when none of the sources is there) and, only where complete
    /// checkpoints are required, `IncompleteState`.
    package func run() async throws -> BackupResult {
        try checkNames()
        // Told before anything is read or judged.
        try repository.require(.write, to: "back up")
        let clock = ContinuousClock()
        let began = clock.now
        let (request, progress) = (request, progress)
        try await BlockingBridge.offload(name: "becalm-judge") {
            Result { try StateWatch.requireComplete(request) { try BackupContext.check(progress) } }
        }
        let started = repository.options.clock.now()
        var index = try await repository.loadIndex(recovering: true)
        var attempt = 1
        while true {
            let session = try await WriteSession.begin(repository, index: index)
            do {
                return try await pass(session, started, isLast: attempt >= Self.statePasses) {
                    let elapsed = (clock.now - began).components
                    return Double(elapsed.seconds) + Double(elapsed.attoseconds) / 1e18
                }
            } catch let error as RepositoryError where error.code == .collectedMeanwhile && mayRepeat(attempt) {
                repository.options.logger.warning("pass \(attempt) of the backup is done again: \(error)")
                await session.heartbeatEnd()
                let missing = session.index.missing
                index = try await repository.loadIndex(recovering: true)
                index.markMissing(missing)
                attempt += 1
            } catch let error as BereftOfCheckpoints {
                // What was stored is found again: this pass is quicker, and what was saved meanwhile is there.
                repository.options.logger.notice(
                    "pass \(attempt) of the backup is done again: the checkpoints in \(error.directory) changed under it"
                )
                await session.heartbeatEnd()
                index = try await repository.loadIndex(recovering: true)
                attempt += 1
            } catch {
                await session.abandon()
                throw error
            }
        }
    }

    /// Whether sources may be read once more: those that were held still while they were read may be running by now.
    private func mayRepeat(_ attempt: Int) -> Bool { attempt < Self.attempts && request.whenRead == nil }

    /// Finds bases in the snapshot that was asked for, or in the last one and on the disk. Throws `.noSuchName`.
    private func bases(
        _ listing: SnapshotListing, _ parentPages: [ChunkID], _ loader: TreeLoader
    ) throws -> BaseFinder? {
        let logger = repository.options.logger
        switch request.bases {
        case .none: return nil
        case .parent:
            return BaseFinder(loader: loader, pages: parentPages, disk: DiskTree(request), logger: logger)
        case .snapshot(let id):
            guard let snapshot = listing.snapshots.first(where: { $0.id == id }) else {
                throw RepositoryError(.noSuchName, "there is no snapshot \(id): 'becalm snapshots' lists them")
            }
            // A writer key reads no snapshot: what it can have is on the disk.
            guard let pages = try snapshot.manifest?.rootPages() else {
                return BaseFinder(loader: loader, pages: [], disk: DiskTree(request), logger: logger)
            }
            return BaseFinder(loader: loader, pages: pages, disk: nil, logger: logger)
        }
    }

    private func checkNames() throws(SnapshotError) {
        guard !request.paths.isEmpty else { throw SnapshotError(.invalidArgument, "nothing to back up: name a path") }
        var names = Set<[UInt8]>()
        for path in request.paths {
            guard path.first == 0x2f else {
                throw SnapshotError(.invalidArgument, "\(PathText.display(path)) is no absolute path", path: path)
            }
            guard names.insert(SourceWalker.rootName(path)).inserted else {
                throw SnapshotError(
                    .invalidArgument,
                    "two sources are called \(PathText.display(SourceWalker.rootName(path))): back them up separately, or a directory above both",
                    path: path)
            }
        }
    }

    /// The last link of a chain.
    private func newest(of source: Digest, _ listing: SnapshotListing) -> ListedSnapshot? {
        repository.chainEnd(listing, source: SnapshotChain(source: source, counter: 0, predecessor: nil))
    }

    private func pass(
        _ session: WriteSession, _ started: Timestamp, isLast: Bool, _ duration: @escaping @Sendable () -> Double
    ) async throws -> BackupResult {
        progress.update { $0 = OperationProgress.Status(isCancelled: $0.isCancelled) }
        let paths = request.paths.map { PathText.display($0) }
        let source = SnapshotChain.source(host: request.host, paths: paths)
        let listing = try await repository.listSnapshots()
        let whole = newest(of: source, listing)
        // Shards are told apart, so that they run side by side; each builds on the last snapshot of everything.
        let ownSource = request.shard.map { SnapshotChain.source(host: request.host, paths: paths + ["shard \($0)"]) }
        let chained = ownSource.map { newest(of: $0, listing) } ?? whole
        // A writer key cannot read the parent's tree: it reads every file, and stores only what is new.
        let parent = whole?.manifest == nil ? nil : whole
        let journal = try await BackupJournal.open(session, source: ownSource ?? source)
        let context = try BackupContext(session: session, request: request, progress: progress, journal: journal)
        let loader = TreeLoader(repository: repository, index: session.index)
        let parentPages = try parent?.manifest?.rootPages() ?? []
        let outcome = try await BlockingBridge.offload(name: "becalm-walk") {
            () -> Result<BackupPass.Outcome, any Error> in
            Result {
                let bases = try bases(listing, parentPages, loader)
                return try BackupPass(context: context, parentPages: parentPages, loader: loader).run(bases: bases)
            }
        }
        if let directory = context.states.bereft {
            guard isLast else { throw BereftOfCheckpoints(directory: directory) }
            context.note(
                Array(directory.utf8),
                "no complete checkpoint in it is in the snapshot: each changed while it was read; exclude more, or have more of them kept"
            )
        }
        if request.requiresComplete, let state = context.states.incomplete { throw state }
        let problems = context.notedProblems
        guard outcome.sourcesFound > 0 else {
            throw SnapshotError(
                .sourceMissing,
                problems.first.map { PathText.about($0.path, $0.message) } ?? "none of the sources is there")
        }
        let totals = outcome.totals
        if let first = problems.first, totals.files == 0, totals.directories == 0, totals.bytes == 0 {
            throw SnapshotError(
                .sourceUnreadable, "nothing could be read, no snapshot is made: \(first.path): \(first.message)")
        }
        let inventory = request.judging == nil ? nil : context.states.inventory(problems)
        let standstill = try await request.whenRead?(inventory)
        let manifest = SnapshotManifest(
            time: started, host: request.host, user: request.user, paths: paths, tags: request.tags,
            root: outcome.root.pages, contentDigest: outcome.root.treeDigest, totals: outcome.totals,
            parent: parent?.id, supersedes: nil, problems: problems,
            inventory: inventory, shard: request.shard, standstill: standstill, durationSeconds: duration(),
            program: request.program)
        let chain = SnapshotChain(
            source: ownSource ?? source, counter: (chained?.object.chain.counter ?? 0) + 1,
            predecessor: chained.map { .init(id: $0.id, digest: $0.object.digest) })
        let committed = try await session.commit(manifest, chain: chain)
        do {
            try await journal.remove()
        } catch {
            repository.options.logger.debug("a journal stays for the collector: \(error)")
        }
        return BackupResult(
            snapshot: committed.id, manifest: manifest, unreadable: context.notedUnreadable, counters: session.progress,
            durationSeconds: duration())
    }
}
