package import Checkpoints

/// What a survey of the restored tree came upon.
package struct DrillFindings: Sendable {
    /// Checkpoints, models and caches; at most `most` of them.
    package private(set) var checkpoints: [CheckpointFinding] = []
    package private(set) var runs: [RunFinding] = []
    /// What could not be looked at: path and reason.
    package private(set) var problems: [(path: String, message: String)] = []
    /// Findings of all three kinds beyond `most` each, counted and not kept.
    package private(set) var leftOut: UInt64 = 0
    private var counts: [StateKind: [Judgement: UInt64]] = [:]
    /// Why jobs would not go on, one line for each.
    package private(set) var badResumes: [String] = []

    /// Findings kept of a kind, some kilobytes each.
    package static let most = 10_000

    package init() {}

    /// How many were judged so, of one kind or of all.
    package func count(_ judgement: Judgement, of kind: StateKind? = nil) -> UInt64 {
        counts.filter { kind == nil || $0.key == kind }.reduce(0) { $0 + ($1.value[judgement] ?? 0) }
    }

    /// How many there are of a kind, or of all.
    package func count(of kind: StateKind? = nil) -> UInt64 {
        counts.filter { kind == nil || $0.key == kind }.reduce(0) { $0 + $1.value.values.reduce(0, +) }
    }

    mutating func add(_ event: Survey.Event) {
        switch event {
        case .checkpoint(let finding):
            counts[finding.kind, default: [:]][finding.judgement, default: 0] += 1
            keep(finding, in: \.checkpoints)
        case .run(let run):
            if let resume = run.resume, resume.judgement != .complete, resume.judgement != .unknown {
                let state = resume.judgement.map { "is \($0.rawValue)" } ?? "is not there"
                let evidence = checkpoints.last { $0.path == resume.path }?.evidence.first.map { " (\($0))" } ?? ""
                let better = run.newestComplete.map { "; the newest complete one is \(TreePath.shown($0))" } ?? ""
                badResumes.append(
                    "\(run.format.rawValue) would resume from \(TreePath.shown(resume.path)), which \(state)\(evidence)\(better)"
                )
            }
            keep(run, in: \.runs)
        case .unread(let path, let reason): keep((path: TreePath.shown(path), message: reason), in: \.problems)
        }
    }

    private mutating func keep<Item>(_ item: Item, in list: WritableKeyPath<Self, [Item]>) {
        if self[keyPath: list].count < Self.most { self[keyPath: list].append(item) } else { leftOut += 1 }
    }

    /// What `path` belongs to: what names it among its files, else the innermost directory around it.
    func holder(of path: String) -> Int? {
        var best: Int?
        for (index, finding) in checkpoints.enumerated() {
            switch finding.contents {
            case .files(let files): if files.contains(path) { return index }
            case .directory:
                guard finding.path.isEmpty || path == finding.path || path.hasPrefix(finding.path + "/") else {
                    continue
                }
                if best.map({ checkpoints[$0].path.utf8.count < finding.path.utf8.count }) ?? true { best = index }
            }
        }
        return best
    }

    /// Holds a finding torn, for a file of it is damaged.
    mutating func tear(_ index: Int, because evidence: Evidence) {
        let before = checkpoints[index].judgement
        checkpoints[index].tear(evidence)
        let kind = checkpoints[index].kind
        counts[kind]?[before, default: 1] -= 1
        counts[kind, default: [:]][checkpoints[index].judgement, default: 0] += 1
    }

    /// Forgets what jobs would resume from: it does not hold for a tree that is damaged.
    mutating func dropRuns() {
        runs = []
        badResumes = []
    }
}
