internal import TensorFiles

/// Checkpoints of Megatron-LM and Megatron-Core: a directory for each iteration, and a tracker file beside them.
struct MegatronJudge: Judge {
    let format = CheckpointFormat.megatronDist
    let trackerNames: Set<String> = [tracker]
    private static let tracker = "latest_checkpointed_iteration.txt"

    private func iteration(_ name: String) -> Int64? { name.number(after: "iter_") }

    private func isLegacy(_ directory: TreeDirectory) -> Bool {
        directory.directoryNames.contains { MegatronPart.ranks($0) != nil }
    }

    func recognises(_ directory: TreeDirectory) -> Bool {
        isLegacy(directory) || MegatronPart.isDistributed(directory)
            || iteration(directory.name) != nil
                && (directory.isEmpty || directory.hasFile(MegatronPart.configName)
                    || DistributedPart.isLikely(directory))
    }

    func judge(_ directory: TreeDirectory, _ context: JudgeContext) throws -> Claim? {
        var finding = CheckpointFinding(path: directory.path, format: format)
        finding.quarantineName = directory.name.isEmpty ? nil : directory.name + ".torn"
        if directory.isEmpty {
            finding.isEmpty = true
        } else if isLegacy(directory), !directory.hasFile(MegatronPart.configName) {
            finding.format = .megatron
            try MegatronPart.judgeLegacy(directory, &finding, context)
        } else {
            if iteration(directory.name) == nil, !DistributedPart.isLikely(directory) {
                // Many programs have a metadata.json.
                let config = try context.json(directory.path(MegatronPart.configName))
                guard config.value?["sharded_backend"] != nil else { return nil }
            }
            try MegatronPart.judgeDistributed(
                directory, &finding, isExpected: try siblingsAreDistributed(directory, context), context)
        }
        finding.step = iteration(directory.name) ?? finding.step
        return .everything(finding)
    }

    /// Whether another iteration beside this one has the file that is written last.
    private func siblingsAreDistributed(_ directory: TreeDirectory, _ context: JudgeContext) throws -> Bool {
        guard !directory.path.isEmpty, let parent = try context.directory(TreePath.parent(directory.path)) else {
            return false
        }
        for name in parent.directoryNames.suffix(32) where iteration(name) != nil && name != directory.name {
            if try context.file(TreePath.join(parent.path(name), MegatronPart.configName)) != nil { return true }
        }
        return false
    }

    /// Megatron resumes from the iteration in its tracker file, `release` for one without; without the file it starts
    /// anew (`training/checkpointing.py`, `_load_base_checkpoint` and `read_metadata`).
    func run(
        _ directory: TreeDirectory, _ found: [FoundCheckpoint], _ context: JudgeContext
    ) throws -> RunFinding? {
        let own = found.filter {
            ($0.format == .megatron || $0.format == .megatronDist) && $0.path != directory.path
                && TreePath.parent($0.path) == directory.path
                && (iteration(TreePath.name($0.path)) != nil || TreePath.name($0.path) == "release")
        }
        guard !own.isEmpty else { return nil }
        let candidates = own.sorted { ($0.step ?? -1) < ($1.step ?? -1) }
        var run = RunFinding(path: directory.path, format: candidates[candidates.count - 1].format)
        let rule = "the iteration in \(Self.tracker)"
        let path = directory.path(Self.tracker)
        guard directory.hasFile(Self.tracker) else {
            run.warn(.trackerUnusable, "there is no file \(path), so Megatron starts anew")
            run.resumes(from: nil, rule: rule, among: candidates)
            return run
        }
        run.trackers = [path]
        let text = try context.text(path)
        guard let word = text.value, word == "release" || word.number(after: "") != nil else {
            run.warn(.trackerUnusable, "\(path): \(text.reason ?? "neither a number nor \"release\"")")
            run.resumes(from: nil, rule: rule, among: candidates)
            return run
        }
        let picked = candidates.first {
            let name = TreePath.name($0.path)
            return word == "release" ? name == "release" : iteration(name) == word.number(after: "")
        }
        run.resumes(from: picked, rule: rule, among: candidates)
        let newest = candidates[candidates.count - 1]
        if picked == nil {
            let digits = String(repeating: "0", count: max(7 - word.utf8.count, 0)) + word
            let name = word == "release" ? word : "iter_\(digits)"
            run.resume = RunFinding.Resume(path: directory.path(name), step: word.number(after: ""), rule: rule)
            run.warn(.trackerNamesMissing, "\(path) says \(word), and there is no \(name)")
        } else if let picked, picked.path != newest.path, iteration(TreePath.name(newest.path)) != nil {
            run.warn(
                .trackerDisagrees,
                "\(path) says \(word), and \(TreePath.name(newest.path)) is newer: a save that did not come to its end")
        }
        return run
    }
}
