/// The AI state in a snapshot: what a backup came upon, as it was judged while it was stored.
///
/// It stands in the snapshot's manifest, so that a restore knows what to write last and what to set aside without
/// reading anything. Every listing reads the manifests: it stays small. Paths are relative to the snapshot's root, with
/// "/" between names; what lies below a name that is not UTF-8 is not judged.
package struct StateInventory: Codable, Hashable, Sendable {
    /// Records in `states` and in `runs` at the most, some 500 bytes each.
    package static let mostRecords = 500
    /// Paths of one record's list at the most; evidence and doubts of one record at the most.
    package static let mostPaths = 1000, mostReasons = 8

    /// A checkpoint, a model or a cache.
    package struct State: Codable, Hashable, Sendable {
        /// Of its directory, or of its first file.
        package var path: String
        /// `checkpoint`, `model`, `cache`; and what wrote it: the raw values of `StateKind` and `CheckpointFormat`.
        package var kind: String
        package var format: String
        /// `complete`, `torn`, `unknown`, `empty`: the raw values of `Judgement`.
        package var judgement: String
        /// The training step.
        package var step: Int64?
        /// Bytes of the files that belong to it.
        package var bytes: UInt64?
        /// When the newest thing in it was modified, in nanoseconds since 1970.
        package var modified: Int64?
        /// What its tensors come to, the type with most bytes first.
        package var tensors: [TypeTotal]
        /// The files that belong to it; nil when it is all below `path`.
        package var files: [String]?
        /// Why it is not complete, one line each, at most `mostReasons`.
        package var reasons: [String]
        /// Files to be restored after its other files, in this order: with them it counts as committed.
        package var commitMarkers: [String]
        /// For a torn one: the name under which its framework does not pick it.
        package var quarantineName: String?

        package init(path: String, kind: String, format: String, judgement: String) {
            self.path = path
            self.kind = kind
            self.format = format
            self.judgement = judgement
            tensors = []
            reasons = []
            commitMarkers = []
        }

        /// Elements of all its tensors; nil when no layout was read.
        package var parameters: UInt64? {
            tensors.isEmpty ? nil : tensors.reduce(0) { $0 &+ $1.elements }
        }
    }

    /// Tensors of one type of element.
    package struct TypeTotal: Codable, Hashable, Sendable {
        package var dtype: String
        package var tensors: UInt64
        package var elements: UInt64
        package var bytes: UInt64

        package init(dtype: String, tensors: UInt64, elements: UInt64, bytes: UInt64) {
            self.dtype = dtype
            self.tensors = tensors
            self.elements = elements
            self.bytes = bytes
        }
    }

    /// A directory in which a framework looks for what to resume from.
    package struct Run: Codable, Hashable, Sendable {
        package var path: String
        package var format: String
        /// Of the checkpoint that it resumes from; nil when it starts anew.
        package var resumesFrom: String?
        package var step: Int64?
        /// Of the newest complete checkpoint; nil when none is.
        package var newestComplete: String?
        /// Files to be restored after all checkpoints, in this order.
        package var trackers: [String]
        /// What a user wants to know before the job starts again, one line each, at most `mostReasons`.
        package var warnings: [String]

        package init(path: String, format: String) {
            self.path = path
            self.format = format
            trackers = []
            warnings = []
        }
    }

    /// In the order in which they were met: by path, but what lies below something comes after it.
    package var states: [State] = []
    package var runs: [Run] = []
    /// What was left out on purpose: checkpoints being written, unfinished downloads, tokens.
    package var leftOut: [SnapshotManifest.Problem] = []
    /// The greatest step of a checkpoint that was left out because it was being written, or changed; nil when none said one.
    package var leftOutStep: Int64?
    /// Findings, and things left out, beyond those in the lists.
    package var unlisted: UInt64 = 0

    package init() {}
}
