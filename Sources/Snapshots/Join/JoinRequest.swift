package import Basics
package import Repository
package import RepositoryFormat

/// What goes into a joined snapshot, and where.
package struct JoinPart: Hashable, Sendable {
    package var snapshot: Identifier
    /// A directory of that snapshot, as components: what is in it is taken. Empty for the root. A regular file is taken
    /// itself, and its name is the last of `place`: the content of a device is such.
    package var from: [[UInt8]]
    /// The directory of the joined snapshot that it comes into, as components; with `from`, that directory is what the one
    /// at `from` is: mode, owner, times. Empty for the root.
    package var place: [[UInt8]]

    package init(snapshot: Identifier, from: [[UInt8]] = [], place: [[UInt8]]) {
        self.snapshot = snapshot
        self.from = from
        self.place = place
    }
}

/// Several snapshots to be made one.
package struct JoinRequest: Sendable {
    /// In the order of their weight: where a directory is in several, it is as the first has it.
    package var parts: [JoinPart]
    package var host: String
    package var user: String
    /// What the snapshot is of, as text: its source, together with `host`.
    package var paths: [String]
    package var tags: [String]
    /// When what the snapshot is of was so; nil for the time of the oldest part.
    package var time: Timestamp?
    /// How the workload that it is of was held, for the manifest.
    package var standstill: WorkloadStandstill?
    /// Program and version, for the manifest.
    package var program: String

    /// Parts at the most: their trees are walked side by side.
    package static let mostParts = 4096

    package init(
        parts: [JoinPart], host: String, user: String, paths: [String], tags: [String] = [], time: Timestamp? = nil,
        program: String
    ) {
        self.parts = parts
        self.host = host
        self.user = user
        self.paths = paths
        self.tags = tags
        self.time = time
        self.program = program
    }
}

/// A joined snapshot that was committed.
package struct JoinResult: Sendable {
    package var snapshot: Identifier
    package var manifest: SnapshotManifest
    /// The snapshots that it was made of, each once.
    package var parts: [Identifier]
    package var counters: WriteCounters
    package var durationSeconds: Double
    /// Whether something is missing from it or from one of its parts; `manifest.problems` names it.
    package var isPartial: Bool { !manifest.problems.isEmpty }
}
