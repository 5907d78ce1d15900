internal import Basics
package import Repository
internal import RepositoryFormat
package import Snapshots
package import Workloads

/// Backs directories up at a moment when the process that writes to them stood still, or had just written a checkpoint. It is
/// let go as soon as everything is read; the snapshot's manifest says how it was held.
package struct HostBackupJourney: Sendable {
    private let repository: Repository
    private let request: BackupRequest
    private let workload: HostWorkload
    private let quiescer: HostQuiescer
    private let progress: OperationProgress

    /// The request's `judging` and `whenRead` are set here.
    package init(
        repository: Repository, request: BackupRequest, workload: HostWorkload, quiescer: HostQuiescer,
        progress: OperationProgress
    ) {
        self.repository = repository
        self.request = request
        self.workload = workload
        self.quiescer = quiescer
        self.progress = progress
    }

    /// Runs it. Throws what quiescing throws (20, 21, 11) and what a backup does; the process runs again then, unless it
    /// was to be stopped and has ended.
    package func run() async throws(JourneyError) -> (result: BackupResult, record: QuiesceRecord) {
        try await JourneyError.mapping {
            let (repository, request, progress) = (repository, request, progress)
            var (result, record) = try await quiescer.holding(workload) { release in
                var request = request
                request.judging = .standard
                request.whenRead = { inventory in
                    var record = try await release()
                    record.recovery = Self.recovery(inventory, record)
                    return WorkloadStandstill(record)
                }
                let operation = BackupOperation(repository: repository, request: request, progress: progress)
                return try await withTaskCancellationHandler {
                    try await operation.run()
                } onCancel: {
                    progress.cancel()
                }
            }
            record.recovery = Self.recovery(result.manifest.inventory, record)
            return (result, record)
        }
    }

    private static func recovery(_ inventory: StateInventory?, _ record: QuiesceRecord) -> RecoveryPoint? {
        guard let inventory, let taken = record.taken else { return nil }
        return RecoveryPoint([("", inventory)], taken: taken)
    }
}
