internal import Kubernetes
internal import Repository
internal import RepositoryFormat
internal import Snapshots
internal import Workloads

/// Sees to it that what a snapshot holds of a claim fits on its volume: where a driver did not hold a volume to what its
/// claim asked for, more may be in it.
struct VolumeRoom: Sendable {
    private let repository: Repository
    private let snapshot: Identifier
    private let document: WorkloadDocument

    init(_ repository: Repository, _ snapshot: Identifier, _ document: WorkloadDocument) {
        self.repository = repository
        self.snapshot = snapshot
        self.document = document
    }

    /// Has a claim that is to be created ask for what its data needs; answers what users should know of that. Reads the
    /// volume's tree only where its files, holes included, are larger than what is asked for.
    func provide(for claim: inout KubernetesObject) async throws -> String? {
        let before = claim["spec", "resources", "requests", "storage"]?.string ?? "nothing"
        guard let asked = claim.requestedStorage else { return nil }
        // Snapshots of early versions do not tell single volumes.
        if let bytes = document.bytes[claim.name], Self.amount(bytes) <= asked { return nil }
        if claim.isBlockVolume, let bytes = document.bytes[claim.name] {
            let wanted = Quantity.device(bytes: bytes)
            try claim.requestStorage(wanted)
            return "\(claim.label) asks for \(wanted), for its device was larger than \(before), as it asked for before"
        }
        let path = WorkloadDocument.volumePath(document.workload.namespace, claim.name)
        let size = try await InspectionJourney(repository: repository).size(of: path, in: snapshot)
        guard Self.amount(size.bytes) > asked else { return nil }
        try claim.requestStorage(size.storage)
        return
            "\(claim.label) asks for \(size.storage), for its data does not fit in \(before), as it asked for before"
    }

    private static func amount(_ bytes: UInt64) -> Quantity { Quantity(Int64(clamping: bytes)) }
}
