internal import Basics
internal import Checkpoints
internal import Synchronization

/// R1: what frameworks would resume from, and the models, are whole by the rules of their formats.
package struct StructureTier: DrillTier {
    package let id = "R1", name = "structure"
    package let failure = ExitStatus.checkpointTorn

    package init() {}

    package func prove(on stage: DrillStage, _ report: inout DrillReport) async throws -> DrillVerdict {
        let clock = ContinuousClock()
        let start = clock.now
        let found = Mutex(DrillFindings())
        try await SurveyJourney(path: stage.tree, isDeep: stage.isDeep).run { event in
            found.withLock { $0.add(event) }
        }
        let findings = found.withLock { $0 }
        report.findings = findings
        report.seconds[.judge] = (clock.now - start) / .seconds(1)
        return Self.verdict(findings)
    }

    private static func verdict(_ findings: DrillFindings) -> DrillVerdict {
        if let first = findings.badResumes.first {
            let more = findings.badResumes.count - 1
            return DrillVerdict(.failed, first + (more > 0 ? "; and \(counted(more, "more run"))" : ""))
        }
        let total = findings.count()
        let checkpoints = findings.count(of: .checkpoint)
        if checkpoints > 0, findings.count(.complete, of: .checkpoint) == 0 {
            return DrillVerdict(.failed, "none of \(counted(checkpoints, "checkpoint")) is complete" + detail(findings))
        }
        if total > 0, findings.count(.complete) == 0 {
            return DrillVerdict(
                .failed,
                "none of \(counted(total, "checkpoint, model or cache", plural: "models and caches")) is complete"
                    + detail(findings))
        }
        let unread =
            findings.problems.isEmpty ? "" : "; \(counted(findings.problems.count, "place")) could not be looked at"
        guard total > 0 else {
            return DrillVerdict(.passed, "nothing to judge: no checkpoint, model or cache is recognised\(unread)")
        }
        let judged = [Judgement.complete, .torn, .unknown, .empty].map { "\(findings.count($0)) \($0.rawValue)" }
        return DrillVerdict(
            .passed, "\(judged.joined(separator: ", ")); nothing that a job would resume from is torn\(unread)")
    }

    /// Why the first of them is not.
    private static func detail(_ findings: DrillFindings) -> String {
        guard let first = findings.checkpoints.first(where: { $0.judgement != .complete }) else { return "" }
        let reason = first.evidence.first.map { "\($0)" } ?? first.doubts.first ?? first.judgement.rawValue
        return ": \(TreePath.shown(first.path)): \(reason)"
    }
}
