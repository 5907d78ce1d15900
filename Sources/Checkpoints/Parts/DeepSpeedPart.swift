internal import TensorFiles

/// A directory of a DeepSpeed tag, `global_step100`, which is a part of something, or stands for itself.
///
/// Each rank writes its files with `torch.save`, in place; nothing in the directory commits it (DeepSpeed `engine.py`,
/// `_save_checkpoint`, `_save_zero_checkpoint`, `_save_moe_checkpoint`; loaded by `_load_checkpoint` and
/// `_get_all_zero_checkpoint_names`). So it is complete when the files of all ranks are there, as many as a file of rank 0
/// says, and each is whole.
package struct DeepSpeedPart {
    /// What a file holds, by its name.
    enum Role: Hashable {
        /// The model, or a rank's part of it; ranks: data parallel or none, model parallel.
        case model, modelPart
        /// A rank's part of the optimizer's state; ranks: data parallel, model parallel.
        case optimizer
        /// An expert; ranks: layer, expert, model parallel.
        case expert
        /// The optimizer's state of experts; ranks: expert parallel, model parallel.
        case expertOptimizer
        /// A layer of a pipeline; ranks: layer, model parallel.
        case layer
    }

    private let directory: TreeDirectory
    private let context: JudgeContext
    private var finding: CheckpointFinding
    private var grids: [Role: RankGrid] = [:]
    private var names: [Role: [[Int64]: String]] = [:]

    /// What the files of rank 0 of each part of the model say.
    private var dataParallel: Int64?
    private var modelParallel: Int64?
    private var stage: Int64?
    private var experts: [Int64]?
    private var isOptimizerApart: Bool?
    private var neededLayers: Set<Int64> = []
    private var parameterNames: Set<String> = []

    private static let patterns: [(Role, [String])] = [
        (.model, ["mp_rank_", "_model_states.pt"]),
        (.modelPart, ["zero_pp_rank_", "_mp_rank_", "_model_states.pt"]),
        (.expert, ["layer_", "_expert_", "_mp_rank_", "_model_states.pt"]),
        (.expertOptimizer, ["expp_rank_", "_mp_rank_", "_optim_states.pt"]),
        (.layer, ["layer_", "-model_", "-model_states.pt"]),
    ]

    /// What a file of this name holds, and of which ranks; nil for another name.
    static func role(_ name: String) -> (role: Role, ranks: [Int64])? {
        for (role, pattern) in patterns {
            if let ranks = name.numbers(in: pattern) { return (role, ranks) }
        }
        for prefix in ["", "bf16_", "fp16_"] {
            // Old ones lack the last underscore.
            for suffix in ["_optim_states.pt", "optim_states.pt"] {
                if let ranks = name.numbers(in: ["\(prefix)zero_pp_rank_", "_mp_rank_", suffix]) {
                    return (.optimizer, ranks)
                }
            }
        }
        return nil
    }

    /// Whether the directory's names are those of a tag.
    package static func isLikely(_ directory: TreeDirectory) -> Bool {
        directory.fileNames.contains { role($0) != nil }
    }

    /// Holds the directory against the rules, and puts what comes out into `finding`: also totals and, if it has none,
    /// the step. Returns the ranks of the job, as far as they are known. Throws what the tree throws.
    @discardableResult package static func judge(
        _ directory: TreeDirectory, _ finding: inout CheckpointFinding, _ context: JudgeContext
    ) throws -> Int64? {
        var part = DeepSpeedPart(directory: directory, context: context, finding: finding)
        try part.judge()
        finding = part.finding
        guard let data = part.dataParallel, let model = part.modelParallel else { return nil }
        let (ranks, overflow) = data.multipliedReportingOverflow(by: model)
        return overflow ? nil : ranks
    }

    private init(directory: TreeDirectory, context: JudgeContext, finding: CheckpointFinding) {
        self.directory = directory
        self.context = context
        self.finding = finding
    }

    private mutating func judge() throws {
        for name in directory.fileNames {
            guard let (role, ranks) = Self.role(name) else {
                if name.hasSuffix(".pt") { try finding.takeTorch(directory.path(name), context) }
                continue
            }
            guard grids[role, default: RankGrid()].insert(ranks) else {
                finding.doubt("\(directory.path(name)): a rank beyond all sense")
                continue
            }
            names[role, default: [:]][ranks] = name
            finding.take(directory[name])
            guard let file = try finding.takeTorch(directory.path(name), context) else { continue }
            if role == .model || role == .modelPart { learn(from: file.pickle) }
        }
        checkModel()
        checkOptimizer()
        checkExperts()
        checkLayers()
        if directory.hasDirectory("offloaded_tensors") {
            finding.note("\(directory.path("offloaded_tensors")): state that was offloaded to NVMe, not looked at")
        }
        try judgeUniversal()
    }

    // MARK: what the files say

    private mutating func learn(from graph: PickleGraph) {
        let root = graph.root
        dataParallel = dataParallel ?? Self.sensible(graph.integer(graph.value("dp_world_size", of: root)))
        modelParallel = modelParallel ?? Self.sensible(graph.integer(graph.value("mp_world_size", of: root)))
        let zero = graph.value("zero_optimization", of: graph.value("ds_config", of: root))
        stage = stage ?? graph.integer(graph.value("stage", of: zero))
        if let group = Self.sensible(graph.integer(graph.value("mics_shard_size", of: zero))) {
            // With MiCS the ranks of the first group alone save.
            dataParallel = group
        }
        if let optimizer = graph.value("optimizer", of: root) { isOptimizerApart = optimizer == .none }
        if let list = graph.elements(graph.value("num_experts", of: root)) {
            experts = list.compactMap { graph.integer($0) }
        }
        if finding.step == nil { finding.step = graph.integer(graph.value("global_steps", of: root)) }
        for group in graph.elements(graph.value("param_shapes", of: root)) ?? [] {
            guard let pairs = graph.pairs(group) else { continue }
            for index in stride(from: pairs.startIndex, to: pairs.endIndex, by: 2) {
                guard let name = graph.text(pairs[index]), parameterNames.count < 1 << 18 else { continue }
                parameterNames.insert(name)
                if let layer = Int64(name.prefix { $0 != "." }) { neededLayers.insert(layer) }
            }
        }
    }

    private static func sensible(_ count: Int64?) -> Int64? {
        count.flatMap { (1...RankGrid.mostRanks).contains($0) ? $0 : nil }
    }

    // MARK: the files of all ranks

    private mutating func miss(_ name: String, _ reason: String) {
        finding.tear(.missing(directory.path(name), because: reason))
    }

    private func padded(_ rank: Int64) -> String { rank < 10 ? "0\(rank)" : "\(rank)" }

    private mutating func checkModel() {
        if let parts = grids[.modelPart] {
            for point in parts.missing([dataParallel, modelParallel], atMost: 8) {
                miss(
                    "zero_pp_rank_\(point[0])_mp_rank_\(padded(point[1]))_model_states.pt",
                    "the model's part of each rank")
            }
            // ZeRO 3 has no other, except beside experts.
            if grids[.model] == nil { return }
        }
        guard let models = grids[.model] else {
            return miss("mp_rank_00_model_states.pt", "the model's states, which are loaded first")
        }
        guard grids[.modelPart] == nil else { return }
        for point in models.missing([modelParallel], atMost: 8) {
            miss(
                "mp_rank_\(padded(point[0]))_model_states.pt",
                "the model's states of each of \(known(modelParallel)) ranks")
        }
    }

    private func known(_ count: Int64?) -> String { count.map { "\($0)" } ?? "all" }

    private mutating func checkOptimizer() {
        guard let parts = grids[.optimizer] else {
            guard let stage, stage > 0, isOptimizerApart == true, grids[.expertOptimizer] == nil else { return }
            guard !directory.name.hasSuffix("_universal"), !directory.hasDirectory("zero") else { return }
            return miss(
                "zero_pp_rank_0_mp_rank_00_optim_states.pt",
                "the optimizer's state, apart from the model with ZeRO \(stage)")
        }
        let prefix = (names[.optimizer]?.values.min()).map { String($0.prefix { $0 != "z" }) } ?? ""
        for point in parts.missing([dataParallel, modelParallel], atMost: 8) {
            miss(
                "\(prefix)zero_pp_rank_\(point[0])_mp_rank_\(padded(point[1]))_optim_states.pt",
                "the optimizer's state of each of \(known(dataParallel)) data parallel ranks")
        }
        if dataParallel == nil {
            finding.doubt("no file says how many ranks there were")
        }
    }

    private mutating func checkExperts() {
        if let grid = grids[.expert] {
            var layers: [Int64: RankGrid] = [:]
            for point in grid.points { layers[point[0], default: RankGrid()].insert([point[1], point[2]]) }
            let count = experts.flatMap { list in list.allSatisfy { $0 == list.first } ? Self.sensible(list.first) : nil
            }
            for layer in 0..<grid.extent(0) where finding.evidence.count < 8 {
                guard let experts = layers[layer] else {
                    miss("layer_\(layer)_expert_0_mp_rank_00_model_states.pt", "the experts of each layer")
                    continue
                }
                for point in experts.missing([count, nil], atMost: 4) {
                    miss(
                        "layer_\(layer)_expert_\(point[0])_mp_rank_\(padded(point[1]))_model_states.pt", "every expert")
                }
            }
        }
        guard let grid = grids[.expertOptimizer] else { return }
        for point in grid.missing([nil, nil], atMost: 8) {
            miss(
                "expp_rank_\(point[0])_mp_rank_\(padded(point[1]))_optim_states.pt",
                "the optimizer's state of each rank")
        }
    }

    /// A layer without parameters has no file, so a gap alone says nothing.
    private mutating func checkLayers() {
        guard let grid = grids[.layer] else { return }
        let model = grid.extent(1)
        let present = Set(grid.points.map { $0[0] })
        for layer in present.union(neededLayers).sorted() where finding.evidence.count < 8 {
            for rank in 0..<model where !grid.points.contains([layer, rank]) && finding.evidence.count < 8 {
                miss("layer_\(padded(layer))-model_\(padded(rank))-model_states.pt", "the pipeline's layer \(layer)")
            }
        }
    }

    // MARK: universal checkpoints

    /// `zero/PARAMETER/{fp32,exp_avg,exp_avg_sq}.pt` (DeepSpeed `ds_to_universal.py`, loaded by
    /// `universal_checkpoint.py`, `load_hp_checkpoint_state`).
    private mutating func judgeUniversal() throws {
        guard directory.hasDirectory("zero"), let zero = try context.directory(directory.path("zero")) else { return }
        var kinds: [Set<String>: String] = [:]
        let found = Set(zero.directoryNames)
        for name in found.sorted() {
            guard let parameter = try context.directory(zero.path(name)) else { continue }
            let files = parameter.fileNames.filter { $0.hasSuffix(".pt") }
            for file in files { try finding.takeTorch(parameter.path(file), context) }
            if !parameter.hasFile("fp32.pt") {
                finding.tear(.missing(parameter.path("fp32.pt"), because: "the weights of each parameter"))
            }
            kinds[Set(files)] = parameter.path
        }
        for name in parameterNames.subtracting(found).sorted().prefix(8) {
            finding.tear(.missing(zero.path(name), because: "a directory for each parameter of the model"))
        }
        if kinds.count > 1 {
            finding.doubt("not all parameters have the same states: \(kinds.values.sorted().joined(separator: ", "))")
        }
        if zero.hasFile("optimizer_state.pt") { try finding.takeTorch(zero.path("optimizer_state.pt"), context) }
    }
}
