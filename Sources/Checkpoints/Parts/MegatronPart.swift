internal import TensorFiles

/// A directory of one iteration of Megatron, `iter_0000100`, or `weights` in NeMo 2.
package enum MegatronPart {
    /// The file that Megatron-Core writes last (`dist_checkpointing/core.py`, `save_config`).
    package static let configName = "metadata.json"

    /// Whether the entries are those of a distributed checkpoint of Megatron-Core, or of what is left of one.
    package static func isDistributed(_ directory: TreeDirectory) -> Bool {
        directory.hasFile(configName) && (DistributedPart.isLikely(directory) || directory.hasFile("common.pt"))
            || directory.hasFile("common.pt") && DistributedPart.isLikely(directory)
    }

    /// Judges a distributed checkpoint. With `isExpected`, a directory without `metadata.json` is torn
    /// whatever else is in it. Throws what the tree throws.
    package static func judgeDistributed(
        _ directory: TreeDirectory, _ finding: inout CheckpointFinding, isExpected: Bool, _ context: JudgeContext
    ) throws {
        let path = directory.path(configName)
        finding.take(directory[configName])
        guard directory.hasFile(configName) else {
            if directory.hasFile("common.pt") || isExpected {
                finding.tear(.missing(path, because: "the file that is written last"))
            } else {
                // What Megatron calls torch_dcp has no such file.
                finding.note("no \(configName): read as torch_dcp")
            }
            if DistributedPart.isLikely(directory) { try DistributedPart.judge(directory, &finding, context) }
            return
        }
        guard let config = try finding.takeJSON(path, context) else { return }
        guard let backend = config["sharded_backend"]?.text else {
            return finding.doubt("\(path) names no backend")
        }
        let hasCommon = directory.hasFile("common.pt")
        if hasCommon {
            let common = try finding.takeTorch(directory.path("common.pt"), context)
            if let common, finding.step == nil { finding.step = TorchPart.step(in: common.pickle) }
        } else if config["common_backend"] != nil {
            // Later versions keep this in the distributed checkpoint, and do not name a backend for it.
            finding.tear(.missing(directory.path("common.pt"), because: "what all ranks share, by \(configName)"))
        }
        switch backend {
        case "torch_dist": try DistributedPart.judge(directory, &finding, context)
        case "zarr": try judgeZarr(directory, &finding, context)
        default: finding.doubt("the backend \(backend) is not known")
        }
        finding.commitMarkers.append(path)
        try checkIntegrity(directory, &finding, context)
    }

    private static func judgeZarr(
        _ directory: TreeDirectory, _ finding: inout CheckpointFinding, _ context: JudgeContext
    ) throws {
        for name in directory.directoryNames {
            guard let array = try context.directory(directory.path(name)), array.hasFile(".zarray") else { continue }
            let path = array.path(".zarray")
            finding.accept(try context.read(path) { try ZarrArray.read($0, limits: context.options.files) }, of: path)
        }
        finding.doubt("of zarr arrays nothing says which chunks must be there")
    }

    /// Holds the files against `integrity.json` (`dist_checkpointing/validation.py`, `verify_integrity_manifest`): that
    /// they are there always, their digests in a deep survey.
    private static func checkIntegrity(
        _ directory: TreeDirectory, _ finding: inout CheckpointFinding, _ context: JudgeContext
    ) throws {
        guard directory.hasFile("integrity.json") else { return }
        let path = directory.path("integrity.json")
        let read = try context.json(path)
        guard let manifest = read.value, let files = manifest["files"]?.members else {
            return finding.doubt("\(path): \(read.reason ?? "no list of files")")
        }
        finding.commitMarkers.insert(path, at: max(finding.commitMarkers.count - 1, 0))
        let algorithm = manifest["algorithm"]?.text ?? HashAlgorithm.sha256.rawValue
        guard algorithm == HashAlgorithm.sha256.rawValue else {
            return finding.doubt("\(path): digests by \(algorithm)")
        }
        var checked = 0
        for (name, expected) in files.sorted(by: { $0.key < $1.key }) {
            let file = directory.path(name)
            guard !name.split(separator: "/").contains(".."), try context.file(file) != nil else {
                finding.doubt("\(path) lists \(name), which is not there")
                continue
            }
            guard context.isDeep else { continue }
            guard let digest = try context.digest(file, .sha256) else { break }
            guard let digest = finding.accept(digest, of: file) else { continue }
            guard digest == expected.text else {
                finding.tear(file, expected: "the SHA-256 \(expected.text ?? "?") by integrity.json", found: digest)
                continue
            }
            checked += 1
        }
        if context.isDeep, checked == files.count {
            finding.note("integrity.json verified: \(checked) files")
        } else if checked == 0 {
            finding.note("integrity.json not verified")
        }
    }

    // MARK: a file for each rank of the model

    private static let modelName = "model_optim_rng.pt"
    private static let optimizerName = "distrib_optim.pt"

    /// The ranks in the name of a rank's directory, `mp_rank_00_001`: tensor, and pipeline and expert where there are.
    package static func ranks(_ name: String) -> [Int64]? {
        name.numbers(in: ["mp_rank_", ""]) ?? name.numbers(in: ["mp_rank_", "_", ""])
            ?? name.numbers(in: ["mp_rank_", "_", "_", ""])
    }

    /// Judges Megatron-LM's own format (`training/checkpointing.py`, `get_checkpoint_name`): the whole grid of ranks
    /// must be there, as large as the arguments that are saved with it say.
    package static func judgeLegacy(
        _ directory: TreeDirectory, _ finding: inout CheckpointFinding, _ context: JudgeContext
    ) throws {
        var grid = RankGrid()
        var extents: [Int64?]?
        var withOptimizer: Set<Bool> = []
        var expectsOptimizer = false
        for name in directory.directoryNames {
            guard let ranks = ranks(name), let part = try context.directory(directory.path(name)) else { continue }
            guard grid.insert(ranks) else {
                finding.doubt("\(part.path): a rank beyond all sense")
                continue
            }
            guard part.hasFile(modelName) || part.hasFile("model_rng.pt") else {
                finding.tear(.missing(part.path(modelName), because: "the model's part of each rank"))
                continue
            }
            withOptimizer.insert(part.hasFile(optimizerName))
            for file in part.fileNames where file.hasSuffix(".pt") {
                finding.take(part[file])
                let read = try finding.takeTorch(part.path(file), context)
                guard file != optimizerName, let graph = read?.pickle else { continue }
                if finding.step == nil { finding.step = graph.integer(graph.value("iteration", of: graph.root)) }
                let arguments = graph.value("args", of: graph.root)
                if extents == nil { extents = sizes(graph, arguments, axes: ranks.count) }
                if graph.value("use_distributed_optimizer", of: arguments) == .bool(true),
                    graph.value("no_save_optim", of: arguments) != .bool(true)
                {
                    expectsOptimizer = true
                }
            }
        }
        guard let axes = grid.points.first?.count, grid.points.allSatisfy({ $0.count == axes }) else {
            return finding.doubt("\(TreePath.shown(directory.path)): names of ranks of several forms")
        }
        for point in grid.missing(extents ?? Array(repeating: nil, count: axes), atMost: 8) {
            finding.tear(.missing(directory.path(directoryName(point)), because: "every rank of the model"))
        }
        if extents == nil { finding.doubt("no file says how many ranks the model has") }
        if withOptimizer == [true, false], axes > 2 {
            // Which ranks of experts write one has changed between versions.
            finding.doubt("some ranks have no \(optimizerName)")
        } else if withOptimizer == [true, false] || withOptimizer == [false] && expectsOptimizer {
            finding.tear(
                directory.path, expected: "\(optimizerName) in each rank's directory",
                found: withOptimizer == [false] ? "none" : "some without")
        }
    }

    private static func sizes(_ graph: PickleGraph, _ arguments: PickleValue?, axes: Int) -> [Int64?]? {
        func size(_ name: String) -> Int64? {
            graph.integer(graph.value("\(name)_model_parallel_size", of: arguments))
                .flatMap { (1...RankGrid.mostRanks).contains($0) ? $0 : nil }
        }
        guard let tensor = size("tensor") else { return nil }
        switch axes {
        case 1: return [tensor]
        case 2: return [tensor, (size("pipeline") ?? 1) > 1 ? size("pipeline") : size("expert")]
        default: return [tensor, size("pipeline"), size("expert")]
        }
    }

    private static func directoryName(_ ranks: [Int64]) -> String {
        "mp_rank_"
            + ranks.enumerated().map { axis, rank in
                let text = "\(rank)"
                return String(repeating: "0", count: max((axis == 0 ? 2 : 3) - text.count, 0)) + text
            }.joined(separator: "_")
    }
}
