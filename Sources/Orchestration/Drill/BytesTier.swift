internal import Basics
internal import Repository
internal import RepositoryFormat
internal import Snapshots

/// R0: every file of the snapshot comes back, and has its SHA-256 when it is read again.
package struct BytesTier: DrillTier {
    package let id = "R0", name = "bytes"
    package let failure = ExitStatus.integrity

    package init() {}

    package func prove(on stage: DrillStage, _ report: inout DrillReport) async throws -> DrillVerdict {
        // Without digests of files there is nothing to compare them with but the chunks, as they are restored.
        let hasDigests = stage.manifest.contentDigest != nil
        let clock = ContinuousClock()
        let start = clock.now
        // As it is stored: what is torn under its own name, for that is what a job would come upon.
        let request = RestoreRequest(
            snapshot: stage.snapshot.id, target: stage.tree, verify: hasDigests, setsAside: false, commitsDamaged: true)
        let result: RestoreResult
        do {
            result = try await withTaskCancellationHandler {
                try await RestoreJourney(repository: stage.repository, request: request, progress: stage.progress).run()
            } onCancel: {
                stage.progress.cancel()
            }
        } catch let error as JourneyError where error.status == .integrity {
            report.seconds[.restore] = (clock.now - start) / .seconds(1)
            return DrillVerdict(.failed, "the snapshot cannot be restored: \(error.message)")
        }
        report.seconds[.restore] = (clock.now - start) / .seconds(1) - result.verifySeconds
        report.seconds[.readBack] = result.verifySeconds
        report.filesRestored = result.files
        report.bytesWritten = result.bytesWritten
        report.filesReadBack = result.verified ?? 0
        guard result.damaged.isEmpty, result.failed.isEmpty else {
            let judging = clock.now
            try await DrillTrace(stage: stage).trace(result, &report)
            report.seconds[.judge] = (clock.now - judging) / .seconds(1)
            return DrillVerdict(.failed, Self.message(report.damaged))
        }
        var message = "\(counted(result.files, "file")) came back"
        if let verified = result.verified {
            message += ", \(verified) of them regular and equal to their SHA-256 when read again"
        } else {
            message +=
                ", each chunk equal to its id; the snapshot has no SHA-256 of files, so none was read again"
        }
        if result.skipped > 0 {
            message += "; \(result.skipped) that are no regular files could not be made on this system"
        }
        return DrillVerdict(.passed, message)
    }

    /// One line about the first of them.
    private static func message(_ damaged: [DrillReport.DamagedFile]) -> String {
        guard let first = damaged.first else { return "" }
        let more = damaged.count > 1 ? ", and \(counted(damaged.count - 1, "more file"))" : ""
        return "did not come back as it was: \(first.place)\(more)"
    }
}

extension DrillReport.DamagedFile {
    /// `run/model.safetensors (tensor w0; of the transformers-trainer checkpoint run, step 2)`: as much as is known.
    package var place: String {
        var facts: [String] = []
        if let tensors, let first = tensors.first {
            let more = tensors.count > 1 ? " and \(tensors.count - 1) more" : ""
            facts.append("\(tensors.count == 1 ? "tensor" : "tensors") \(first)\(more)")
        }
        if let holder {
            let step = holder.step.map { ", step \($0)" } ?? ""
            facts.append("of the \(holder.format) \(holder.kind) \(holder.path)\(step)")
        }
        return facts.isEmpty ? path : "\(path) (\(facts.joined(separator: "; ")))"
    }
}
