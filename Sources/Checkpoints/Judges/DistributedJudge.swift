internal import TensorFiles

/// PyTorch's distributed checkpoints (DCP), as directories of their own.
struct DistributedJudge: Judge {
    let format = CheckpointFormat.dcp

    func recognises(_ directory: TreeDirectory) -> Bool {
        DistributedPart.isLikely(directory) || directory.isEmpty && directory.name.number(after: "step-") != nil
    }

    func judge(_ directory: TreeDirectory, _ context: JudgeContext) throws -> Claim? {
        var finding = CheckpointFinding(path: directory.path, format: format)
        finding.quarantineName = directory.name.isEmpty ? nil : directory.name + ".torn"
        finding.step = Self.step(inName: directory.name)
        if directory.isEmpty {
            finding.isEmpty = true
            return .everything(finding)
        }
        let names = directory.fileNames.filter { DistributedPart.isData($0) || $0.hasSuffix(".metadata.tmp") }
        if names.isEmpty {
            // Other programs have a `.metadata` as well.
            let path = directory.path(DistributedPart.metadataName)
            let isOurs = try context.read(path) { source in
                let start = try source.bytes(0..<min(source.size, 200))
                return .complete(start.starts(with: [0x80]) && start.contains("torch.distributed.checkpoint".utf8))
            }
            guard isOurs.value == true else { return nil }
        }
        try DistributedPart.judge(directory, &finding, context)
        return .everything(finding)
    }

    /// The step in a directory's name, in the forms that training programs use.
    private static func step(inName name: String) -> Int64? {
        for prefix in ["step-", "step_", "step", "global_step", "checkpoint-", "checkpoint_", "iter_", "iter-"] {
            if let step = name.number(after: prefix) { return step }
        }
        return name.number(after: "")
    }

    /// Torchtitan resumes from the directory `step-N` with the highest N that has a `.metadata`
    /// (`CheckpointManager._find_load_step`).
    func run(
        _ directory: TreeDirectory, _ found: [FoundCheckpoint], _ context: JudgeContext
    ) throws -> RunFinding? {
        let own = found.filter {
            $0.format == format && $0.path != directory.path && TreePath.parent($0.path) == directory.path
                && TreePath.name($0.path).number(after: "step-") != nil
        }
        guard !own.isEmpty else { return nil }
        let sorted = own.sorted {
            (TreePath.name($0.path).number(after: "step-") ?? 0) < (TreePath.name($1.path).number(after: "step-") ?? 0)
        }
        var run = RunFinding(path: directory.path, format: format)
        let picked = try sorted.last {
            try context.file(TreePath.join($0.path, DistributedPart.metadataName)) != nil
        }
        run.resumes(from: picked, rule: "the highest step-N that has a .metadata", among: sorted)
        return run
    }
}

extension Array where Element == UInt8 {
    /// Whether `part` occurs in it. For short ones.
    func contains(_ part: String.UTF8View) -> Bool {
        let part = Array(part)
        guard !part.isEmpty, count >= part.count else { return part.isEmpty }
        return (0...count - part.count).contains { self[$0..<$0 + part.count].elementsEqual(part) }
    }
}
