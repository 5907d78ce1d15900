internal import Basics
package import Repository
internal import RepositoryFormat

/// Restores a snapshot, or parts of it.
package struct RestoreOperation: Sendable {
    private let repository: Repository
    private let request: RestoreRequest
    private let progress: OperationProgress

    package init(repository: Repository, request: RestoreRequest, progress: OperationProgress) {
        self.repository = repository
        self.request = request
        self.progress = progress
    }

    /// Restores what is asked for, checking every chunk against its id.
    ///
    /// Damage in the repository and files that cannot be written are in the result, not thrown. Throws `RepositoryError`,
    /// `SnapshotError` (`.noSpace`; `.targetNotEmpty` when something is in the way and `overwrite` is nil; for a checkpoint
    /// `.checkpointTorn`), and `RepositoryError` `.noSuchName` or `.ambiguous` when no checkpoint or several are meant.
    package func run() async throws -> RestoreResult {
        let clock = ContinuousClock()
        let began = clock.now
        let snapshot = try await repository.loadSnapshot(request.snapshot)
        let manifest = try snapshot.manifest(to: "restore")
        let index = try await repository.loadIndex()
        let isAll = request.includes.isEmpty && request.checkpoint == nil
        progress.update {
            // Nobody has counted what is below a directory.
            let totals = isAll && request.from.isEmpty ? manifest.totals : SnapshotManifest.Totals()
            $0.filesTotal = totals.files
            $0.bytesTotal = totals.bytes
        }
        let operation = self
        var (result, contentDigest) = try await BlockingBridge.offload(name: "becalm-restore") {
            () -> Result<(RestoreResult, String?), any Error> in
            Result {
                let loader = TreeLoader(repository: operation.repository, index: index)
                if let result = try operation.restoreDevice(snapshot, index, loader) {
                    return (result, result.contentDigest)
                }
                let source = try RestoreSource(snapshot, from: operation.request.from, loader: loader)
                return (try operation.restore(source, index, clock), source.contentDigest)
            }
        }
        let elapsed = (clock.now - began).components
        result.durationSeconds = Double(elapsed.seconds) + Double(elapsed.attoseconds) / 1e18
        let isWhole =
            isAll && result.damaged.isEmpty && result.failed.isEmpty && result.skipped == 0 && result.setAside.isEmpty
        result.contentDigest = isWhole ? contentDigest : nil
        return result
    }

    /// Writes the content of a device onto the target where that is a device; nil where it is a directory, or is to be one.
    private func restoreDevice(
        _ snapshot: ListedSnapshot, _ index: RepositoryIndex, _ loader: TreeLoader
    ) throws -> RestoreResult? {
        let tree = try SnapshotTree(snapshot: snapshot, loader: loader)
        guard let entry = try DeviceRestore.file(of: tree, for: request) else { return nil }
        let totals = tree.manifest.totals
        let isAll = totals.files == 1 && totals.directories == 0
        return try DeviceRestore(repository: repository, request: request, progress: progress, index: index)
            .run(entry, digest: isAll ? tree.manifest.contentDigest : nil)
    }

    /// Blocks. What commits checkpoints comes after the check of all that it stands for.
    private func restore(
        _ source: RestoreSource, _ index: RepositoryIndex, _ clock: ContinuousClock
    ) throws -> RestoreResult {
        let (pages, inventory) = (source.pages, source.inventory)
        let loader = TreeLoader(repository: repository, index: index)
        let selection = try request.checkpoint.map { choice in
            try CheckpointSelection.choose(
                choice, of: request.snapshot, inventory, includes: request.includes, pages: pages, loader: loader)
        }
        let target = try RestoreTarget.open(path: request.target, create: true)
        let plan = try RestorePlan(inventory, pages: pages, loader: loader, target: target, request: request)
        let context = RestoreContext(
            repository: repository, request: request, progress: progress, target: target, plan: plan,
            selection: selection)
        try Self.refuseExisting(context, pages, index)
        let own = try source.directory.flatMap { try Self.changesTarget(context) ? $0 : nil }
        let pass = RestorePass(context: context, index: index, own: own)
        let verifier = RestoreVerifier(context: context, index: index)
        func verify(_ body: () throws -> Void) throws {
            guard request.verify else { return }
            let began = clock.now
            try body()
            context.verified(in: (clock.now - began) / .seconds(1))
        }
        try pass.restore(pages: pages)
        try verify { try verifier.run(pages: pages, except: pass.held) }
        try pass.commit()
        try verify { try verifier.run(pass.committed) }
        return context.outcome
    }

    /// Without a word about overwriting, nothing that exists is touched.
    private static func refuseExisting(_ context: RestoreContext, _ pages: [ChunkID], _ index: RepositoryIndex) throws {
        guard context.request.overwrite == nil, !context.request.resume else { return }
        var walker = TreeWalker(loader: TreeLoader(repository: context.repository, index: index))
        try walker.walk(pages: pages) { path, entry in
            let placed = context.plan.place(path)[0]
            if let there = try context.target.root.type(of: placed),
                !(there == .directory && RestoreTarget.isFileSystemsOwn(path, entry))
            {
                let name = PathText.display(placed)
                let target = PathText.display(context.request.target)
                throw SnapshotError(
                    .targetNotEmpty,
                    "\(target)/\(name) exists already: restore to another directory, go on with --resume, or choose --overwrite if-changed, always or never",
                    path: context.request.target)
            }
            return .skip
        }
    }

    /// Whether the target gets the metadata of the directory that is restored into it: not where it holds something else
    /// that nobody has allowed to be touched, nor where only a part of the directory is wanted.
    private static func changesTarget(_ context: RestoreContext) throws -> Bool {
        let request = context.request
        guard request.includes.isEmpty, context.selection == nil else { return false }
        if request.resume || request.overwrite == .always || request.overwrite == .ifChanged { return true }
        return try context.target.root.names().allSatisfy { $0 == RestoreTarget.lostAndFound }
    }
}
