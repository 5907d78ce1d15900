internal import Checkpoints
package import Repository
package import Snapshots

/// Takes a snapshot. A cancelled one throws `cancelled` and keeps what it has stored, for the next run to build on.
///
/// Checkpoints, models and caches are judged as they are met: what is being written is left out and named in the
/// manifest's inventory.
package struct BackupJourney: Sendable {
    private let repository: Repository
    private let request: BackupRequest
    private let progress: OperationProgress

    /// The request's `judging` is set here.
    package init(repository: Repository, request: BackupRequest, progress: OperationProgress) {
        self.repository = repository
        self.request = request
        self.progress = progress
    }

    /// Runs it. A result with `isPartial` was committed but lacks what its manifest's problems name. Throws
    /// `checkpoint_incomplete` where only complete ones were asked for and one is not.
    package func run() async throws(JourneyError) -> BackupResult {
        var request = request
        request.judging = .standard
        return try await JourneyError.mapping {
            try await BackupOperation(repository: repository, request: request, progress: progress).run()
        }
    }
}
