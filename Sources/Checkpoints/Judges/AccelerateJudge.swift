internal import TensorFiles

/// What `Accelerator.save_state` leaves (`accelerate/checkpointing.py`, `save_accelerator_state`): weights, optimizers,
/// schedulers, samplers, and each rank's random numbers last but for registered objects.
struct AccelerateJudge: Judge {
    let format = CheckpointFormat.accelerate

    private static func isRandomState(_ name: String) -> Bool {
        name.number(after: "random_states_", before: ".pkl") != nil
    }

    /// Whether the names are those of a saved state, and not of the Transformers library's Trainer.
    static func isLikely(_ directory: TreeDirectory) -> Bool {
        guard !directory.hasFile(TrainerJudge.stateName), !directory.hasFile("training_args.bin") else { return false }
        return directory.fileNames.contains { isRandomState($0) }
            || directory.hasFile("optimizer.bin")
                && directory.fileNames.contains { $0 == "scheduler.bin" || isWeights($0) }
    }

    private static func isWeights(_ name: String) -> Bool {
        for (stem, suffix) in [("model", ".safetensors"), ("pytorch_model", ".bin")] {
            if name == stem + suffix || name.number(after: stem + "_", before: suffix) != nil { return true }
        }
        return false
    }

    /// Files of `torch.save` beside the weights.
    private static func isState(_ name: String) -> Bool {
        if isRandomState(name) || name == "scaler.pt" || name.number(after: "custom_checkpoint_", before: ".pkl") != nil
        {
            return true
        }
        return ["scheduler", "sampler", "dl_state_dict"].contains {
            name == $0 + ".bin" || name.number(after: $0 + "_", before: ".bin") != nil
        }
    }

    func recognises(_ directory: TreeDirectory) -> Bool {
        Self.isLikely(directory) || directory.isEmpty && directory.name.number(after: "checkpoint_") != nil
    }

    func judge(_ directory: TreeDirectory, _ context: JudgeContext) throws -> Claim? {
        var finding = CheckpointFinding(path: directory.path, format: format)
        finding.step = directory.name.number(after: "step_") ?? directory.name.number(after: "checkpoint-")
        finding.quarantineName = directory.name.isEmpty ? nil : directory.name + ".torn"
        finding.isEmpty = directory.isEmpty
        guard !directory.isEmpty else { return .everything(finding) }
        var hasWeights = try TrainerJudge.judgeFullySharded(directory, "pytorch_model_fsdp", &finding, context)
        // Takes the plain files of optimizers as well.
        _ = try TrainerJudge.judgeFullySharded(directory, "optimizer", &finding, context)
        for name in directory.fileNames where !name.hasPrefix("optimizer") {
            finding.take(directory[name])
            if Self.isWeights(name) {
                try WeightsPart.judgeFile(directory.path(name), &finding, context)
                hasWeights = true
            } else if Self.isState(name) {
                try finding.takeTorch(directory.path(name), context)
            }
        }
        // `save_model` and its like leave an index here.
        if !hasWeights { hasWeights = try WeightsPart.judge(directory, &finding, context) }
        for name in directory.directoryNames {
            guard let inner = try context.directory(directory.path(name)) else { continue }
            if DeepSpeedPart.isLikely(inner) {
                let step = finding.step
                try DeepSpeedPart.judge(inner, &finding, context)
                finding.step = step
                hasWeights = true
            } else if try WeightsPart.judge(inner, &finding, context) {
                // Hooks of diffusers put each model into a directory of its own.
                hasWeights = true
            }
        }
        if !hasWeights { finding.doubt("no weights in any form that is known") }
        checkRandomStates(directory, &finding)
        return .everything(finding)
    }

    /// `load_accelerator_state` goes on without them, and only says so in its log.
    private func checkRandomStates(_ directory: TreeDirectory, _ finding: inout CheckpointFinding) {
        let numbers = Set(directory.fileNames.compactMap { $0.number(after: "random_states_", before: ".pkl") })
        guard let highest = numbers.max() else {
            return finding.doubt("no random_states_N.pkl, which are written last: the save may have been cut short")
        }
        finding.commitMarkers += numbers.sorted().map { directory.path("random_states_\($0).pkl") }
        guard highest < RankGrid.mostRanks else { return finding.doubt("\(directory.path) has a rank \(highest)") }
        if let missing = (0...highest).first(where: { !numbers.contains($0) }) {
            finding.doubt("random_states_\(missing).pkl is missing, of \(highest + 1) or more")
        }
        let custom = Set(directory.fileNames.compactMap { $0.number(after: "custom_checkpoint_", before: ".pkl") })
        if let last = custom.max(), last < RankGrid.mostRanks,
            let missing = (0...last).first(where: { !custom.contains($0) })
        {
            finding.tear(
                .missing(directory.path("custom_checkpoint_\(missing).pkl"), because: "each registered object's state"))
        }
    }

    /// `load_state` takes the directory whose name ends in the highest number; the examples of diffusers do the same with
    /// `checkpoint-N`.
    func run(
        _ directory: TreeDirectory, _ found: [FoundCheckpoint], _ context: JudgeContext
    ) throws -> RunFinding? {
        let own = found.filter {
            $0.format == format && $0.path != directory.path && TreePath.parent($0.path) == directory.path
        }
        let names = own.map { TreePath.name($0.path) }
        // The Trainer's run, where it has a part in it.
        guard
            !found.contains(where: {
                $0.format == .transformersTrainer && TreePath.parent($0.path) == directory.path
            })
        else { return nil }
        for prefix in ["checkpoint_", "checkpoint-"] where names.contains(where: { $0.number(after: prefix) != nil }) {
            return RunFinding.byHighestNumber(directory, found, format, prefix: prefix)
        }
        return nil
    }
}
