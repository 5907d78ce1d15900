internal import TensorFiles

/// Adapters of PEFT: `adapter_config.json` and `adapter_model.safetensors` (`PeftModel.save_pretrained`).
struct PEFTJudge: Judge {
    let format = CheckpointFormat.peft
    static let configName = "adapter_config.json"
    static let weightNames = ["adapter_model.safetensors", "adapter_model.bin"]

    func recognises(_ directory: TreeDirectory) -> Bool {
        directory.hasFile(Self.configName) || Self.weightNames.contains { directory.hasFile($0) }
    }

    func judge(_ directory: TreeDirectory, _ context: JudgeContext) throws -> Claim? {
        let names = ([Self.configName] + Self.weightNames).filter { directory.hasFile($0) }
        var finding = CheckpointFinding(
            path: directory.path, kind: .model, format: format, contents: .files(names.map { directory.path($0) }))
        try Self.judge(directory, &finding, context)
        return .entries(Set(names), [finding])
    }

    /// Judges the adapter in a directory, of which at least one file is there.
    static func judge(
        _ directory: TreeDirectory, _ finding: inout CheckpointFinding, _ context: JudgeContext
    ) throws {
        if directory.hasFile(configName) {
            let config = try finding.takeJSON(directory.path(configName), context)
            if let config, config.members == nil {
                finding.tear(directory.path(configName), expected: "a JSON object", found: "another value")
            }
        } else {
            finding.tear(.missing(directory.path(configName), because: "the adapter's configuration"))
        }
        guard let name = weightNames.first(where: { directory.hasFile($0) }) else {
            return finding.tear(.missing(directory.path(weightNames[0]), because: "the adapter's weights"))
        }
        finding.take(directory[name])
        try WeightsPart.judgeFile(directory.path(name), &finding, context)
    }
}
