package import Checkpoints
package import Snapshots

/// Findings of a survey as reports and `--json` have them.
package enum FindingJSON {
    /// The members of a `checkpoint` object.
    package static func members(_ finding: CheckpointFinding) -> [JSONValue.Member] {
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
    package static func members(_ run: RunFinding) -> [JSONValue.Member] {
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
}
