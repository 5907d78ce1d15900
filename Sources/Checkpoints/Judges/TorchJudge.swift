internal import TensorFiles

/// Single files of `torch.save`, each a finding: today's zip archives and what came before version 1.6.
///
/// `torch.save` writes in place, under the final name.
struct TorchJudge: Judge {
    let format = CheckpointFormat.torch

    private static let suffixes = [".pt", ".pth", ".bin", ".ckpt", ".pth.tar", ".pt.tar"]
    /// Names that promise a torch file, so that one without content is one that was begun.
    private static let promises = [".pt", ".pth", ".ckpt", ".pth.tar"]
    /// What a training loop keeps beside the weights.
    private static let trainingKeys = [
        "optimizer", "optimizer_state_dict", "optimizer_states", "optim", "epoch", "step", "global_step", "iteration",
        "scheduler", "lr_scheduler",
    ]

    private func isCandidate(_ name: String) -> Bool { Self.suffixes.contains { name.hasSuffix($0) } }

    func recognises(_ directory: TreeDirectory) -> Bool {
        directory.entries.contains { ($0.kind == .file || $0.isLink) && isCandidate($0.name) }
    }

    func judge(_ directory: TreeDirectory, _ context: JudgeContext) throws -> Claim? {
        var names: Set<String> = []
        var findings: [CheckpointFinding] = []
        for name in directory.fileNames where isCandidate(name) {
            guard let finding = try Self.judge(directory, name, context) else { continue }
            names.insert(name)
            findings.append(finding)
        }
        return names.isEmpty ? nil : .entries(names, findings)
    }

    /// One file; nil when it is none of this format.
    static func judge(
        _ directory: TreeDirectory, _ name: String, _ context: JudgeContext
    ) throws -> CheckpointFinding? {
        let path = directory.path(name)
        let isPromised = promises.contains { name.hasSuffix($0) }
        var finding = CheckpointFinding(path: path, kind: .checkpoint, format: .torch, contents: .files([path]))
        finding.take(directory[name])
        finding.quarantineName = name + ".torn"
        // Many things are called ".bin": those that begin otherwise are not opened by any parser.
        let start =
            isPromised ? nil : try context.read(path) { .complete(try $0.bytes(0..<min($0.size, 4))) }.value
        guard isPromised || start == [0x50, 0x4b, 3, 4] || start?.first == 0x80 else { return nil }
        let read = try TorchPart.read(path, context)
        if case .notThisFormat = read { return nil }
        if directory[name]?.kind == .file, directory[name]?.size == 0 {
            guard isPromised else { return nil }
            finding.isEmpty = true
            return finding
        }
        if read.value == nil, !isPromised, start?.first == 0x80, start != [0x80, 2, 0x8a, 0x0a] { return nil }
        guard let file = finding.accept(read, of: path) else { return finding }
        finding.count(file.layout)
        finding.step = TorchPart.step(in: file.pickle)
        let graph = file.pickle
        if !trainingKeys.contains(where: { graph.value($0, of: graph.root) != nil }) { finding.kind = .model }
        if file.archive == nil { finding.note("written in the form of PyTorch before 1.6, which has no checksums") }
        try context.checkContent(of: file, at: path, &finding)
        return finding
    }
}
