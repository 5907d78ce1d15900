package import Basics
package import Repository
internal import RepositoryFormat
package import Snapshots

/// Restores a snapshot to a scratch directory, proves it tier by tier, and removes it again.
///
/// However it ends, nothing of it is left behind: only a process that is killed leaves something, which the next drill
/// in the same place removes.
package struct DrillJourney: Sendable {
    private let repository: Repository
    private let request: DrillRequest
    private let tiers: [any DrillTier]
    private let clock: any WallClock
    private let progress: OperationProgress

    package init(
        repository: Repository, request: DrillRequest, tiers: [any DrillTier] = [BytesTier(), StructureTier()],
        clock: any WallClock, progress: OperationProgress
    ) {
        self.repository = repository
        self.request = request
        self.tiers = tiers
        self.clock = clock
        self.progress = progress
    }

    /// Runs it. A proof that fails is in the report. Throws `noSpace` before anything is restored where it would not
    /// fit, `busy` where another drill has the place, `target_exists` where something else has, `interrupted` when its
    /// task is cancelled, and what the repository gives.
    package func run() async throws(JourneyError) -> DrillReport {
        do { return try await JourneyError.mapping { try await drill() } } catch {
            guard error.status == .interrupted else { throw error }
            throw JourneyError(
                .interrupted, kind: error.kind,
                "cancelled: the drill was interrupted, and what it had restored is removed",
                cause: error)
        }
    }

    private func drill() async throws -> DrillReport {
        let began = clock.now()
        let listed = try await repository.findSnapshot(request.snapshot)
        let manifest = try listed.manifest(to: "restore")
        guard String(validating: request.place, as: UTF8.self) != nil else {
            throw JourneyError.usage("\(PathText.display(request.place)) is not UTF-8: name another --scratch")
        }
        var report = DrillReport(program: request.program, began: began, snapshot: listed.id, manifest: manifest)
        let request = request
        let scratch = try await timed(.prepare, &report) {
            try await BlockingBridge.offload(name: "becalm-drill") {
                Result {
                    try ScratchDirectory.claim(
                        for: .drill, in: request.place, isOwn: request.isOwnPlace,
                        need: .init(
                            entries: manifest.totals.files + manifest.totals.directories,
                            bytes: manifest.totals.bytes))
                }
            }
        }
        let stage = DrillStage(
            repository: repository, snapshot: listed, manifest: manifest, tree: scratch.path, isDeep: request.isDeep,
            progress: progress)
        do {
            try await prove(on: stage, &report)
        } catch {
            let failure = JourneyError(error)
            if let left = try await cleanUp(scratch, &report) {
                throw JourneyError(
                    failure.status, kind: failure.kind, "\(failure.message); and \(left)", cause: failure)
            }
            throw failure
        }
        report.leftBehind = try await cleanUp(scratch, &report)
        return report
    }

    private func prove(on stage: DrillStage, _ report: inout DrillReport) async throws {
        for tier in tiers {
            let verdict: DrillVerdict
            if let failed = report.tiers.first(where: { $0.verdict.outcome == .failed }) {
                verdict = DrillVerdict(.skipped, "\(failed.id) failed")
            } else {
                try Task.checkCancellation()
                verdict = try await tier.prove(on: stage, &report)
            }
            report.tiers.append(.init(id: tier.id, name: tier.name, verdict: verdict, failure: tier.failure))
        }
    }

    /// Answers why something is still there; nil when nothing is. Not cut short by a cancelled task.
    private func cleanUp(_ scratch: ScratchDirectory, _ report: inout DrillReport) async throws -> String? {
        progress.update { $0.current = "removing what was restored" }
        return try await timed(.cleanUp, &report) {
            try await BlockingBridge.offload(name: "becalm-drill") {
                do throws(JourneyError) { try scratch.remove() } catch { return .success(error.message) }
                return .success(nil)
            }
        }
    }

    private func timed<R>(
        _ phase: DrillReport.Phase, _ report: inout DrillReport, _ body: () async throws -> R
    ) async throws -> R {
        let clock = ContinuousClock()
        let start = clock.now
        let result = try await body()
        report.seconds[phase] = (clock.now - start) / .seconds(1)
        return result
    }
}
