internal import TensorFiles

/// Checkpoints of Flax's own `flax.training.checkpoints`: a file `checkpoint_STEP` each, arrays of several hosts beside it
/// in `checkpoint_STEP_gda`. What Orbax writes for Flax is a directory of that name, and the Orbax judge's.
package struct FlaxJudge: Judge {
    package let format = CheckpointFormat.flax

    package init() {}

    private static let prefix = "checkpoint_", apart = "_gda", temporary = "checkpoint_tmp"

    package func recognises(_ directory: TreeDirectory) -> Bool {
        directory.fileNames.contains { Self.step($0) != nil }
    }

    /// The step in a name, which may have a fraction: `save_checkpoint` takes any number. Nil for another name.
    private static func step(_ name: String) -> Double? {
        guard name.hasPrefix(prefix) else { return nil }
        let number = name.dropFirst(prefix.count)
        guard number.first.map({ $0.isASCII && $0.isNumber }) ?? false,
            number.utf8.allSatisfy({ (0x30...0x39).contains($0) || $0 == 0x2e })
        else { return nil }
        return Double(number)
    }

    package func judge(_ directory: TreeDirectory, _ context: JudgeContext) throws -> Claim? {
        var files: [(name: String, file: Finding<FlaxFile>)] = []
        for name in directory.fileNames where Self.step(name) != nil {
            files.append((name, try context.read(directory.path(name)) { try FlaxFile.read($0) }))
        }
        let isFlax = files.contains { file in
            if case .notThisFormat = file.file { false } else { file.file.evidence?.kind != .missing }
        }
        guard isFlax else { return nil }
        var names: Set<String> = []
        var findings: [CheckpointFinding] = []
        for (name, file) in files {
            let path = directory.path(name)
            var finding = CheckpointFinding(path: path, format: .flax, contents: .files([path]))
            finding.step = Self.step(name).flatMap { Int64(exactly: $0) }
            finding.modified = directory[name]?.modified
            // Everything that begins with the prefix is picked, so the name must begin otherwise.
            finding.quarantineName = "torn-\(name)"
            finding.commitMarkers = [path]
            names.insert(name)
            if case .notThisFormat = file {
                // A file of zeros, or an empty one, among files of Flax.
                let size = try context.file(path)?.size ?? 0
                guard try startsWithZeros(path, context) else {
                    names.remove(name)
                    continue
                }
                finding.tear(
                    path, expected: "a MessagePack document", found: "\(size) bytes, none of them anything but 0")
            } else if let file = finding.accept(file, of: path) {
                finding.count(file.totals)
                try checkApart(file, directory, name, &finding, context)
            }
            if directory.hasDirectory(name + Self.apart) { names.insert(name + Self.apart) }
            findings.append(finding)
        }
        findings += unfinished(directory, &names)
        return .entries(names, findings)
    }

    /// Whether the file is empty, or its first bytes are all zero: space that was reserved and never written.
    private func startsWithZeros(_ path: String, _ context: JudgeContext) throws -> Bool {
        let start = try context.read(path) { .complete(try $0.bytes(0..<min($0.size, 4096))) }
        return start.value?.allSatisfy { $0 == 0 } ?? false
    }

    /// Arrays of several hosts, each a zarr array in a directory (`_restore_mpas`).
    private func checkApart(
        _ file: FlaxFile, _ directory: TreeDirectory, _ name: String, _ finding: inout CheckpointFinding,
        _ context: JudgeContext
    ) throws {
        guard !file.arraysApart.isEmpty else { return }
        let root = directory.path(name + Self.apart)
        guard try context.directory(root) != nil else {
            return finding.tear(.missing(root, because: "\(file.arraysApart.count) arrays that \(name) refers to"))
        }
        var files = [finding.path]
        try context.walk(root) { path, entry in
            if entry.kind == .file, files.count < context.options.directoryEntries { files.append(path) }
            return true
        }
        finding.contents = .files(files.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) })
        for array in file.arraysApart {
            let path = TreePath.join(TreePath.join(root, array), ".zarray")
            guard let header = finding.accept(try context.read(path) { try ZarrArray.read($0) }, of: path) else {
                continue
            }
            let inner = try context.directory(TreePath.parent(path))
            let chunks = inner?.fileNames.count { $0 != ".zarray" } ?? 0
            if header.chunkCount != UInt64(chunks) {
                finding.doubt(
                    "\(TreePath.parent(path)) has \(chunks) of \(header.chunkCount ?? 0) chunks; those of zeros need not "
                        + "be there")
            }
        }
    }

    /// What a save that never ended left, or one that goes on is writing.
    private func unfinished(_ directory: TreeDirectory, _ names: inout Set<String>) -> [CheckpointFinding] {
        let left = [Self.temporary, Self.temporary + Self.apart].filter { directory[$0] != nil }
        guard let first = left.first else { return [] }
        names.formUnion(left)
        let paths = left.map { directory.path($0) }
        var finding = CheckpointFinding(
            path: directory.path(first), format: .flax, contents: .files(paths))
        finding.inProgress = paths
        finding.tear(
            directory.path(first), expected: "the name of a step, which a save gives it at the end",
            found: "the temporary name \(first)")
        return [finding]
    }

    /// `latest_checkpoint`: the last of the names in natural order, of files and of directories that Orbax wrote.
    package func run(
        _ directory: TreeDirectory, _ found: [FoundCheckpoint], _ context: JudgeContext
    ) throws -> RunFinding? {
        let own = found.compactMap { checkpoint -> (step: Double, found: FoundCheckpoint)? in
            guard TreePath.parent(checkpoint.path) == directory.path, [.flax, .orbax].contains(checkpoint.format),
                let step = Self.step(TreePath.name(checkpoint.path))
            else { return nil }
            return (step, checkpoint)
        }
        guard own.contains(where: { $0.found.format == .flax }) else { return nil }
        let candidates = own.sorted { $0.step < $1.step }.map(\.found)
        var run = RunFinding(path: directory.path, format: .flax)
        run.resumes(from: candidates.last, rule: "the highest number in a name", among: candidates)
        return run
    }
}
