package import TensorFiles

/// A checkpoint, a model or a cache, and what to hold of it.
///
/// The judgement follows from what was put in, so that none is torn without evidence and none complete with a doubt:
/// judges call `tear`, `doubt` and `accept`, and never choose a judgement.
package struct CheckpointFinding: Sendable {
    /// Which files belong to it.
    package enum Contents: Hashable, Sendable {
        /// All below its path, which is a directory, but `inProgress` and `secrets`.
        case directory
        /// These, relative to the tree's root.
        case files([String])
    }

    /// Relative to the tree's root, "" for the root itself: of a directory, or of the one file. Several files that are
    /// one thing, in a directory that holds other things, have the first one's, or the index's.
    package var path: String
    package var kind: StateKind
    package var format: CheckpointFormat
    package var contents: Contents
    /// The training step: batches that the optimizer has taken, as the framework counts them.
    package var step: Int64?
    /// Bytes of the files that belong to it. The survey counts those of a directory, unless the judge did.
    package var bytes: UInt64?
    /// When the newest thing in it that the judge looked at was modified, in nanoseconds since 1970.
    package var modified: Int64?

    /// Why its loader would fail.
    package private(set) var evidence: [Evidence] = []
    /// Evidence beyond `mostEvidence`, counted and not kept.
    package private(set) var evidenceLeftOut = 0
    /// Why it cannot be told whether its loader would fail.
    package private(set) var doubts: [String] = []
    /// Whether nothing is in it.
    package var isEmpty = false
    /// Short facts for people: "CRC not recorded", say.
    package private(set) var notes: [String] = []

    /// Files to be restored last, in this order: with them it counts as committed. Relative to the tree's root.
    package var commitMarkers: [String] = []
    /// What is being written, or was when its writer died: a backup leaves it out. Relative to the tree's root.
    package var inProgress: [String] = []
    /// What must not leave the machine: tokens. Relative to the tree's root.
    package var secrets: [String] = []
    /// For a torn one: another name for it, in the same directory, under which its framework does not pick it. Nil when
    /// a name is not what it is picked by.
    package var quarantineName: String?

    /// What its tensors come to, by type, as far as layouts were read.
    package private(set) var totals: [TensorLayout.Total] = []

    /// The same, for those who know no layouts: the type's name, and tensors, elements and bytes of it.
    package var typeTotals: [(dtype: String, tensors: Int, elements: UInt64, bytes: UInt64)] {
        totals.map { ($0.dtype.name, $0.tensors, $0.elements, $0.bytes) }
    }

    /// Evidence that is kept, and doubts and notes of each: a thousand files may be missing.
    package static let mostEvidence = 32, mostNotes = 64

    package init(
        path: String, kind: StateKind = .checkpoint, format: CheckpointFormat, contents: Contents = .directory
    ) {
        self.path = path
        self.kind = kind
        self.format = format
        self.contents = contents
    }

    /// Torn with any evidence, else empty, else unknown with any doubt, else complete.
    package var judgement: Judgement {
        if !evidence.isEmpty { return .torn }
        if isEmpty { return .empty }
        return doubts.isEmpty ? .complete : .unknown
    }

    /// Elements of all its tensors; nil when no layout was read.
    package var parameters: UInt64? {
        totals.isEmpty ? nil : totals.reduce(0) { $0 &+ $1.elements }
    }

    /// Holds it torn. Evidence beyond `mostEvidence` is only counted.
    package mutating func tear(_ evidence: Evidence) {
        guard !self.evidence.contains(evidence) else { return }
        if self.evidence.count < Self.mostEvidence {
            self.evidence.append(evidence)
        } else {
            evidenceLeftOut += 1
        }
    }

    /// Holds it torn because of a file.
    package mutating func tear(_ file: String?, expected: String, found: String) {
        tear(Evidence(file: file, expected: expected, found: found))
    }

    /// Holds it unknown unless it is torn.
    package mutating func doubt(_ reason: String) {
        let reason = reason.line
        guard doubts.count < Self.mostNotes, !doubts.contains(reason) else { return }
        doubts.append(reason)
    }

    /// Adds a short fact.
    package mutating func note(_ fact: String) {
        let fact = fact.line
        guard notes.count < Self.mostNotes, !notes.contains(fact) else { return }
        notes.append(fact)
    }

    /// Takes what a parser made of a file that must be whole: evidence from a torn one, a doubt from one that cannot be
    /// read or is of another format. Returns the value of a complete one.
    @discardableResult package mutating func accept<Value>(_ finding: Finding<Value>, of file: String) -> Value? {
        switch finding {
        case .complete(let value): return value
        case .torn(let torn): tear(Evidence(file: file, torn))
        case .notThisFormat(let reason), .unsupported(let reason): doubt("\(TreePath.shown(file)): \(reason)")
        }
        return nil
    }

    /// Adds the tensors of a file to the totals.
    package mutating func count(_ layout: TensorLayout) { count(layout.totals) }

    /// Adds totals to the totals.
    package mutating func count(_ added: [TensorLayout.Total]) {
        for total in added {
            if let index = totals.firstIndex(where: { $0.dtype == total.dtype }) {
                totals[index].tensors += total.tensors
                totals[index].elements &+= total.elements
                totals[index].bytes &+= total.bytes
            } else if totals.count < 64 {
                totals.append(total)
            }
        }
        totals.sort { ($1.bytes, $0.dtype.name) < ($0.bytes, $1.dtype.name) }
    }

    /// Takes another finding's evidence, doubts, notes, markers, files in progress, secrets and totals: of a part that
    /// was judged by itself.
    package mutating func absorb(_ part: CheckpointFinding) {
        part.evidence.forEach { tear($0) }
        evidenceLeftOut += part.evidenceLeftOut
        part.doubts.forEach { doubt($0) }
        part.notes.forEach { note($0) }
        commitMarkers += part.commitMarkers
        inProgress += part.inProgress
        secrets += part.secrets
        count(part.totals)
        if let time = part.modified { modified = max(modified ?? time, time) }
    }
}
