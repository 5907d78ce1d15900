internal import TensorFiles

/// Models in GGUF files, one or a set.
package struct GGUFJudge: Judge {
    package let format = CheckpointFormat.gguf

    package init() {}

    private static let suffix = ".gguf"

    package func recognises(_ directory: TreeDirectory) -> Bool {
        directory.fileNames.contains { $0.hasSuffix(Self.suffix) }
    }

    package func judge(_ directory: TreeDirectory, _ context: JudgeContext) throws -> Claim? {
        var findings: [CheckpointFinding] = []
        var names: Set<String> = []
        for set in WeightSet.find(in: directory, suffix: Self.suffix, format: .gguf) {
            var finding = CheckpointFinding(
                path: directory.path(set.names[0]), kind: .model, format: .gguf,
                contents: .files(set.names.map { directory.path($0) }))
            _ = try set.check(&finding, context)
            findings.append(finding)
            names.formUnion(set.names)
        }
        return .entries(names, findings)
    }
}
