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
        return try await withThrowingTaskGroup(of: Look.self) { group in
            defer { group.cancelAll() }
            for place in places {
                group.addTask {
                    do {
                        let action = MoverAction.inspect(
                            newerThan: old?.modified ?? .init(nanoseconds: 0), seconds: Int(seconds.rounded(.up)))
                        let result = try await run.move(action, claim: place.claim, placement: place.placement)
                        return Look(seen: result.checkpoint, words: "")
                    } catch let error as JourneyError where error.status == .checkpointTorn {
                        // Another volume may have it.
                        return Look(seen: nil, words: error.message)
                    }
                }
            }
            var words: [String] = []
            for try await look in group {
                if let seen = look.seen { return seen }
                words.append(look.words)
            }
            let newest = old.map { "the newest is \($0.claim)/\($0.path)" + ($0.step.map { ", step \($0)" } ?? "") }
            throw QuiesceError(
                .checkpoint,
                "no complete checkpoint was written within \(Int(seconds)) s of being asked for; \(newest ?? "there is none at all"): \(words.sorted().joined(separator: "; "))"
            )
        }
    }

    /// What came of waiting at one volume.
    private struct Look: Sendable {
        var seen: SeenCheckpoint?
        /// What the mover said that saw none.
        var words: String
    }
}
