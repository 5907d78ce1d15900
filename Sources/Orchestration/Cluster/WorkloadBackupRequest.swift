package import Snapshots
package import Workloads

/// What a backup of a workload is to do.
package struct WorkloadBackupRequest: Sendable {
    package var workload: WorkloadReference
    package var quiescing: QuiesceOptions
    package var movers: MoverSettings
    package var access: MoverAccess
    package var source = VolumeSource.auto
    package var snapshotLimits = SnapshotLimits()
    /// Movers side by side on a volume that many nodes can mount.
    package var shards = 1
    package var includesSecrets = false
    /// A directory for objects on their way, raw and absolute.
    package var scratch: [UInt8]
    package var host: String
    package var user: String
    package var tags: [String] = []

    package init(
        workload: WorkloadReference, quiescing: QuiesceOptions, movers: MoverSettings, access: MoverAccess,
        scratch: [UInt8], host: String, user: String
    ) {
        self.workload = workload
        self.quiescing = quiescing
        self.movers = movers
        self.access = access
        self.scratch = scratch
        self.host = host
        self.user = user
    }
}

/// What a journey of a workload comes to, for whoever watches.
package enum WorkloadEvent: Sendable {
    case quiesce(QuiesceEvent)
    case mover(MoverEvent)
    /// Something that a user should know.
    case remark(String)
    /// What begins, in words.
    case stage(String)
}

/// A workload that was backed up.
package struct WorkloadBackupResult: Sendable {
    package var joined: JoinResult
    package var record: QuiesceRecord
    /// What each claim came to, in the order of their names; several for one that several movers have shared.
    package var volumes: [(claim: String, result: MoverResult)]
    package var remarks: [String]

    /// Whether something is missing from the snapshot.
    package var isPartial: Bool {
        joined.isPartial || volumes.contains { $0.result.status == .partial }
    }
}
