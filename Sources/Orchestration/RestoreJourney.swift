package import Repository
package import Snapshots

/// Brings a snapshot back. What cannot be brought back is in the result; everything else is restored all the same.
package struct RestoreJourney: Sendable {
    private let repository: Repository
    private let request: RestoreRequest
    private let progress: OperationProgress

    package init(repository: Repository, request: RestoreRequest, progress: OperationProgress) {
        self.repository = repository
        self.request = request
        self.progress = progress
    }

    /// Runs it.
    package func run() async throws(JourneyError) -> RestoreResult {
        try await JourneyError.mapping {
            try await RestoreOperation(repository: repository, request: request, progress: progress).run()
        }
    }

    /// The exit status of a restore that ended by itself: damage in the repository weighs more than files that could not
    /// be written or patterns of which none fits anything; attributes that this system does not take are no failure.
    package static func status(_ result: RestoreResult) -> ExitStatus {
        if !result.damaged.isEmpty { return .integrity }
        return result.failed.isEmpty && !result.fitsNothing ? .done : .partial
    }
}
