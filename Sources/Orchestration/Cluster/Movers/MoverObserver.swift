internal import Basics
package import Workloads

/// Sees the checkpoints of a workload's volumes through movers that look at them.
package struct MoverObserver: CheckpointObserver {
    /// A claim, and where it can be looked at.
    package struct Place: Sendable {
        package var claim: String
        package var placement: MoverPlacement

        package init(claim: String, placement: MoverPlacement) {
            self.claim = claim
            self.placement = placement
        }
    }

    private let run: MoverRun
    private let places: [Place]

    package init(_ run: MoverRun, places: [Place]) {
        self.run = run
        self.places = places
    }

    package func newest() async throws -> SeenCheckpoint? {
        let run = run
        return try await withThrowingTaskGroup(of: SeenCheckpoint?.self) { group in
            for place in places {
                group.addTask {
                    try await run.move(
                        .inspect(newerThan: nil, seconds: 0), claim: place.claim, placement: place.placement
                    ).checkpoint
                }
            }
            var newest: SeenCheckpoint?
            for try await seen in group {
                guard let seen, seen.modified > newest?.modified ?? .init(nanoseconds: .min) else { continue }
                newest = seen
            }
            return newest
        }
    }

    package func newer(than old: SeenCheckpoint?, seconds: Double) async throws -> SeenCheckpoint {
        let run = run
        return try await withThrowingTaskGroup(of: SeenCheckpoint?.self) { group in
            defer { group.cancelAll() }
            for place in places {
                group.addTask {
                    do {
                        return try await run.move(
                            .inspect(
                                newerThan: old?.modified ?? .init(nanoseconds: 0), seconds: Int(seconds.rounded(.up))),
                            claim: place.claim, placement: place.placement
                        ).checkpoint
                    } catch let error as JourneyError where error.status == .checkpointTorn {
                        // Another volume may have it.
                        return nil
                    }
                }
            }
            for try await seen in group { if let seen { return seen } }
            let there = old.map { "; the newest is \($0.claim)/\($0.path)" + ($0.step.map { ", step \($0)" } ?? "") }
            throw QuiesceError(
                .checkpoint,
                "no complete checkpoint was written within \(Int(seconds)) s of being asked for\(there ?? "; there is none at all")"
            )
        }
    }
}
