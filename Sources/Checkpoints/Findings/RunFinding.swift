/// A directory in which a framework looks for what to resume from, and what it would find.
package struct RunFinding: Sendable {
    /// What the framework resumes from.
    package struct Resume: Hashable, Sendable {
        /// Relative to the tree's root. It may be missing: a warning says so.
        package var path: String
        package var step: Int64?
        /// Why this one: "the tracker file says so", "the highest number".
        package var rule: String
        /// Nil when there is nothing at the path.
        package var judgement: Judgement?

        package init(path: String, step: Int64? = nil, rule: String, judgement: Judgement? = nil) {
            self.path = path
            self.step = step
            self.rule = rule
            self.judgement = judgement
        }
    }

    /// Something that a user would want to know before the job starts again.
    package struct Warning: Hashable, Sendable, CustomStringConvertible {
        /// Which kind. The raw values stand in reports and do not change.
        package enum Kind: String, Hashable, Sendable {
            /// What the framework resumes from is torn, or empty.
            case resumesFromTorn = "resumes-from-torn"
            /// The tracker file names something that is not there.
            case trackerNamesMissing = "tracker-names-missing"
            /// The tracker file names another one than the newest.
            case trackerDisagrees = "tracker-disagrees"
            /// The tracker file is missing or cannot be read.
            case trackerUnusable = "tracker-unusable"
            /// There is a newer complete one than what the framework resumes from, or it resumes from none.
            case newerComplete = "newer-complete"
            /// None is complete.
            case noneComplete = "none-complete"
            /// Something else.
            case other
        }

        package var kind: Kind
        package var message: String

        package init(_ kind: Kind, _ message: String) {
            self.kind = kind
            self.message = message.line
        }

        package var description: String { message }
    }

    /// Relative to the tree's root; "" for the root itself.
    package var path: String
    package var format: CheckpointFormat
    /// Nil when the framework would start anew.
    package var resume: Resume?
    /// The path of the newest complete checkpoint; nil when none is.
    package var newestComplete: String?
    /// Checkpoints found in it.
    package var checkpoints: Int
    /// Tracker files, to be restored after all checkpoints, in this order. Relative to the tree's root.
    package var trackers: [String] = []
    package var warnings: [Warning] = []

    package init(path: String, format: CheckpointFormat, checkpoints: Int = 0) {
        self.path = path
        self.format = format
        self.checkpoints = checkpoints
    }

    /// Adds a warning.
    package mutating func warn(_ kind: Warning.Kind, _ message: String) {
        warnings.append(Warning(kind, message))
    }
}

/// What is kept of a finding until its run is judged.
package struct FoundCheckpoint: Hashable, Sendable {
    package var path: String
    package var kind: StateKind
    package var format: CheckpointFormat
    package var step: Int64?
    package var judgement: Judgement
    package var modified: Int64?

    /// What is to be kept of `finding`.
    package init(_ finding: CheckpointFinding) {
        path = finding.path
        kind = finding.kind
        format = finding.format
        step = finding.step
        judgement = finding.judgement
        modified = finding.modified
    }
}

extension RunFinding {
    /// Sets `resume` to `found`, and adds the warnings that follow from judgements: torn, none complete, a newer one.
    ///
    /// - Parameters:
    ///   - found: what the framework picks, or nil when it starts anew.
    ///   - candidates: all checkpoints of the run, the newest last.
    package mutating func resumes(from found: FoundCheckpoint?, rule: String, among candidates: [FoundCheckpoint]) {
        checkpoints = candidates.count
        resume = found.map { Resume(path: $0.path, step: $0.step, rule: rule, judgement: $0.judgement) }
        let best = candidates.last { $0.judgement == .complete }
        newestComplete = best?.path
        let other = best.map { "; the newest complete one is \(TreePath.shown($0.path))" } ?? ""
        if let found, found.judgement == .torn || found.judgement == .empty {
            warn(
                .resumesFromTorn,
                "\(format.rawValue) resumes from \(TreePath.shown(found.path)), which is \(found.judgement.rawValue)"
                    + other)
        }
        if let best, let newest = candidates.firstIndex(where: { $0.path == best.path }) {
            let picked = found.flatMap { found in candidates.firstIndex { $0.path == found.path } }
            if picked.map({ $0 < newest }) ?? true, resume?.judgement != .torn, resume?.judgement != .empty {
                warn(
                    .newerComplete,
                    "\(TreePath.shown(best.path)) is complete and newer than what \(format.rawValue) resumes from")
            }
        } else if !candidates.isEmpty {
            warn(.noneComplete, "none of \(candidates.count) checkpoints in \(TreePath.shown(path)) is complete")
        }
    }
}
