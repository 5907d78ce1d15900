internal import Checkpoints
internal import Orchestration
internal import Snapshots

/// Findings of a survey, for people and for machines.
enum CheckpointText {
    /// The path as people see it: the place that was named itself is ".".
    static func path(_ path: String) -> String { path.isEmpty ? "." : Console.oneLine(path) }

    /// The members of a `checkpoint` object.
    static func members(_ finding: CheckpointFinding) -> [JSONValue.Member] { FindingJSON.members(finding) }

    /// The members of a `run` object.
    static func members(_ run: RunFinding) -> [JSONValue.Member] { FindingJSON.members(run) }

    /// `1.2 B`, `350 M`: a number of parameters.
    static func parameters(_ count: UInt64?) -> String {
        guard let count else { return "" }
        for (unit, size) in [("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3)] where Double(count) >= size {
            return "\(Format.decimal(Double(count) / size)) \(unit)"
        }
        return "\(count)"
    }

    /// What stands below the table for a finding: why it is not complete, and what is worth knowing.
    static func explanation(_ finding: CheckpointFinding) -> [String] {
        var lines = finding.evidence.map { "  torn: \($0)" }
        if finding.evidenceLeftOut > 0 { lines.append("  torn: and \(finding.evidenceLeftOut) more") }
        lines += finding.doubts.map { "  unknown: \($0)" }
        lines += finding.notes.map { "  note: \($0)" }
        return lines.isEmpty ? [] : ["\(path(finding.path)):"] + lines.map { Console.oneLine($0) }
    }

    /// What stands below the table for a run.
    static func lines(_ run: RunFinding) -> [String] {
        let place = path(run.path)
        var lines: [String] = []
        if let resume = run.resume {
            let step = resume.step.map { ", step \($0)" } ?? ""
            let judgement = resume.judgement.map { ", which is \($0.rawValue)" } ?? ", which is not there"
            lines.append(
                "\(place): \(run.format.rawValue) resumes from \(path(resume.path))\(step) (\(resume.rule))\(judgement)"
            )
        } else {
            lines.append("\(place): \(run.format.rawValue) would start anew")
        }
        lines += run.warnings.map { "  warning: \($0.message)" }
        return lines.map { Console.oneLine($0) }
    }
}
