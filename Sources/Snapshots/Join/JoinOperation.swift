internal import Basics
internal import Logging
package import Repository
internal import RepositoryFormat
internal import Sealing

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// Makes one snapshot of several: no file's content is read or written, and the joined one needs none of its parts.
package struct JoinOperation: Sendable {
    private let repository: Repository
    private let request: JoinRequest
    private let progress: OperationProgress
    /// Passes at the most, when data that a pass relied on is collected under it.
    private static let attempts = 4

    static let cancelled = RepositoryError(
        .cancelled, "the join was interrupted: its parts are as they were, join them again")

    package init(repository: Repository, request: JoinRequest, progress: OperationProgress) {
        self.repository = repository
        self.request = request
        self.progress = progress
    }

    /// Joins the parts and commits the snapshot. The parts stay: forget them when it is there.
    ///
    /// Throws `RepositoryError` (`.notPermitted` without the role `full`, `.noSuchName` where a part or the directory in it is
    /// not there, `.damaged` where one lacks something, `.cancelled`) and `SnapshotError` (`.invalidArgument`,
    /// `.alreadyExists` where parts have different files at one path).
    package func run() async throws -> JoinResult {
        try check()
        let clock = ContinuousClock()
        let began = clock.now
        var index = try await repository.loadIndex(recovering: true)
        var attempt = 1
        while true {
            let parts = try await loadParts()
            let session = try await WriteSession.begin(repository, index: index)
            do {
                return try await pass(session, parts) { (clock.now - began) / .seconds(1) }
            } catch let error as RepositoryError where error.code == .collectedMeanwhile && attempt < Self.attempts {
                repository.options.logger.warning("pass \(attempt) of the join is done again: \(error)")
                await session.heartbeatEnd()
                let missing = session.index.missing
                index = try await repository.loadIndex(recovering: true)
                index.markMissing(missing)
                attempt += 1
            } catch {
                await session.abandon()
                throw error
            }
        }
    }

    private func check() throws {
        try repository.require(.manage, to: "look into snapshots and store the one that joins them")
        guard !request.parts.isEmpty, !request.paths.isEmpty else {
            throw SnapshotError(.invalidArgument, "nothing to join: name snapshots, and what they are of")
        }
        guard request.parts.count <= JoinRequest.mostParts else {
            throw SnapshotError(
                .invalidArgument,
                "\(request.parts.count) snapshots are too many to join at once: at most \(JoinRequest.mostParts)")
        }
        for part in request.parts {
            guard part.place.count < TreeWalker.maximumDepth else {
                throw SnapshotError(.invalidArgument, "a place is over \(TreeWalker.maximumDepth) directories deep")
            }
            for name in part.place {
                if let problem = EntryName.problem(name) {
                    throw SnapshotError(
                        .invalidArgument, "\(StatePath.text(part.place)) is no place in a snapshot: \(problem)",
                        path: StatePath.key(part.place))
                }
            }
        }
    }

    /// The snapshots of all parts.
    private func loadParts() async throws -> [ListedSnapshot] {
        var loaded: [Identifier: ListedSnapshot] = [:]
        for id in request.parts.map(\.snapshot) where loaded[id] == nil {
            do {
                loaded[id] = try await repository.loadSnapshot(id)
            } catch {
                guard error.isMissingObject else { throw error }
                throw RepositoryError(
                    .noSuchName, "snapshot \(id) is not there to be joined: it was forgotten, or never was",
                    cause: error)
            }
        }
        return request.parts.compactMap { loaded[$0.snapshot] }
    }

    private func pass(
        _ session: WriteSession, _ parts: [ListedSnapshot], _ duration: @escaping @Sendable () -> Double
    ) async throws -> JoinResult {
        let (request, progress, repository) = (request, progress, repository)
        let manifests = parts.compactMap(\.manifest)
        progress.update { status in
            status = OperationProgress.Status(isCancelled: status.isCancelled)
            guard request.parts.allSatisfy(\.from.isEmpty) else { return }
            status.filesTotal = manifests.reduce(0) { $0 &+ $1.totals.files }
            status.bytesTotal = manifests.reduce(0) { $0 &+ $1.totals.bytes }
        }
        let time = request.time ?? manifests.map(\.timestamp).min() ?? repository.options.clock.now()
        let shards = try JoinShards(request.parts, manifests)
        let outcome = try await BlockingBridge.offload(name: "becalm-join") {
            () -> Result<JoinPass.Outcome, any Error> in
            Result {
                let loader = TreeLoader(repository: repository, index: session.index)
                let place = try Self.place(request.parts, parts, loader)
                var pass = try JoinPass(
                    session: session, loader: loader, parts: request.parts, shards: shards,
                    plain: Self.plainDirectory(time),
                    progress: progress)
                return try pass.run(place)
            }
        }
        let source = SnapshotChain.source(host: request.host, paths: request.paths)
        let before = repository.chainEnd(
            try await repository.listSnapshots(), source: SnapshotChain(source: source, counter: 0, predecessor: nil))
        let told = JoinedTelling(request.parts, manifests, shards, outcome.dropped)
        let manifest = SnapshotManifest(
            time: time, host: request.host, user: request.user, paths: request.paths, tags: request.tags,
            root: outcome.root.pages, contentDigest: outcome.root.treeDigest, totals: outcome.totals, parent: nil,
            supersedes: nil, problems: told.problems, inventory: told.inventory, standstill: request.standstill,
            durationSeconds: duration(), program: request.program)
        let chain = SnapshotChain(
            source: source, counter: (before?.object.chain.counter ?? 0) + 1,
            predecessor: before.map { .init(id: $0.id, digest: $0.object.digest) })
        if progress.isCancelled { throw Self.cancelled }
        let committed = try await session.commit(manifest, chain: chain)
        return JoinResult(
            snapshot: committed.id, manifest: manifest, parts: Set(request.parts.map(\.snapshot)).sorted(),
            counters: session.progress, durationSeconds: duration())
    }

    /// The tree of places with what comes into each. Blocks.
    private static func place(
        _ parts: [JoinPart], _ snapshots: [ListedSnapshot], _ loader: TreeLoader
    ) throws -> JoinPlace {
        var root = JoinPlace()
        for (position, (part, snapshot)) in zip(parts, snapshots).enumerated() {
            let tree = try SnapshotTree(snapshot: snapshot, loader: loader)
            if let file = try tree.entry(at: part.from), file.metadata.type == .regular {
                guard root.add(file, of: position, at: part.place[...]) else {
                    throw SnapshotError(
                        .invalidArgument,
                        "\(StatePath.text(part.from)) in snapshot \(snapshot.id.description.prefix(12)) is a file: name the place that it is to have"
                    )
                }
                continue
            }
            let source = try RestoreSource(snapshot, from: part.from, loader: loader)
            let directory = PartDirectory(
                part: position, pages: source.pages, metadata: source.directory,
                digest: source.contentDigest.flatMap { Digest(hex: $0) })
            root.add(directory, at: part.place[...])
        }
        return root
    }

    /// What a directory above the places is like: as if whoever joins had just made it.
    private static func plainDirectory(_ time: Timestamp) -> FileMetadata {
        let owners = OwnerNames()
        let (user, group) = (geteuid(), getegid())
        return FileMetadata(
            type: .directory, permissions: 0o755, userID: user, groupID: group, userName: owners.userName(user),
            groupName: owners.groupName(group), modified: time, changed: time, linkCount: 2)
    }
}
