internal import Basics
package import Repository
package import RepositoryFormat
package import Snapshots

/// Checks a repository, forgets snapshots, collects what nothing needs any more, mends the index. A cancelled task ends
/// each of them at a point from which the next run goes on.
package struct MaintenanceJourney: Sendable {
    private let repository: Repository
    private let progress: OperationProgress

    package init(repository: Repository, progress: OperationProgress) {
        self.repository = repository
        self.progress = progress
    }

    private var handler: MaintenanceProgress.Handler {
        { [progress] step in
            progress.update { status in
                status.files = step.done
                status.filesTotal = step.total
                status.bytes = step.bytes
                status.current = step.phase.rawValue
            }
        }
    }

    /// How a check ends: only damage that costs something is a failure; a check that ran out of its budget is none.
    package static func status(_ report: VerifyReport) -> ExitStatus { report.isSound ? .done : .integrity }

    /// Checks the repository, or what one snapshot needs.
    package func verify(
        _ snapshot: String?, depth: VerifyDepth, budgetSeconds: Double?
    ) async throws(JourneyError) -> VerifyReport {
        try await JourneyError.mapping {
            var id: Identifier?
            if let snapshot { id = try await repository.findSnapshot(snapshot).id }
            let options = VerifyOptions(depth: depth, snapshot: id, budgetSeconds: budgetSeconds) {
                PathText.display($0)
            }
            return try await Verifier(repository: repository, progress: handler).verify(options)
        }
    }

    /// Gives up the packs that `report` found damaged, so that the next backup stores anew what they hold. Their names.
    package func giveUpDamaged(_ report: VerifyReport) async throws(JourneyError) -> [String] {
        try await JourneyError.mapping {
            try await RepositoryRepair(repository: repository, progress: handler).giveUpDamaged(report)
        }
    }

    /// Makes the index anew from the packs where it is damaged or lost.
    package func rebuildIndex() async throws(JourneyError) -> RepairReport {
        try await JourneyError.mapping {
            try await RepositoryRepair(repository: repository, progress: handler).rebuildIndex()
        }
    }

    /// Collects garbage.
    package func prune(_ options: PruneOptions) async throws(JourneyError) -> PruneReport {
        try await JourneyError.mapping {
            try await Collector(repository: repository, progress: handler).prune(options)
        }
    }

    /// What is to be forgotten.
    package enum Choice: Sendable {
        /// These, by name.
        case named([String])
        /// What a rule does not keep, among the snapshots that fit.
        case rule(RetentionRule, host: String?, tags: [String], path: String?, mayEmptySources: Bool)
    }

    /// A decision and what came of it.
    package struct Forgetting: Sendable {
        /// What was considered, source by source, with the reasons to keep; or what was named and can be read.
        package var decisions: [RetentionRule.Decision] = []
        /// What was to go, each once.
        package var chosen: [Identifier] = []
        /// Snapshots that stay, of those that were considered, or of all when some were named.
        package var kept = 0
        /// What became of it; empty after a dry run.
        package var report = ForgetReport()
        /// Snapshots that could not be read and were not considered.
        package var damage: [RepositoryIndex.DamagedObject] = []
    }

    /// Forgets snapshots, or with `isDryRun` says which ones it would.
    package func forget(_ choice: Choice, isDryRun: Bool) async throws(JourneyError) -> Forgetting {
        try await JourneyError.mapping {
            var result = Forgetting()
            switch choice {
            case .named(let names):
                let listing = try await repository.listSnapshots()
                for name in names {
                    let (id, snapshot) = try await identify(name, listing)
                    guard !result.chosen.contains(id) else { continue }
                    result.chosen.append(id)
                    if let candidate = snapshot.flatMap(Self.candidate) {
                        result.decisions.append(.init(candidate: candidate, reasons: []))
                    }
                }
                result.kept = listing.snapshots.count { !result.chosen.contains($0.id) }
            case .rule(let rule, let host, let tags, let path, let mayEmptySources):
                let listing = try await repository.listSnapshots()
                result.damage = listing.damage
                // Shards that wait to be joined are no states of their source: whoever made them forgets them.
                let whole = listing.snapshots.filter { $0.manifest?.shard == nil }
                let candidates = whole.compactMap(Self.candidate).filter { candidate in
                    (host == nil || candidate.host == host) && tags.allSatisfy(candidate.tags.contains)
                        && (path == nil || candidate.paths.contains { Self.fits($0, path ?? "") })
                }
                try repository.require(.read, to: "see which snapshots a rule keeps")
                result.decisions = try rule.decide(candidates, mayEmptySources: mayEmptySources)
                result.chosen = result.decisions.filter { !$0.isKept }.map(\.candidate.id)
                result.kept = result.decisions.count - result.chosen.count
            }
            if !isDryRun, !result.chosen.isEmpty { result.report = try await repository.forget(result.chosen) }
            return result
        }
    }

    /// Forgets exactly these snapshots, without a look at any other; one that is gone is no error. May be run again.
    package func forget(exactly ids: [Identifier]) async throws(JourneyError) -> ForgetReport {
        try await JourneyError.mapping { try await repository.forget(ids) }
    }

    /// Whether a source's path is the one meant: whole, or by its last component.
    package static func fits(_ source: String, _ path: String) -> Bool {
        source == path || source.split(separator: "/").last.map(String.init) == path
    }

    /// A snapshot as rules see it; nil with a writer's key.
    private static func candidate(_ snapshot: ListedSnapshot) -> RetentionRule.Candidate? {
        snapshot.manifest.map {
            .init(id: snapshot.id, time: $0.timestamp, host: $0.host, paths: $0.paths, tags: $0.tags)
        }
    }

    /// The snapshot of a name; one that is damaged can be named by its whole id.
    private func identify(
        _ name: String, _ listing: SnapshotListing
    ) async throws -> (id: Identifier, snapshot: ListedSnapshot?) {
        if let id = Identifier(hex: name), listing.damage.contains(where: { $0.object == ObjectNames.snapshot(id) }) {
            return (id, nil)
        }
        let snapshot = try await repository.findSnapshot(name, in: listing)
        return (snapshot.id, snapshot)
    }
}
