internal import TensorFiles

/// Models in safetensors files: single ones, and sets with an index; sets of PyTorch's `.bin` files with an index too.
package struct SafetensorsJudge: Judge {
    package let format = CheckpointFormat.safetensors

    package init() {}

    private static let suffix = ".safetensors"

    package func recognises(_ directory: TreeDirectory) -> Bool {
        directory.fileNames.contains { $0.hasSuffix(Self.suffix) || WeightSet.isIndex($0) }
    }

    package func judge(_ directory: TreeDirectory, _ context: JudgeContext) throws -> Claim? {
        var findings: [CheckpointFinding] = []
        var names: Set<String> = []
        for set in WeightSet.indexed(in: directory) {
            guard case .index(let name) = set.kind else { continue }
            let isSafetensors = set.format == .safetensors
            var finding = CheckpointFinding(
                path: directory.path(name), kind: .model, format: isSafetensors ? .safetensors : .torch)
            finding.commitMarkers = [finding.path]
            // An index alone, as of a download of small files only, is no model.
            guard let files = try set.check(&finding, context) else { continue }
            finding.contents = .files(files)
            findings.append(finding)
            let inside = files.map { $0.dropFirst(directory.path.isEmpty ? 0 : directory.path.utf8.count + 1) }
            names.formUnion(inside.map { String($0.prefix { $0 != "/" }) })
            if isSafetensors { noteLeftovers(directory, &names, &findings[findings.count - 1]) }
        }
        for set in WeightSet.find(in: directory.without(names), suffix: Self.suffix, format: .safetensors) {
            var finding = CheckpointFinding(
                path: directory.path(set.names[0]), kind: .model, format: .safetensors,
                contents: .files(set.names.map { directory.path($0) }))
            _ = try set.check(&finding, context)
            findings.append(finding)
            names.formUnion(set.names)
        }
        return findings.isEmpty ? nil : .entries(names, findings)
    }

    /// Numbered files that no index names, beside some of the same stem that one does: of an earlier save.
    private func noteLeftovers(
        _ directory: TreeDirectory, _ names: inout Set<String>, _ finding: inout CheckpointFinding
    ) {
        let stems = Set(names.compactMap { ShardName($0)?.stem })
        for name in directory.fileNames where !names.contains(name) && name.hasSuffix(Self.suffix) {
            guard let shard = ShardName(name), stems.contains(shard.stem) else { continue }
            names.insert(name)
            finding.note("\(directory.path(name)) is named by no index: a leftover")
        }
    }
}
