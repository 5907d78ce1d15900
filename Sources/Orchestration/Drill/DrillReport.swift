package import Basics
package import RepositoryFormat

/// What a drill has found. `json` is its stable form, which `DrillReport.md` documents.
package struct DrillReport: Sendable {
    /// A tier and what came of it.
    package struct Tier: Hashable, Sendable {
        package var id: String
        package var name: String
        package var verdict: DrillVerdict
        /// How the program ends when it is the first that failed.
        package var failure: ExitStatus
    }

    /// What takes time. The raw values stand in reports and do not change.
    package enum Phase: String, CaseIterable, Hashable, Sendable {
        /// Looking at the scratch place, and removing what a killed drill has left there.
        case prepare
        case restore
        /// Reading every restored file again, for its SHA-256.
        case readBack = "read_back"
        case judge
        /// Removing what was restored.
        case cleanUp = "clean_up"
    }

    /// A file that did not come back as it was.
    package struct DamagedFile: Hashable, Sendable {
        /// Relative to the snapshot's root, as text.
        package var path: String
        package var message: String
        /// The bytes that could not be had, neighbours joined; empty where nothing is known of single bytes.
        package var lost: [Range<UInt64>]
        /// The tensors that lie in `lost`; nil when it cannot be told.
        package var tensors: [String]?
        /// What the file belongs to; nil for nothing that is recognised.
        package var holder: Holder?
    }

    /// A checkpoint, model or cache that a file belongs to.
    package struct Holder: Hashable, Sendable {
        package var path: String
        package var kind: String
        package var format: String
        package var step: Int64?
    }

    package var program: String
    package var began: Timestamp
    package var snapshot: Identifier
    package var manifest: SnapshotManifest
    package var tiers: [Tier] = []
    package var seconds: [Phase: Double] = [:]
    /// Entries that were restored, directories not counted.
    package var filesRestored: UInt64 = 0
    package var bytesWritten: UInt64 = 0
    /// Files that were read again and compared.
    package var filesReadBack: UInt64 = 0
    package var damaged: [DamagedFile] = []
    /// What was recognised in the restored tree.
    package var findings = DrillFindings()
    /// Why something of the drill is still there; nil when nothing is.
    package var leftBehind: String?

    init(program: String, began: Timestamp, snapshot: Identifier, manifest: SnapshotManifest) {
        self.program = program
        self.began = began
        self.snapshot = snapshot
        self.manifest = manifest
    }

    /// Whether no tier failed.
    package var isPassed: Bool { !tiers.contains { $0.verdict.outcome == .failed } }

    /// How the program ends: as the first tier that failed has it; else `partial` when something was left behind.
    package var status: ExitStatus {
        tiers.first { $0.verdict.outcome == .failed }?.failure ?? (leftBehind == nil ? .done : .partial)
    }
}
