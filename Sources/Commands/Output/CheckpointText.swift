internal import Checkpoints
internal import Snapshots

/// Findings of a survey, for people and for machines.
enum CheckpointText {
    /// The path as people see it: the place that was named itself is ".".
    static func path(_ path: String) -> String { path.isEmpty ? "." : Console.oneLine(path) }

    /// The members of a `checkpoint` object.
    static func members(_ finding: CheckpointFinding) -> [JSONValue.Member] {
        [
            .init("path", .string(finding.path.isEmpty ? "." : finding.path)),
            .init("kind", .string(finding.kind.rawValue)), .init("format", .string(finding.format.rawValue)),
            .init("step", finding.step.map { .integer($0) } ?? .null),
            .init("judgement", .string(finding.judgement.rawValue)),
            .init("bytes", finding.bytes.map { .unsigned($0) } ?? .null),
            .init("modified_ns", finding.modified.map { .integer($0) } ?? .null),
            .init("parameters", finding.parameters.map { .unsigned($0) } ?? .null),
            .init(
                "dtypes",
                .array(
                    finding.typeTotals.map { total in
                        .object([
                            .init("dtype", .string(total.dtype)), .init("tensors", .unsigned(UInt64(total.tensors))),
                            .init("elements", .unsigned(total.elements)), .init("bytes", .unsigned(total.bytes)),
                        ])
                    })),
            .init(
                "evidence",
                .array(
                    finding.evidence.map { evidence in
                        .object([
                            .init("file", .optional(evidence.file)), .init("expected", .string(evidence.expected)),
                            .init("found", .string(evidence.found)),
                        ])
                    })),
            .init("evidence_left_out", .unsigned(UInt64(finding.evidenceLeftOut))),
            .init("doubts", .strings(finding.doubts)), .init("notes", .strings(finding.notes)),
            .init("commit_markers", .strings(finding.commitMarkers)),
            .init("in_progress", .strings(finding.inProgress)), .init("secrets", .strings(finding.secrets)),
            .init("quarantine_name", .optional(finding.quarantineName)),
        ]
    }

    /// The members of a `run` object.
    static func members(_ run: RunFinding) -> [JSONValue.Member] {
        let resume = run.resume.map { resume in
            JSONValue.object([
                .init("path", .string(resume.path)), .init("step", resume.step.map { .integer($0) } ?? .null),
                .init("rule", .string(resume.rule)), .init("judgement", .optional(resume.judgement?.rawValue)),
            ])
        }
        return [
            .init("path", .string(run.path.isEmpty ? "." : run.path)), .init("format", .string(run.format.rawValue)),
            .init("checkpoints", .unsigned(UInt64(run.checkpoints))), .init("resume", resume ?? .null),
            .init("newest_complete", .optional(run.newestComplete)), .init("trackers", .strings(run.trackers)),
            .init(
                "warnings",
                .array(
                    run.warnings.map {
                        .object([.init("kind", .string($0.kind.rawValue)), .init("message", .string($0.message))])
                    })),
        ]
    }

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
