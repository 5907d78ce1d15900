internal import Repository
internal import RepositoryFormat

extension CheckpointSelection {
    /// A checkpoint that may be meant.
    private struct Candidate {
        let index: Int
        let path: [[UInt8]]
        let state: StateInventory.State
        let run: [[UInt8]]

        var text: String { StatePath.text(path) }
        var isComplete: Bool { state.judgement == "complete" }
        /// Steps are compared first; one that has none comes before all that have one.
        var order: (Int, Int64, Int64) { (state.step == nil ? 0 : 1, state.step ?? 0, state.modified ?? .min) }
    }

    /// The checkpoint of the snapshot `id` that `choice` means, among those that `includes` fit. Blocks.
    ///
    /// Throws `RepositoryError` `.noSuchName` when there is none, `.ambiguous` when there are several, and `SnapshotError`
    /// `.checkpointTorn` when it is torn or empty, or for `latest` when none is complete.
    static func choose(
        _ choice: CheckpointChoice, of id: Identifier, _ inventory: StateInventory?, includes: [String],
        pages: [ChunkID], loader: TreeLoader
    ) throws -> CheckpointSelection {
        let name = "snapshot \(id.description.prefix(12))"
        guard let inventory else {
            throw RepositoryError(
                .noSuchName,
                "\(name) has no list of its checkpoints, for whatever made it looked for none: name what to restore with --include"
            )
        }
        let candidates = try candidates(inventory, includes, pages, loader)
        guard !candidates.isEmpty else {
            let fitting = includes.isEmpty ? "" : " that fits --include"
            throw RepositoryError(
                .noSuchName,
                "\(name) lists no checkpoint\(fitting): 'becalm show \(id.description.prefix(8))' tells what it has"
            )
        }
        let unlisted = inventory.unlisted > 0 ? ", and \(inventory.unlisted) findings that are not listed" : ""
        let matching: [Candidate]
        switch choice {
        case .latest:
            matching = candidates.filter(\.isComplete)
            guard !matching.isEmpty else {
                throw SnapshotError(
                    .checkpointTorn,
                    "none of \(candidates.count) checkpoints in \(name) is complete: \(candidates.map(described).max() ?? ""); choose one by its step, or restore everything"
                )
            }
        case .step(let step):
            matching = candidates.filter { $0.state.step == step }
            guard !matching.isEmpty else {
                throw RepositoryError(
                    .noSuchName, "\(name) has no checkpoint of step \(step): \(steps(candidates))\(unlisted)")
            }
        }
        guard Set(matching.map(\.run)).count == 1 else { throw ambiguous(choice, matching, name) }
        let chosen = try pick(choice, matching, name)
        guard ["complete", "unknown"].contains(chosen.state.judgement) else {
            throw SnapshotError(
                .checkpointTorn,
                "\(described(chosen)); choose another step (\(steps(candidates.filter(\.isComplete)))), or bring it back as it is with --include '\(chosen.text)' --as-stored"
            )
        }
        return CheckpointSelection(chosen.index, chosen.path, of: inventory)
    }

    /// The checkpoints that the tree has and `includes` fit, but those that are a part of another.
    private static func candidates(
        _ inventory: StateInventory, _ includes: [String], _ pages: [ChunkID], _ loader: TreeLoader
    ) throws -> [Candidate] {
        let patterns = includes.map { GlobPattern($0) }
        var all = inventory.states.enumerated().compactMap { index, state -> Candidate? in
            guard state.kind == "checkpoint", let path = StatePath.components(state.path) else { return nil }
            return Candidate(index: index, path: path, state: state, run: run(of: path, in: inventory))
        }
        var look = TreeLook(paths: all.map(\.path))
        try look.run(pages: pages, loader: loader)
        all = all.filter { look.entries[StatePath.key($0.path)] != nil }
        let whole = Set(all.filter { $0.state.files == nil }.map { StatePath.key($0.path) })
        return all.filter { candidate in
            for depth in 1..<candidate.path.count where whole.contains(StatePath.key(candidate.path[..<depth])) {
                return false
            }
            return patterns.isEmpty || patterns.contains { $0.matchesOrContains(candidate.path) }
        }
    }

    /// The one that is meant among those of a run. Complete ones come first.
    private static func pick(
        _ choice: CheckpointChoice, _ matching: [Candidate], _ name: String
    ) throws(RepositoryError) -> Candidate {
        let complete = matching.filter(\.isComplete)
        let best = complete.isEmpty ? matching : complete
        let highest = best.reduce(best[0]) { $0.order < $1.order ? $1 : $0 }
        let ties = best.filter { choice != .latest || $0.order == highest.order }
        guard ties.count == 1 else { throw ambiguous(choice, ties, name) }
        return highest
    }

    private static func ambiguous(
        _ choice: CheckpointChoice, _ matching: [Candidate], _ name: String
    ) -> RepositoryError {
        let listed = matching.prefix(8).map { candidate in
            candidate.text + (candidate.state.step.map { " (step \($0))" } ?? "")
        }
        let more = matching.count > 8 ? " and \(matching.count - 8) more" : ""
        return RepositoryError(
            .ambiguous,
            "'\(choice)' fits \(matching.count) checkpoints in \(name): \(listed.joined(separator: ", "))\(more); add --include to choose one"
        )
    }

    /// `run/checkpoint-20 (step 20) is torn: why`.
    private static func described(_ candidate: Candidate) -> String {
        let step = candidate.state.step.map { " (step \($0))" } ?? ""
        let reason = candidate.state.reasons.first.map { ": \($0)" } ?? ""
        return "\(candidate.text)\(step) is \(candidate.state.judgement)\(reason)"
    }

    /// `there are the steps 10, 20`.
    private static func steps(_ candidates: [Candidate]) -> String {
        let steps = Set(candidates.compactMap(\.state.step)).sorted()
        guard !steps.isEmpty else { return "there is none whose step is known" }
        let listed = steps.suffix(12).map { "\($0)" }.joined(separator: ", ")
        let earlier = steps.count > 12 ? " and \(steps.count - 12) before" : ""
        return steps.count == 1 ? "there is step \(listed)" : "there are the steps \(listed)\(earlier)"
    }
}
