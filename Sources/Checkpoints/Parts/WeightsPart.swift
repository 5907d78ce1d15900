package import TensorFiles

/// The weights in a directory of Transformers, in one file or in several with an index.
package enum WeightsPart {
    /// In the order in which Transformers' `Trainer._load_from_checkpoint` looks for them.
    private static let names = [
        "model.safetensors", "pytorch_model.bin", "model.safetensors.index.json", "pytorch_model.bin.index.json",
    ]

    /// Judges the weights that a loader would take, and puts what comes out into `finding`. False when there are none;
    /// shards whose index is missing are evidence.
    package static func judge(
        _ directory: TreeDirectory, _ finding: inout CheckpointFinding, _ context: JudgeContext
    ) throws -> Bool {
        guard let name = names.first(where: { directory.hasFile($0) }) else {
            guard let shard = directory.fileNames.compactMap({ ShardName($0) }).first(where: { isShard($0) }) else {
                return false
            }
            let index = shard.suffix == ".bin" ? names[3] : names[2]
            finding.tear(.missing(directory.path(index), because: "the index of \(shard.count) files"))
            return true
        }
        finding.take(directory[name])
        if name.hasSuffix(".index.json") {
            try judgeIndex(directory, name, &finding, context)
        } else {
            try judgeFile(directory.path(name), &finding, context)
        }
        return true
    }

    private static func isShard(_ name: ShardName) -> Bool {
        name.stem == "model" && name.suffix == ".safetensors" || name.stem == "pytorch_model" && name.suffix == ".bin"
    }

    /// Judges one file of weights, of either format, by its name. Returns its layout when it is whole.
    @discardableResult package static func judgeFile(
        _ path: String, _ finding: inout CheckpointFinding, _ context: JudgeContext
    ) throws -> TensorLayout? {
        if !path.hasSuffix(".safetensors") { return try finding.takeTorch(path, context)?.layout }
        var read = try context.read(path) { try SafetensorsFile.read($0, limits: context.options.files) }
        if case .notThisFormat = read {
            // The library refuses a file without room for a header, and one whose header has no bytes.
            read = try context.read(path) { source in
                let start = try source.bytes(0..<min(source.size, 9))
                guard start.count < 9 || start.allSatisfy({ $0 == 0 }) else { return read }
                let what = start.count < 9 ? "\(source.size) bytes" : "zero bytes where the header should be"
                return .torn(TornEvidence(kind: .truncated, message: what))
            }
        }
        guard let layout = finding.accept(read, of: path) else { return nil }
        finding.count(layout)
        return layout
    }

    private static func judgeIndex(
        _ directory: TreeDirectory, _ name: String, _ finding: inout CheckpointFinding, _ context: JudgeContext
    ) throws {
        let path = directory.path(name)
        let read = try context.read(path) { try ShardIndex.read($0, limits: context.options.files) }
        if case .notThisFormat = read, try context.file(path)?.size == 0 {
            return finding.tear(path, expected: "an index of files", found: "an empty file")
        }
        guard let index = finding.accept(read, of: path) else { return }
        var layouts: [String: TensorLayout] = [:]
        for file in index.files {
            layouts[file] = try judgeFile(directory.path(file), &finding, context)
        }
        // A torch file is not sure to name its tensors as the index does: tied weights are one there.
        guard layouts.count == index.files.count, index.files.allSatisfy({ $0.hasSuffix(".safetensors") }) else {
            return
        }
        for difference in index.differences(from: layouts).prefix(8) {
            switch difference {
            case .missingFile: continue
            case .missingTensor(let tensor, let file):
                finding.tear(
                    directory.path(file), expected: "the tensor \"\(tensor)\" by the index", found: "none such")
            case .totalSize(let expected, let actual):
                finding.note("\(path) says \(expected) bytes in all, its files have \(actual): some writers do so")
            }
        }
    }
}
