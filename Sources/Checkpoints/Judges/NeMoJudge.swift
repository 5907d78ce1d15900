internal import TensorFiles

/// Checkpoints of NeMo: directories with `context` and `weights` of NeMo 2, and archives `*.nemo` of NeMo 1.
struct NeMoJudge: Judge {
    let format = CheckpointFormat.nemo
    /// A file of the checkpoint's name with this at its end stands beside it until it is whole
    /// (`nemo/utils/callbacks/nemo_model_checkpoint.py`, `set_checkpoint_unfinished_marker`).
    private static let unfinished = "-unfinished"

    func recognises(_ directory: TreeDirectory) -> Bool {
        directory.hasDirectory("weights") && directory.hasDirectory("context")
            || directory.fileNames.contains { $0.hasSuffix(".nemo") || $0.hasSuffix(Self.unfinished) }
    }

    func judge(_ directory: TreeDirectory, _ context: JudgeContext) throws -> Claim? {
        if directory.hasDirectory("weights") { return try judgeDirectory(directory, context).map { .everything($0) } }
        var names: Set<String> = []
        var findings: [CheckpointFinding] = []
        for name in directory.fileNames where name.hasSuffix(".nemo") {
            let path = directory.path(name)
            var finding = CheckpointFinding(path: path, kind: .model, format: format, contents: .files([path]))
            finding.take(directory[name])
            finding.quarantineName = name + ".torn"
            if directory[name]?.kind == .file, directory[name]?.size == 0 {
                finding.isEmpty = true
            } else {
                try NeMoArchive.judge(path, &finding, context)
            }
            names.insert(name)
            findings.append(finding)
        }
        // A save that has a marker and nothing else yet, or whose directory is not one of NeMo's so far.
        for name in directory.directoryNames where directory.hasFile(name + Self.unfinished) {
            guard let inner = try context.directory(directory.path(name)),
                let finding = try judgeDirectory(inner, context)
            else { continue }
            names.insert(name)
            findings.append(finding)
        }
        return names.isEmpty ? nil : .entries(names, findings)
    }

    private func judgeDirectory(_ directory: TreeDirectory, _ context: JudgeContext) throws -> CheckpointFinding? {
        let marker = directory.path + Self.unfinished
        let isUnfinished = try !directory.path.isEmpty && context.file(marker) != nil
        var finding = CheckpointFinding(path: directory.path, format: format)
        finding.step = LightningJudge.step(inName: directory.name)
        finding.quarantineName = directory.name.isEmpty ? nil : directory.name + ".torn"
        if directory.path.isEmpty { finding.note("a marker of an unfinished save would lie beside it, out of sight") }
        if isUnfinished {
            finding.inProgress.append(marker)
            finding.tear(marker, expected: "no marker of an unfinished save", found: "one")
        }
        guard let weights = try context.directory(directory.path("weights")) else {
            if !isUnfinished { return nil }
            finding.tear(.missing(directory.path("weights"), because: "the weights"))
            return finding
        }
        if weights.isEmpty {
            finding.tear(weights.path, expected: "weights", found: "an empty directory")
        } else if MegatronPart.isDistributed(weights) || DistributedPart.isLikely(weights) {
            let step = finding.step
            try MegatronPart.judgeDistributed(weights, &finding, isExpected: false, context)
            // The name counts from 0, and so does NeMo when it resumes from it.
            finding.step = step ?? finding.step
        } else if try !WeightsPart.judge(weights, &finding, context) {
            // A directory of these two names may be anything's.
            if !isUnfinished, !directory.hasDirectory("context") { return nil }
            finding.doubt("\(weights.path) holds weights in no form that is known")
        }
        guard let inner = try context.directory(directory.path("context")) else { return finding }
        for name in ["io.json"] where inner.hasFile(name) { try finding.takeJSON(inner.path(name), context) }
        return finding
    }

    /// NeMo 2 resumes from the newest directory whose name ends in `-last` and that has no marker
    /// (`nemo/lightning/resume.py`, `AutoResume._find_trainer_ckpt_path`).
    func run(
        _ directory: TreeDirectory, _ found: [FoundCheckpoint], _ context: JudgeContext
    ) throws -> RunFinding? {
        let own = found.filter {
            $0.format == format && $0.kind == .checkpoint && $0.path != directory.path
                && TreePath.parent($0.path) == directory.path
        }.sorted { ($0.modified ?? 0, $0.path) < ($1.modified ?? 0, $1.path) }
        guard own.contains(where: { $0.path.hasSuffix("-last") }) else { return nil }
        var run = RunFinding(path: directory.path, format: format)
        let picked = own.last {
            $0.path.hasSuffix("-last") && !directory.hasFile(TreePath.name($0.path) + Self.unfinished)
        }
        run.resumes(from: picked, rule: "the newest *-last without a marker of an unfinished save", among: own)
        return run
    }
}
