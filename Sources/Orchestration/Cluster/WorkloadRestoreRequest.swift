package import RepositoryFormat

/// What a restore of a workload into a cluster is to do.
package struct WorkloadRestoreRequest: Sendable {
    package var snapshot: Identifier
    /// Namespaces by those in the snapshot; what is not named keeps its own.
    package var namespaces: [String: String] = [:]
    /// Storage classes by those in the snapshot.
    package var storageClasses: [String: String] = [:]
    package var movers: MoverSettings
    package var access: MoverAccess
    /// A directory for objects on their way, raw and absolute.
    package var scratch: [UInt8]
    /// Whether one that had ended is created all the same: it runs once more.
    package var restartsEnded = false

    package init(snapshot: Identifier, movers: MoverSettings, access: MoverAccess, scratch: [UInt8]) {
        self.snapshot = snapshot
        self.movers = movers
        self.access = access
        self.scratch = scratch
    }
}

/// A workload that was restored.
package struct WorkloadRestoreResult: Sendable {
    /// `train/jobs.batch/run42`, as it is called now.
    package var workload: String
    package var namespace: String
    /// Objects that were created, and those that were there already and stayed as they are.
    package var created: [String] = []
    package var kept: [String] = []
    /// What each claim came to.
    package var volumes: [(claim: String, result: MoverResult)] = []
    package var remarks: [String] = []
}
