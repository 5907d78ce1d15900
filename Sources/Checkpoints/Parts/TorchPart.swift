package import TensorFiles

/// A file of `torch.save` that is a part of something, or stands for itself.
package enum TorchPart {
    /// The torch file at `path`, see `JudgeContext.torch`. What has this name and can be no torch file of any time is
    /// `torn` here: an empty file, one of zero bytes, one that is cut off before it says what it is.
    package static func read(_ path: String, _ context: JudgeContext) throws -> Finding<TorchFile> {
        let finding = try context.torch(path)
        guard case .notThisFormat = finding else { return finding }
        return try context.read(path) { source in
            guard source.size > 0 else {
                return .torn(TornEvidence(kind: .truncated, message: "an empty file"))
            }
            let start = try source.bytes(0..<min(source.size, 64))
            if start.allSatisfy({ $0 == 0 }) {
                return .torn(
                    TornEvidence(kind: .damaged, message: "it begins with zero bytes: its blocks were not written"))
            }
            guard start.starts(with: "PK".utf8) || start == Array("P".utf8) else { return finding }
            guard start.count >= 4, case .complete = try ZipArchive.read(source, limits: context.options.files) else {
                return .torn(TornEvidence(kind: .truncated, message: "the beginning of a zip archive and no end"))
            }
            return finding
        }
    }

    /// The names under which training loops keep their step in a checkpoint's dictionary.
    private static let stepKeys = ["global_step", "global_steps", "step", "iteration", "iter", "steps"]

    /// The step that a checkpoint's dictionary holds.
    package static func step(in graph: PickleGraph) -> Int64? {
        for key in stepKeys {
            if let step = graph.integer(graph.value(key, of: graph.root)), step >= 0 { return step }
        }
        return nil
    }
}

extension CheckpointFinding {
    /// Takes a torch file that must be whole: its evidence or doubts, its tensors, and in a deep survey its checksums.
    @discardableResult package mutating func takeTorch(
        _ path: String, _ context: JudgeContext
    ) throws -> TorchFile? {
        guard let file = accept(try TorchPart.read(path, context), of: path) else { return nil }
        count(file.layout)
        try context.checkContent(of: file, at: path, &self)
        return file
    }

    /// Takes a JSON file that must be whole. `notThisFormat` cannot come out of it: all that is no JSON is torn.
    @discardableResult package mutating func takeJSON(
        _ path: String, keeping: Set<String>? = nil, _ context: JudgeContext
    ) throws -> JSONValue? {
        accept(try context.json(path, keeping: keeping), of: path)
    }

    /// Takes the time of an entry.
    package mutating func take(_ entry: TreeEntry?) {
        guard let entry else { return }
        modified = max(modified ?? entry.modified, entry.modified)
    }
}
