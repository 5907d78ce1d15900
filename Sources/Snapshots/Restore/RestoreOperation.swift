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
        guard let manifest = snapshot.manifest else {
            throw RepositoryError(.notPermitted, "a writer key cannot restore: use a key of the role 'full'")
        }
        let pages = try manifest.rootPages()
        let index = try await repository.loadIndex()
        let isAll = request.includes.isEmpty && request.checkpoint == nil
        progress.update {
            $0.filesTotal = isAll ? manifest.totals.files : 0
            $0.bytesTotal = isAll ? manifest.totals.bytes : 0
        }
        let operation = self
        var result = try await BlockingBridge.offload(name: "becalm-restore") {
            () -> Result<RestoreResult, any Error> in
            Result { try operation.restore(manifest, pages, index, clock) }
        }
        let elapsed = (clock.now - began).components
        result.durationSeconds = Double(elapsed.seconds) + Double(elapsed.attoseconds) / 1e18
        let isWhole =
            isAll && result.damaged.isEmpty && result.failed.isEmpty && result.skipped == 0 && result.setAside.isEmpty
        result.contentDigest = isWhole ? manifest.contentDigest : nil
        return result
    }

    /// Blocks. What commits checkpoints comes after the check of all that it stands for.
    private func restore(
        _ manifest: SnapshotManifest, _ pages: [ChunkID], _ index: RepositoryIndex, _ clock: ContinuousClock
    ) throws -> RestoreResult {
        let loader = TreeLoader(repository: repository, index: index)
        let selection = try request.checkpoint.map { choice in
            try CheckpointSelection.choose(
                choice, of: request.snapshot, manifest.inventory, includes: request.includes, pages: pages,
                loader: loader)
        }
        let target = try RestoreTarget.open(path: request.target, create: true)
        let plan = try RestorePlan(manifest.inventory, pages: pages, loader: loader, target: target, request: request)
        let context = RestoreContext(
            repository: repository, request: request, progress: progress, target: target, plan: plan,
            selection: selection)
        try Self.refuseExisting(context, pages, index)
        let pass = RestorePass(context: context, index: index)
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
            if try context.target.root.type(of: placed) != nil {
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
}
