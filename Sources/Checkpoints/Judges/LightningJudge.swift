internal import TensorFiles

/// Checkpoints of PyTorch Lightning: files `*.ckpt`, and directories of that name where the strategy shards them.
struct LightningJudge: Judge {
    let format = CheckpointFormat.lightning
    private static let suffix = ".ckpt"
    private static let versionKey = "pytorch-lightning_version"

    private static func isFile(_ entry: TreeEntry) -> Bool {
        entry.name.hasSuffix(suffix) && (entry.kind == .file || entry.isLink)
    }

    func recognises(_ directory: TreeDirectory) -> Bool {
        directory.name.hasSuffix(Self.suffix)
            && (directory.isEmpty || directory.hasFile("meta.pt") || DistributedPart.isLikely(directory)
                || directory.hasDirectory("checkpoint"))
            || directory.entries.contains(where: Self.isFile)
    }

    func judge(_ directory: TreeDirectory, _ context: JudgeContext) throws -> Claim? {
        if directory.name.hasSuffix(Self.suffix) { return .everything(try sharded(directory, context)) }
        var names: Set<String> = []
        var findings: [CheckpointFinding] = []
        for entry in directory.entries where Self.isFile(entry) {
            guard let finding = try file(directory, entry, context) else { continue }
            names.insert(entry.name)
            findings.append(finding)
        }
        return names.isEmpty ? nil : .entries(names, findings)
    }

    // MARK: files

    /// Whether Lightning gives such names: `epoch=0-step=5.ckpt`, `last.ckpt`, `hpc_ckpt_1.ckpt`.
    private static func isNamedSo(_ name: String) -> Bool {
        name.contains("epoch=") || name.contains("step=") || name == "last" + suffix || name.hasPrefix("last-v")
            || name.number(after: "hpc_ckpt_", before: suffix) != nil
    }

    /// The number behind `step=` in a name.
    static func step(inName name: String) -> Int64? {
        guard let place = name.ranges(of: "step=").last else { return nil }
        return Int64(name[place.upperBound...].prefix { $0.isASCII && $0.isNumber })
    }

    private func file(
        _ directory: TreeDirectory, _ entry: TreeEntry, _ context: JudgeContext
    ) throws -> CheckpointFinding? {
        let path = directory.path(entry.name)
        if entry.isLink, case .found(_, let target) = try context.resolve(path), target.kind != .file { return nil }
        let isNamedSo = Self.isNamedSo(entry.name)
        guard var finding = try TorchJudge.judge(directory, entry.name, context) else { return nil }
        if finding.judgement == .complete || finding.judgement == .unknown,
            let graph = try context.torch(path).value?.pickle
        {
            guard graph.value(Self.versionKey, of: graph.root) != nil else { return nil }
        } else if !isNamedSo {
            return nil
        }
        finding.format = format
        finding.kind = .checkpoint
        finding.step = finding.step ?? Self.step(inName: entry.name)
        if case .symlink(let target) = entry.kind {
            finding.note("a symbolic link to \(target)")
            // The file it leads to is counted where it lies.
            finding.bytes = 0
        }
        return finding
    }

    // MARK: directories

    private func sharded(_ directory: TreeDirectory, _ context: JudgeContext) throws -> CheckpointFinding {
        var finding = CheckpointFinding(path: directory.path, format: format)
        finding.quarantineName = directory.name + ".torn"
        finding.isEmpty = directory.isEmpty
        finding.step = Self.step(inName: directory.name)
        guard !directory.isEmpty else { return finding }
        if let inner = try context.directory(directory.path("checkpoint")), !DistributedPart.isLikely(directory) {
            // The DeepSpeed strategy saves with the tag "checkpoint".
            try DeepSpeedPart.judge(inner, &finding, context)
            return finding
        }
        try DistributedPart.judge(directory, &finding, context)
        let path = directory.path("meta.pt")
        guard directory.hasFile("meta.pt") else {
            if Self.isNamedSo(directory.name) {
                finding.tear(.missing(path, because: "what is written when all shards are there"))
            } else {
                finding.doubt("no meta.pt: Lightning does not load it, PyTorch alone does")
            }
            return finding
        }
        finding.commitMarkers.append(path)
        finding.take(directory["meta.pt"])
        if let graph = try finding.takeTorch(path, context)?.pickle, finding.step == nil {
            finding.step = graph.integer(graph.value("global_step", of: graph.root))
        }
        return finding
    }

    // MARK: the run

    /// `ckpt_path="last"` takes the newest by its time of the files that begin with `last`
    /// (`ModelCheckpoint._find_last_checkpoints`); under SLURM the highest `hpc_ckpt_N.ckpt` comes first.
    func run(
        _ directory: TreeDirectory, _ found: [FoundCheckpoint], _ context: JudgeContext
    ) throws -> RunFinding? {
        let own = found.filter { $0.format == format && TreePath.parent($0.path) == directory.path && !$0.path.isEmpty }
            .sorted { ($0.step ?? -1, $0.modified ?? 0, $0.path) < ($1.step ?? -1, $1.modified ?? 0, $1.path) }
        let hpc = own.filter { TreePath.name($0.path).hasPrefix("hpc_ckpt_") }
        let last = own.filter { TreePath.name($0.path).hasPrefix("last") }
        var run = RunFinding(path: directory.path, format: format)
        let number = { (found: FoundCheckpoint) in
            TreePath.name(found.path).number(after: "hpc_ckpt_", before: Self.suffix) ?? -1
        }
        if let picked = hpc.max(by: { number($0) < number($1) }) {
            run.resumes(from: picked, rule: "the highest hpc_ckpt_N.ckpt, under SLURM", among: own)
        } else if let picked = last.max(by: { ($0.modified ?? 0) < ($1.modified ?? 0) }) {
            run.resumes(from: picked, rule: "the newest last*.ckpt, with ckpt_path=\"last\"", among: own)
        } else {
            return nil
        }
        return run
    }
}
