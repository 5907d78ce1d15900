internal import TensorFiles

/// Files of weights that together are one model.
struct WeightSet {
    /// What says that they belong together.
    enum Kind: Hashable {
        /// An index, by its name: `model.safetensors.index.json`.
        case index(String)
        /// Their names: `model-00001-of-00003.safetensors`. With the names of all.
        case numbered([String])
        case single
    }

    let directory: TreeDirectory
    let kind: Kind
    /// Those that are there, in order of their names; the one, for a single file. Empty for an index, which says itself.
    let names: [String]
    let format: TensorLayout.Format?

    /// Whether a name is that of an index, of safetensors or of PyTorch's files (`SAFE_WEIGHTS_INDEX_NAME`,
    /// `WEIGHTS_INDEX_NAME`); a variant may stand before the last suffix.
    static func isIndex(_ name: String) -> Bool {
        name.hasSuffix(".json") && (name.contains(".safetensors.index.") || name.contains(".bin.index."))
    }

    /// The sets among the entries of a directory: first the indexed ones, then the numbered, then single files.
    static func find(in directory: TreeDirectory, suffix: String, format: TensorLayout.Format) -> [WeightSet] {
        var sets: [WeightSet] = []
        var numbered: [String: [ShardName]] = [:]
        for name in directory.fileNames where name.hasSuffix(suffix) {
            if let shard = ShardName(name), shard.suffix == suffix {
                numbered["\(shard.sibling(1))", default: []].append(shard)
            } else {
                sets.append(WeightSet(directory: directory, kind: .single, names: [name], format: format))
            }
        }
        for (_, shards) in numbered.sorted(by: { $0.key < $1.key }) {
            // A name may claim any number of files; that many are not made up.
            let count = min(shards[0].count, 100_000)
            sets.append(
                WeightSet(
                    directory: directory, kind: .numbered((1...count).map { shards[0].sibling($0) }),
                    names: shards.map { $0.sibling($0.number) }, format: format))
        }
        return sets
    }

    /// The sets that indexes in a directory describe.
    static func indexed(in directory: TreeDirectory) -> [WeightSet] {
        directory.fileNames.filter { isIndex($0) }.map { name in
            let isSafetensors = name.contains(".safetensors.index.")
            return WeightSet(
                directory: directory, kind: .index(name), names: [], format: isSafetensors ? .safetensors : nil)
        }
    }

    /// Holds the set against its rules. Returns the paths of the files that belong to it, relative to the tree's root;
    /// nil for an index none of whose files is there, which is no set here.
    func check(_ finding: inout CheckpointFinding, _ context: JudgeContext) throws -> [String]? {
        switch kind {
        case .index(let name): return try checkIndex(name, &finding, context)
        case .numbered(let all): return try checkNumbered(all, &finding, context)
        case .single:
            for name in names {
                guard let layout = try WeightFile.check(directory.path(name), as: format, &finding, context),
                    let part = layout.part, part.count > 1
                else { continue }
                finding.doubt("\(directory.path(name)) says that it is part \(part.number + 1) of \(part.count)")
            }
            return names.map { directory.path($0) }
        }
    }

    private func checkIndex(
        _ name: String, _ finding: inout CheckpointFinding, _ context: JudgeContext
    ) throws -> [String]? {
        let path = directory.path(name)
        let read = try context.read(path) { try ShardIndex.read($0, limits: context.options.files) }
        if case .notThisFormat = read, try context.file(path)?.size == 0 {
            finding.tear(path, expected: "an index of files", found: "an empty file")
            return [path]
        }
        guard let index = finding.accept(read, of: path) else { return [path] }
        var layouts: [String: TensorLayout] = [:]
        var present: [String] = []
        var part = finding
        for file in index.files {
            let place = directory.path(file)
            switch try context.resolve(place) {
            case .missing: part.tear(.missing(place, because: "the file that \(name) names"))
            default:
                present.append(place)
                layouts[file] = try WeightFile.check(place, as: format, &part, context)
            }
        }
        guard !present.isEmpty || index.files.isEmpty else { return nil }
        finding = part
        let isWhole = layouts.count == index.files.count
        for difference in index.differences(from: layouts) {
            switch difference {
            case .missingFile: continue
            case .missingTensor(let tensor, let file):
                // A torch file's layout has one name for tensors that share memory.
                guard layouts[file]?.format == .safetensors else { continue }
                finding.tear(
                    directory.path(file), expected: "the tensor \"\(tensor)\", which \(name) places there",
                    found: "no such tensor")
            case .totalSize(let expected, let actual):
                guard isWhole else { continue }
                finding.note("\(path) gives a total of \(expected) bytes, the tensors have \(actual)")
            }
        }
        return [path] + present
    }

    private func checkNumbered(
        _ all: [String], _ finding: inout CheckpointFinding, _ context: JudgeContext
    ) throws -> [String] {
        let there = Set(names)
        // PyTorch's distributed writer numbers the first part of these names by rank, and not all ranks write all files.
        let isDistributed = names.first?.hasPrefix("shard-") ?? false
        // Not by the listing alone, which may be only a part of a large directory.
        let missing = try all.filter { name in
            guard !there.contains(name) else { return false }
            return try context.resolve(directory.path(name)) == .missing
        }
        for name in missing.prefix(CheckpointFinding.mostEvidence) {
            if isDistributed {
                finding.doubt("\(directory.path(name)) is not there")
            } else {
                finding.tear(.missing(directory.path(name), because: "one of \(all.count) files, as their names say"))
            }
        }
        var tensors: UInt64 = 0
        var announced: UInt64?
        var isWhole = missing.isEmpty
        for name in names {
            let path = directory.path(name)
            guard let layout = try WeightFile.check(path, as: format, &finding, context) else {
                isWhole = false
                continue
            }
            tensors += UInt64(layout.regions.count)
            if let part = layout.part { announced = part.tensors ?? announced }
            if format == .gguf { checkPart(layout, name, all, &finding) }
        }
        // llama.cpp, `llama_model_loader`: "corrupted model".
        if isWhole, let announced, announced != tensors {
            finding.tear(
                directory.path(names[0]), expected: "\(announced) tensors in all files together", found: "\(tensors)")
        }
        if format == .safetensors, missing.isEmpty {
            finding.doubt("no index names these \(all.count) files, and most loaders go by one")
        }
        return names.map { directory.path($0) }
    }

    /// What a GGUF file says of its place against its name (`llama_model_loader`: "illegal split idx").
    private func checkPart(_ layout: TensorLayout, _ name: String, _ all: [String], _ finding: inout CheckpointFinding)
    {
        guard all.count > 1, let number = all.firstIndex(of: name) else { return }
        guard let part = layout.part else {
            return finding.doubt("\(directory.path(name)) does not say that it is one of \(all.count)")
        }
        guard part.number != UInt64(number) || part.count != UInt64(all.count) else { return }
        finding.tear(
            directory.path(name), expected: "part \(number + 1) of \(all.count), as its name says",
            found: "part \(part.number + 1) of \(part.count), as its header says")
    }
}
