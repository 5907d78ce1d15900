package import Checkpoints
package import Repository
package import RepositoryFormat

/// What to back up, and how.
package struct BackupRequest: Sendable {
    /// Absolute paths, raw bytes. Their last components become the names at the snapshot's root and must differ.
    package var paths: [[UInt8]]
    package var host: String
    package var user: String
    package var tags: [String]
    /// Shell patterns (`GlobPattern`): what matches is left out, directories with all they hold.
    package var excludes: [String]
    /// Whether each file's SHA-256 is computed.
    package var fileDigests: Bool
    /// Whether to stay on the file systems of the paths.
    package var oneFileSystem: Bool
    /// Whether files that are named themselves are images of block devices, and are cut as those are. Devices that are named
    /// are read in any case.
    package var readsAsDevices: Bool
    /// Where chunks are looked for to which new ones may be stored as the difference.
    package var bases: Bases
    /// How checkpoints, models and caches are judged; nil to store everything as it lies there.
    package var judging: SurveyOptions?
    /// Whether to fail, with `IncompleteState`, where a checkpoint is not complete.
    package var requiresComplete: Bool
    /// Seconds for which a torn checkpoint must not have changed to be stored as it is: before, it may be being written.
    package var quietSeconds: Int64
    /// Which share of the files to take; all directories are taken anyway. Nil for everything. Such snapshots are to be joined
    /// (`JoinOperation`), and have the content of one backup together.
    package var shard: Shard?
    /// Called once when everything is read, with what was found, before the snapshot is committed: whoever held the sources
    /// still lets them go, and what it answers goes into the manifest. What it throws is thrown, and no snapshot is made.
    package var whenRead: (@Sendable (StateInventory?) async throws -> WorkloadStandstill?)?
    /// Program and version, for the manifest.
    package var program: String

    /// A snapshot with earlier states of the same tensors.
    package enum Bases: Hashable, Sendable {
        case none
        /// The last snapshot of the same sources.
        case parent
        case snapshot(Identifier)
    }

    package init(
        paths: [[UInt8]], host: String, user: String, tags: [String] = [], excludes: [String] = [],
        fileDigests: Bool = true, oneFileSystem: Bool = false, readsAsDevices: Bool = false, bases: Bases = .parent,
        judging: SurveyOptions? = nil,
        requiresComplete: Bool = false, quietSeconds: Int64 = 900, shard: Shard? = nil,
        program: String
    ) {
        self.readsAsDevices = readsAsDevices
        self.judging = judging
        self.requiresComplete = requiresComplete
        self.quietSeconds = quietSeconds
        self.shard = shard
        self.bases = bases
        self.paths = paths
        self.host = host
        self.user = user
        self.tags = tags
        self.excludes = excludes
        self.fileDigests = fileDigests
        self.oneFileSystem = oneFileSystem
        self.program = program
    }
}

/// A backup that was committed.
package struct BackupResult: Sendable {
    package var snapshot: Identifier
    package var manifest: SnapshotManifest
    /// Those of the manifest's problems that are more than a change or a removal while it was read: what could not be
    /// read at all.
    package var unreadable: [SnapshotManifest.Problem]
    package var counters: WriteCounters
    package var durationSeconds: Double
    /// Whether some source could not be read or changed while it was read; `manifest.problems` names them.
    package var isPartial: Bool { !manifest.problems.isEmpty }
}
