internal import TensorFiles

/// Checkpoints of the Transformers library's `Trainer`: directories `checkpoint-N`.
///
/// `Trainer._save_checkpoint` writes the weights, the optimizer's and the scheduler's states, the random numbers' states of
/// each rank, and `trainer_state.json` last, by rank 0 alone, without waiting for others and without renaming anything.
struct TrainerJudge: Judge {
    let format = CheckpointFormat.transformersTrainer
    static let stateName = "trainer_state.json"
    private static let argumentsName = "training_args.bin"
    private static let sentinelName = "checkpoint-is-incomplete.txt"

    static func step(_ name: String) -> Int64? { name.number(after: "checkpoint-") }

    private static func isRandomState(_ name: String) -> Bool {
        name == "rng_state.pth" || name.number(after: "rng_state_", before: ".pth") != nil
    }

    /// Whether there is something that only the Trainer writes.
    private static func isTrainers(_ directory: TreeDirectory) -> Bool {
        [stateName, argumentsName, sentinelName, "optimizer.pt"].contains { directory.hasFile($0) }
            || directory.fileNames.contains { isRandomState($0) }
    }

    func recognises(_ directory: TreeDirectory) -> Bool {
        if Self.step(directory.name) != nil || directory.name.number(after: "tmp-checkpoint-") != nil {
            return directory.isEmpty || Self.isTrainers(directory)
                || directory.fileNames.contains(where: Self.isTemporary)
                || !AccelerateJudge.isLikely(directory) && Self.mayBeWeights(directory)
        }
        // The run's own directory has a state and the final weights, too, but no optimizer.
        return directory.hasFile(Self.stateName)
            && directory.fileNames.contains {
                Self.isRandomState($0) || ["optimizer.pt", "optimizer.bin", "scheduler.pt"].contains($0)
            } && !directory.directoryNames.contains { Self.step($0) != nil }
    }

    /// The safetensors library writes a file under such a name and renames it.
    private static func isTemporary(_ name: String) -> Bool { name.hasPrefix(".tmp") }

    private static func mayBeWeights(_ directory: TreeDirectory) -> Bool {
        directory.fileNames.contains { name in
            name.hasPrefix("model") && name.hasSuffix(".safetensors") || name.hasPrefix("pytorch_model")
                || PEFTJudge.weightNames.contains(name)
        }
    }

    func judge(_ directory: TreeDirectory, _ context: JudgeContext) throws -> Claim? {
        var finding = CheckpointFinding(path: directory.path, format: format)
        finding.step = Self.step(directory.name) ?? directory.name.number(after: "tmp-checkpoint-")
        finding.quarantineName = directory.name.isEmpty ? nil : directory.name + ".torn"
        finding.isEmpty = directory.isEmpty
        if directory.isEmpty { return .everything(finding) }
        if directory.name.hasPrefix("tmp-") {
            finding.inProgress.append(directory.path)
            finding.tear(directory.path, expected: "a directory renamed to its final name", found: "a temporary one")
        }
        finding.inProgress += directory.fileNames.filter(Self.isTemporary).map { directory.path($0) }
        try judgeState(directory, &finding, context)
        let ranks = try judgeWeights(directory, &finding, context)
        try judgeTrainingState(directory, &finding, ranks: ranks, context)
        if directory.hasFile(Self.sentinelName) {
            finding.inProgress.append(directory.path(Self.sentinelName))
            finding.doubt("\(directory.path(Self.sentinelName)) is there: a save on a signal did not come to its end")
        }
        return .everything(finding)
    }

    // MARK: trainer_state.json

    private func judgeState(
        _ directory: TreeDirectory, _ finding: inout CheckpointFinding, _ context: JudgeContext
    ) throws {
        let path = directory.path(Self.stateName)
        guard directory.hasFile(Self.stateName) else {
            if Self.isTrainers(directory) {
                finding.tear(.missing(path, because: "the state that the Trainer writes last"))
            } else if try siblingsAreTrainers(directory, context) {
                finding.tear(.missing(path, because: "the state that the Trainer writes last, as beside it"))
            } else {
                finding.doubt("no \(Self.stateName): a save of the Trainer that was cut short, or another program's")
            }
            return
        }
        finding.take(directory[Self.stateName])
        finding.commitMarkers.append(path)
        let state = try finding.takeJSON(path, keeping: ["global_step", "best_model_checkpoint"], context)
        guard let state else { return }
        guard let step = state["global_step"]?.integer else {
            return finding.tear(path, expected: "the step in global_step", found: "none")
        }
        if let named = finding.step, named != step {
            finding.doubt("\(path) says step \(step), the directory's name says \(named)")
        }
        finding.step = finding.step ?? step
        if let best = state["best_model_checkpoint"]?.text, best.hasPrefix("/"),
            context.tree.location.map({ !best.hasPrefix($0 + "/") }) ?? true
        {
            finding.note("the best checkpoint is named by its absolute path, \(best)")
        }
    }

    /// Whether a checkpoint beside this one is the Trainer's.
    private func siblingsAreTrainers(_ directory: TreeDirectory, _ context: JudgeContext) throws -> Bool {
        guard !directory.path.isEmpty, let parent = try context.directory(TreePath.parent(directory.path)) else {
            return false
        }
        for name in parent.directoryNames.suffix(32) where Self.step(name) != nil && name != directory.name {
            if try context.file(TreePath.join(parent.path(name), Self.stateName)) != nil { return true }
        }
        return false
    }

    // MARK: weights

    /// Judges the weights wherever the Trainer puts them. Returns the number of ranks where a DeepSpeed file tells.
    private func judgeWeights(
        _ directory: TreeDirectory, _ finding: inout CheckpointFinding, _ context: JudgeContext
    ) throws -> Int64? {
        var hasWeights = try WeightsPart.judge(directory, &finding, context)
        if PEFTJudge.weightNames.contains(where: { directory.hasFile($0) }) {
            try PEFTJudge.judge(directory, &finding, context)
            hasWeights = true
        }
        for name in directory.directoryNames {
            guard let inner = try context.directory(directory.path(name)) else { continue }
            if PEFTJudge.weightNames.contains(where: { inner.hasFile($0) }) {
                try PEFTJudge.judge(inner, &finding, context)
                hasWeights = true
            }
        }
        if try Self.judgeFullySharded(directory, "pytorch_model_fsdp", &finding, context) { hasWeights = true }
        let (ranks, isDeepSpeed) = try Self.judgeDeepSpeed(directory, &finding, context)
        if !hasWeights, !isDeepSpeed {
            finding.tear(directory.path, expected: "weights, in any form that the Trainer writes", found: "none")
        }
        return ranks
    }

    /// What FSDP leaves: a directory of PyTorch's distributed checkpoints for each model, or one file
    /// (`accelerate/utils/fsdp_utils.py`, `save_fsdp_model` and `save_fsdp_optimizer`). False when there is none.
    static func judgeFullySharded(
        _ directory: TreeDirectory, _ stem: String, _ finding: inout CheckpointFinding, _ context: JudgeContext
    ) throws -> Bool {
        var isThere = false
        for name in directory.directoryNames where name.number(after: "\(stem)_") != nil {
            guard let inner = try context.directory(directory.path(name)) else { continue }
            let markers = finding.commitMarkers
            finding.commitMarkers = []
            let step = finding.step
            try DistributedPart.judge(inner, &finding, context)
            finding.step = step
            // What commits the whole comes behind what commits its parts.
            finding.commitMarkers += markers
            isThere = true
        }
        for name in directory.fileNames where name.hasPrefix(stem) && name.hasSuffix(".bin") {
            try finding.takeTorch(directory.path(name), context)
            isThere = true
        }
        return isThere
    }

    /// What DeepSpeed leaves: a tag's directory and `latest`, which names it and is read on resume. Returns the ranks, and
    /// whether there was any.
    static func judgeDeepSpeed(
        _ directory: TreeDirectory, _ finding: inout CheckpointFinding, _ context: JudgeContext
    ) throws -> (ranks: Int64?, isThere: Bool) {
        var tags: [TreeDirectory] = []
        for name in directory.directoryNames {
            guard let inner = try context.directory(directory.path(name)) else { continue }
            if DeepSpeedPart.isLikely(inner) || name.number(after: "global_step") != nil { tags.append(inner) }
        }
        guard !tags.isEmpty || directory.hasFile("latest") else { return (nil, false) }
        var tag = tags.last
        if directory.hasFile("latest") {
            let path = directory.path("latest")
            finding.commitMarkers.insert(path, at: 0)
            guard let name = finding.accept(try context.text(path), of: path) else { return (nil, true) }
            tag = tags.first { $0.name == name }
            if tag == nil {
                finding.tear(directory.path(name), expected: "the directory that \(path) names", found: "no such")
                return (nil, true)
            }
        } else {
            finding.tear(.missing(directory.path("latest"), because: "the name of the directory to load"))
        }
        guard let tag else { return (nil, true) }
        let step = finding.step
        let ranks = try DeepSpeedPart.judge(tag, &finding, context)
        finding.step = step ?? finding.step
        return (ranks, true)
    }

    // MARK: optimizer, scheduler, random numbers

    private func judgeTrainingState(
        _ directory: TreeDirectory, _ finding: inout CheckpointFinding, ranks: Int64?, _ context: JudgeContext
    ) throws {
        var savesOnlyModel: Bool?
        if directory.hasFile(Self.argumentsName) {
            let arguments = try finding.takeTorch(directory.path(Self.argumentsName), context)
            if let graph = arguments?.pickle, case .bool(let only) = graph.value("save_only_model", of: graph.root) {
                savesOnlyModel = only
            }
        }
        var hasOptimizer = try Self.judgeFullySharded(directory, "optimizer", &finding, context)
        for name in ["optimizer.pt", "scaler.pt", "scheduler.pt"] where directory.hasFile(name) {
            try finding.takeTorch(directory.path(name), context)
        }
        // On TPUs and on SageMaker each rank writes one, with its number before or behind the name.
        hasOptimizer = hasOptimizer || directory.fileNames.contains { $0.contains("optimizer.pt") }
        let isDeepSpeed = directory.hasFile("latest")
        let random = directory.fileNames.filter { Self.isRandomState($0) }
        for name in random { try finding.takeTorch(directory.path(name), context) }
        if !isDeepSpeed {
            let hasScheduler = directory.hasFile("scheduler.pt")
            if hasOptimizer != hasScheduler {
                // Without both, the Trainer silently goes on without either.
                finding.tear(
                    directory.path, expected: "the states of the optimizer and of the scheduler",
                    found: hasOptimizer ? "none of the scheduler" : "none of the optimizer")
            } else if !hasOptimizer, savesOnlyModel == false || !random.isEmpty {
                finding.tear(directory.path, expected: "the state of the optimizer", found: "none")
            } else if !hasOptimizer {
                finding.note("weights only: training cannot go on from it as it was")
                if savesOnlyModel == nil { finding.doubt("nothing says whether the optimizer's state was to be saved") }
                return
            }
        }
        checkRandomStates(random, directory, ranks: ranks, &finding)
    }

    private func checkRandomStates(
        _ names: [String], _ directory: TreeDirectory, ranks: Int64?, _ finding: inout CheckpointFinding
    ) {
        guard !names.isEmpty else {
            return finding.doubt("no state of the random numbers: training would go on with others")
        }
        let numbers = Set(names.compactMap { $0.number(after: "rng_state_", before: ".pth") })
        guard let highest = numbers.max() else { return }
        let count = max(highest + 1, ranks ?? 0)
        guard count <= RankGrid.mostRanks else { return finding.doubt("\(directory.path) has a rank \(highest)") }
        // The Trainer goes on without the file, with other random numbers on that rank.
        let missing = (0..<count).filter { !numbers.contains($0) }
        if !missing.isEmpty {
            finding.doubt(
                "rng_state_\(missing[0]).pth is missing, and \(missing.count - 1) more of \(count): training would go on "
                    + "with other random numbers")
        }
    }

    // MARK: the run

    /// `get_last_checkpoint` (`trainer_utils.py`) takes the directory `checkpoint-N` with the highest N, whatever is in it.
    func run(
        _ directory: TreeDirectory, _ found: [FoundCheckpoint], _ context: JudgeContext
    ) throws -> RunFinding? {
        let own = found.filter {
            $0.format == format && $0.path != directory.path && TreePath.parent($0.path) == directory.path
                && Self.step(TreePath.name($0.path)) != nil
        }
        guard !own.isEmpty else { return nil }
        return RunFinding.byHighestNumber(directory, found, format, prefix: "checkpoint-")
    }
}

extension RunFinding {
    /// The run of a framework that takes the directory with the highest number behind `prefix`, whatever is in it.
    static func byHighestNumber(
        _ directory: TreeDirectory, _ found: [FoundCheckpoint], _ format: CheckpointFormat, prefix: String
    ) -> RunFinding {
        var run = RunFinding(path: directory.path, format: format)
        let number = { (path: String) in TreePath.name(path).number(after: prefix) ?? -1 }
        let candidates = found.filter {
            $0.path != directory.path && TreePath.parent($0.path) == directory.path && number($0.path) >= 0
        }.sorted { (number($0.path), $0.path) < (number($1.path), $1.path) }
        let rule = "the highest \(prefix)N"
        run.resumes(from: candidates.last, rule: rule, among: candidates)
        let highest = directory.directoryNames.filter { number($0) >= 0 }.max { number($0) < number($1) }
        if let highest, directory.path(highest) != run.resume?.path {
            let path = directory.path(highest)
            run.resume = Resume(path: path, step: number(highest), rule: rule)
            run.warn(.other, "\(format.rawValue) resumes from \(path), which is no checkpoint that could be judged")
        }
        return run
    }
}
