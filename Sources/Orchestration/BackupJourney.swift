package import Repository
package import Snapshots

/// Takes a snapshot. A cancelled one throws `cancelled` and keeps what it has stored, for the next run to build on.
package struct BackupJourney: Sendable {
    private let repository: Repository
    private let request: BackupRequest
    private let progress: OperationProgress

    package init(repository: Repository, request: BackupRequest, progress: OperationProgress) {
        self.repository = repository
        self.request = request
        self.progress = progress
    }

    /// Runs it. A result with `isPartial` was committed but lacks what its manifest's problems name.
    package func run() async throws(JourneyError) -> BackupResult {
        try await JourneyError.mapping {
            try await BackupOperation(repository: repository, request: request, progress: progress).run()
        }
    }
}
