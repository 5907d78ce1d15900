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
    /// Damage in the repository and files that cannot be written are in the result, not thrown. Throws `RepositoryError`
    /// and `SnapshotError` (`.noSpace`; `.targetNotEmpty` when something is in the way and `overwrite` is nil).
    package func run() async throws -> RestoreResult {
        let clock = ContinuousClock()
        let began = clock.now
        let snapshot = try await repository.loadSnapshot(request.snapshot)
        guard let manifest = snapshot.manifest else {
            throw RepositoryError(.notPermitted, "a writer key cannot restore: use a key of the role 'full'")
        }
        let pages = try manifest.rootPages()
        let index = try await repository.loadIndex()
        progress.update {
            $0.filesTotal = request.includes.isEmpty ? manifest.totals.files : 0
            $0.bytesTotal = request.includes.isEmpty ? manifest.totals.bytes : 0
        }
        let operation = self
        var result = try await BlockingBridge.offload(name: "becalm-restore") {
            () -> Result<RestoreResult, any Error> in
            Result {
                let target = try RestoreTarget.open(path: operation.request.target, create: true)
                let context = RestoreContext(
                    repository: operation.repository, request: operation.request, progress: operation.progress,
                    target: target)
                try Self.refuseExisting(context, pages, index)
                try RestorePass(context: context, index: index).run(pages: pages)
                if operation.request.verify {
                    let restored = clock.now
                    try RestoreVerifier(context: context, index: index).run(pages: pages)
                    context.verified(in: (clock.now - restored) / .seconds(1))
                }
                return context.outcome
            }
        }
        let elapsed = (clock.now - began).components
        result.durationSeconds = Double(elapsed.seconds) + Double(elapsed.attoseconds) / 1e18
        let isWhole = request.includes.isEmpty && result.damaged.isEmpty && result.failed.isEmpty && result.skipped == 0
        result.contentDigest = isWhole ? manifest.contentDigest : nil
        return result
    }

    /// Without a word about overwriting, nothing that exists is touched.
    private static func refuseExisting(_ context: RestoreContext, _ pages: [ChunkID], _ index: RepositoryIndex) throws {
        guard context.request.overwrite == nil, !context.request.resume else { return }
        var walker = TreeWalker(loader: TreeLoader(repository: context.repository, index: index))
        try walker.walk(pages: pages) { path, entry in
            if try context.target.root.type(of: entry.name) != nil {
                let name = PathText.display(entry.name)
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
