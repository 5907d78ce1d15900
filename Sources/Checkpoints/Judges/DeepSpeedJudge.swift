internal import TensorFiles

/// Checkpoints of DeepSpeed: a directory for each tag, and a file `latest` beside them.
struct DeepSpeedJudge: Judge {
    let format = CheckpointFormat.deepspeed
    let trackerNames: Set<String> = ["latest", "latest_universal"]

    func recognises(_ directory: TreeDirectory) -> Bool {
        DeepSpeedPart.isLikely(directory)
            || directory.name.number(after: "global_step") != nil
                && (directory.isEmpty || directory.hasDirectory("offloaded_tensors"))
    }

    func judge(_ directory: TreeDirectory, _ context: JudgeContext) throws -> Claim? {
        let isUniversal = directory.name.hasSuffix("_universal") || directory.hasDirectory("zero")
        var finding = CheckpointFinding(path: directory.path, format: isUniversal ? .deepspeedUniversal : format)
        finding.isEmpty = directory.isEmpty
        if !directory.isEmpty { try DeepSpeedPart.judge(directory, &finding, context) }
        finding.step =
            directory.name.number(after: "global_step")
            ?? directory.name.number(after: "global_step", before: "_universal") ?? finding.step
        finding.quarantineName = directory.name.isEmpty ? nil : directory.name + ".torn"
        return .everything(finding)
    }

    /// DeepSpeed reads the tag from `latest`, which rank 0 writes before the other ranks are known to have finished
    /// (`engine.py`, `load_checkpoint`); without it, it starts anew.
    func run(
        _ directory: TreeDirectory, _ found: [FoundCheckpoint], _ context: JudgeContext
    ) throws -> RunFinding? {
        let own = found.filter {
            ($0.format == .deepspeed || $0.format == .deepspeedUniversal) && $0.path != directory.path
                && TreePath.parent($0.path) == directory.path
        }
        guard !own.isEmpty else { return nil }
        let ordinary = own.filter { $0.format == .deepspeed }
        let isUniversal = ordinary.isEmpty
        let candidates = (isUniversal ? own : ordinary).sorted { ($0.step ?? -1) < ($1.step ?? -1) }
        let tracker = isUniversal ? "latest_universal" : "latest"
        var run = RunFinding(path: directory.path, format: isUniversal ? .deepspeedUniversal : .deepspeed)
        run.trackers = trackerNames.sorted().filter { directory.hasFile($0) }.map { directory.path($0) }
        let tag: String?
        if directory.hasFile(tracker) {
            let text = try context.text(directory.path(tracker))
            tag = text.value
            if tag == nil { run.warn(.trackerUnusable, "\(directory.path(tracker)): \(text.reason ?? "")") }
        } else {
            tag = nil
            run.warn(.trackerUnusable, "there is no file \(directory.path(tracker)), so DeepSpeed starts anew")
        }
        let picked = tag.flatMap { tag in candidates.first { TreePath.name($0.path) == tag } }
        run.resumes(from: picked, rule: "the tag in the file \(tracker)", among: candidates)
        guard let tag else { return run }
        let path = directory.path(tag)
        if let picked {
            if let newest = candidates.last, newest.path != picked.path {
                run.warn(.trackerDisagrees, "\(tracker) says \(tag), and the newest is \(TreePath.name(newest.path))")
            }
        } else {
            run.resume = RunFinding.Resume(path: path, rule: "the tag in the file \(tracker)")
            run.warn(.trackerNamesMissing, "\(tracker) says \(tag), which is not there")
        }
        return run
    }
}
