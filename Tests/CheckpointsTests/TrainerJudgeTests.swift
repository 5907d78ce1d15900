import Checkpoints
import Testing

@Suite("Transformers' Trainer") struct TrainerJudgeTests {
    private static func plain(
        _ description: String, _ judgement: Judgement, _ text: String = "",
        change: @escaping @Sendable (TemporaryTree) throws -> Void = { _ in }
    ) -> JudgementCase {
        JudgementCase(description, "trainer/run/checkpoint-2", at: "checkpoint-2", judgement, text, change: change)
    }

    /// Two ranks of FSDP: models and optimizers are distributed checkpoints.
    private static func sharded(
        _ description: String, _ judgement: Judgement, _ text: String = "",
        change: @escaping @Sendable (TemporaryTree) throws -> Void = { _ in }
    ) -> JudgementCase {
        plain("FSDP, \(description)", judgement, text) { tree in
            try tree.makeSharded("checkpoint-2")
            try change(tree)
        }
    }

    /// Two ranks of DeepSpeed.
    private static func deepSpeed(
        _ description: String, _ judgement: Judgement, _ text: String = "",
        change: @escaping @Sendable (TemporaryTree) throws -> Void = { _ in }
    ) -> JudgementCase {
        plain("DeepSpeed, \(description)", judgement, text) { tree in
            try tree.makeDeepSpeed("checkpoint-2")
            try change(tree)
        }
    }

    /// Weights in two files.
    private static func shards(
        _ description: String, _ judgement: Judgement, _ text: String = "",
        change: @escaping @Sendable (TemporaryTree) throws -> Void = { _ in }
    ) -> JudgementCase {
        plain("shards, \(description)", judgement, text) { tree in
            try tree.remove("checkpoint-2/model.safetensors")
            try tree.copy("trainer/sharded", to: "checkpoint-2")
            try change(tree)
        }
    }

    static let cases: [JudgementCase] = [
        plain("whole", .complete),
        plain("begun", .empty) {
            try $0.remove("checkpoint-2")
            try $0.makeDirectory("checkpoint-2")
        },
        plain("weights under a temporary name", .torn, "weights, in any form") {
            try $0.remove("checkpoint-2")
            try $0.copyFile("trainer/run/checkpoint-2/model.safetensors", to: "checkpoint-2/.tmpE8Y8QE")
        },
        plain("without its state", .torn, "trainer_state.json: expected") {
            try $0.remove("checkpoint-2/trainer_state.json")
        },
        plain("its state cut", .torn, "trainer_state.json: expected") {
            try $0.truncate("checkpoint-2/trainer_state.json", to: -2)
        },
        plain("its state begun", .torn, "trainer_state.json: expected") {
            try $0.truncate("checkpoint-2/trainer_state.json", to: 0)
        },
        plain("its state without a step", .torn, "the step in global_step") {
            try $0.replace("checkpoint-2/trainer_state.json", "global_step", with: "global_stop")
        },
        plain("a loss that is no number", .complete) {
            try $0.replace(
                "checkpoint-2/trainer_state.json", "\"log_history\": [", with: "\"log_history\": [NaN, -Infinity, ")
        },
        plain("another step", .unknown, "says step 3") {
            try $0.replace("checkpoint-2/trainer_state.json", "\"global_step\": 2", with: "\"global_step\": 3")
        },
        plain("weights cut", .torn, "model.safetensors") { try $0.truncate("checkpoint-2/model.safetensors", to: -1) },
        plain("weights begun", .torn, "0 bytes") { try $0.truncate("checkpoint-2/model.safetensors", to: 0) },
        plain("weights not written", .torn, "zero bytes") {
            try $0.write("checkpoint-2/model.safetensors", [UInt8](repeating: 0, count: 5000))
        },
        plain("no weights", .torn, "weights, in any form") { try $0.remove("checkpoint-2/model.safetensors") },
        plain("optimizer cut", .torn, "optimizer.pt") { try $0.truncate("checkpoint-2/optimizer.pt", to: -1) },
        plain("no optimizer", .torn, "none of the optimizer") { try $0.remove("checkpoint-2/optimizer.pt") },
        plain("scheduler begun", .torn, "scheduler.pt") { try $0.truncate("checkpoint-2/scheduler.pt", to: 0) },
        plain("an optimizer of each rank", .complete) {
            try $0.move("checkpoint-2/optimizer.pt", to: "checkpoint-2/rank0-of-8-optimizer.pt")
        },
        plain("an adapter's configuration beside weights", .complete) {
            try $0.copyFile("peft/adapter/adapter_config.json", to: "checkpoint-2/adapter_config.json")
        },
        plain("an adapter's configuration alone", .torn, "weights, in any form") {
            try $0.remove("checkpoint-2/model.safetensors")
            try $0.copyFile("peft/adapter/adapter_config.json", to: "checkpoint-2/adapter_config.json")
        },
        plain("no scheduler", .torn, "none of the scheduler") { try $0.remove("checkpoint-2/scheduler.pt") },
        plain("neither optimizer nor scheduler", .torn, "the state of the optimizer") {
            try $0.remove("checkpoint-2/optimizer.pt")
            try $0.remove("checkpoint-2/scheduler.pt")
        },
        plain("neither, nor random numbers, though they were to be saved", .torn, "the state of the optimizer") {
            for name in ["optimizer.pt", "scheduler.pt", "rng_state.pth"] { try $0.remove("checkpoint-2/\(name)") }
        },
        plain("weights only, and nothing says why", .unknown, "whether the optimizer's state") {
            for name in ["optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"] {
                try $0.remove("checkpoint-2/\(name)")
            }
        },
        plain("no random numbers", .unknown, "no state of the random numbers") {
            try $0.remove("checkpoint-2/rng_state.pth")
        },
        plain("random numbers cut", .torn, "rng_state.pth") { try $0.truncate("checkpoint-2/rng_state.pth", to: -1) },
        plain("arguments cut", .torn, "training_args.bin") {
            try $0.truncate("checkpoint-2/training_args.bin", to: -1)
        },
        plain("a rank's random numbers missing", .unknown, "rng_state_0.pth is missing") {
            try $0.move("checkpoint-2/rng_state.pth", to: "checkpoint-2/rng_state_1.pth")
        },
        plain("a rank beyond all sense", .unknown, "a rank 99999999") {
            try $0.move("checkpoint-2/rng_state.pth", to: "checkpoint-2/rng_state_99999999.pth")
        },
        plain("saved on a signal", .unknown, "on a signal") {
            try $0.write("checkpoint-2/checkpoint-is-incomplete.txt", "x")
        },
        plain("the best one elsewhere", .complete, "absolute path, /old/checkpoint-1") {
            try $0.replace(
                "checkpoint-2/trainer_state.json", "\"best_model_checkpoint\": null",
                with: "\"best_model_checkpoint\": \"/old/checkpoint-1\"")
        },
        plain("weights as torch files", .complete) {
            try $0.remove("checkpoint-2/model.safetensors")
            try $0.copyFile("torch/plain.pt", to: "checkpoint-2/pytorch_model.bin")
        },
        plain("weights as torch files, cut", .torn, "pytorch_model.bin") {
            try $0.remove("checkpoint-2/model.safetensors")
            try $0.copyFile("torch/plain.pt", to: "checkpoint-2/pytorch_model.bin")
            try $0.truncate("checkpoint-2/pytorch_model.bin", to: -1)
        },
        plain("a scaler cut", .torn, "scaler.pt") {
            try $0.copyFile("torch/plain.pt", to: "checkpoint-2/scaler.pt")
            try $0.truncate("checkpoint-2/scaler.pt", to: -1)
        },
        plain("an adapter", .complete) {
            try $0.remove("checkpoint-2/model.safetensors")
            try $0.copy("peft/adapter", to: "checkpoint-2")
        },
        plain("an adapter, cut", .torn, "adapter_model.safetensors") {
            try $0.remove("checkpoint-2/model.safetensors")
            try $0.copy("peft/adapter", to: "checkpoint-2")
            try $0.truncate("checkpoint-2/adapter_model.safetensors", to: -1)
        },
        plain("adapters in directories", .complete) {
            try $0.remove("checkpoint-2/model.safetensors")
            try $0.copy("peft/adapter", to: "checkpoint-2/default")
        },
        plain("adapters in directories, cut", .torn, "default/adapter_model.safetensors") {
            try $0.remove("checkpoint-2/model.safetensors")
            try $0.copy("peft/adapter", to: "checkpoint-2/default")
            try $0.truncate("checkpoint-2/default/adapter_model.safetensors", to: -1)
        },
        shards("whole", .complete),
        shards("one missing", .torn, "model-00002-of-00002.safetensors") {
            try $0.remove("checkpoint-2/model-00002-of-00002.safetensors")
        },
        shards("one cut", .torn, "model-00001-of-00002.safetensors") {
            try $0.truncate("checkpoint-2/model-00001-of-00002.safetensors", to: -1)
        },
        shards("without their index", .torn, "index.json: expected the index") {
            try $0.remove("checkpoint-2/model.safetensors.index.json")
        },
        shards("their index cut", .torn, "index.json") {
            try $0.truncate("checkpoint-2/model.safetensors.index.json", to: -2)
        },
        shards("their index begun", .torn, "an empty file") {
            try $0.truncate("checkpoint-2/model.safetensors.index.json", to: 0)
        },
        shards("exchanged", .torn, "by the index") {
            try $0.copyFile(
                "trainer/sharded/model-00001-of-00002.safetensors", to: "checkpoint-2/model-00002-of-00002.safetensors")
        },
        shards("another sum", .complete, "bytes in all") {
            try $0.replace("checkpoint-2/model.safetensors.index.json", "\"total_size\": ", with: "\"total_size\": 1")
        },
        sharded("whole", .complete),
        sharded("the model without its commit", .torn, "pytorch_model_fsdp_0/.metadata") {
            try $0.remove("checkpoint-2/pytorch_model_fsdp_0/.metadata")
        },
        sharded("the optimizer cut", .torn, "optimizer_0/__0_0.distcp") {
            try $0.truncate("checkpoint-2/optimizer_0/__0_0.distcp", to: -1)
        },
        sharded("in one file, cut", .torn, "pytorch_model_fsdp.bin") {
            try $0.remove("checkpoint-2/pytorch_model_fsdp_0")
            try $0.copyFile("torch/plain.pt", to: "checkpoint-2/pytorch_model_fsdp.bin")
            try $0.truncate("checkpoint-2/pytorch_model_fsdp.bin", to: -1)
        },
        deepSpeed("whole", .complete),
        deepSpeed("a part missing", .torn, "optim_states.pt: expected") {
            try $0.remove("checkpoint-2/global_step2/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt")
        },
        deepSpeed("without latest", .torn, "latest: expected") { try $0.remove("checkpoint-2/latest") },
        deepSpeed("latest is no text", .torn, "checkpoint-2/latest: expected") {
            try $0.write("checkpoint-2/latest", [0xff, 0xfe])
        },
        deepSpeed("latest names another", .torn, "that checkpoint-2/latest names") {
            try $0.write("checkpoint-2/latest", "global_step3")
        },
        deepSpeed("fewer random numbers than ranks", .unknown, "rng_state_1.pth is missing") {
            try $0.remove("checkpoint-2/rng_state_1.pth")
        },
    ]

    @Test(arguments: cases) func judgement(of example: JudgementCase) throws { try example.check() }

    @Test func weightsAloneAreTornBesideTheTrainersOwn() throws {
        let tree = try TemporaryTree()
        try tree.copyFile("trainer/run/checkpoint-2/model.safetensors", to: "checkpoint-4/model.safetensors")
        #expect(try tree.survey().at("checkpoint-4").judgement == .unknown)
        #expect(try tree.survey().at("checkpoint-4").doubtText.contains("or another program's"))
        try tree.copy("trainer/run/checkpoint-2", to: "checkpoint-2")
        let torn = try tree.survey().at("checkpoint-4")
        #expect(torn.judgement == .torn)
        #expect(torn.evidenceText.contains("as beside it"))
        #expect(torn.quarantineName == "checkpoint-4.torn")
    }

    @Test func aTemporaryDirectoryIsTorn() throws {
        let tree = try TemporaryTree()
        try tree.copy("trainer/run/checkpoint-2", to: "tmp-checkpoint-2")
        let finding = try tree.survey().only()
        #expect(finding.judgement == .torn)
        #expect(finding.step == 2)
        #expect(finding.inProgress == ["tmp-checkpoint-2"])
        #expect(try tree.survey().runs.isEmpty)
    }

    @Test func partsAreNotReportedTwice() throws {
        let tree = try TemporaryTree()
        try tree.copy("trainer/run/checkpoint-2", to: "run/checkpoint-2")
        try tree.makeSharded("run/checkpoint-2")
        let finding = try tree.survey().only()
        #expect(finding.path == "run/checkpoint-2")
        #expect(finding.step == 2)
        #expect(finding.contents == .directory)
        #expect(finding.commitMarkers.map { TreePath.name($0) } == [".metadata", ".metadata", "trainer_state.json"])
    }

    @Test func theCheckpointItselfIsLookedAt() throws {
        let tree = try TemporaryTree("trainer/run")
        var findings: [CheckpointFinding] = []
        try Survey(try LocalTree(tree.path + "/checkpoint-2")).run { event in
            if case .checkpoint(let finding) = event { findings.append(finding) }
        }
        #expect(findings.map(\.path) == [""])
        #expect(findings.first?.step == 2)
        #expect(findings.first?.judgement == .complete)
    }

    @Test func theHighestNumberIsWhatItResumesFrom() throws {
        let tree = try TemporaryTree("trainer/run")
        try tree.copy("trainer/run/checkpoint-2", to: "checkpoint-10")
        try tree.replace("checkpoint-10/trainer_state.json", "\"global_step\": 2", with: "\"global_step\": 10")
        var run = try tree.survey().onlyRun()
        #expect(run.resume?.path == "checkpoint-10")
        #expect(run.resume?.step == 10)
        #expect(run.warnings.isEmpty)
        #expect(run.checkpoints == 2)

        try tree.truncate("checkpoint-10/optimizer.pt", to: -1)
        run = try tree.survey().onlyRun()
        #expect(run.resume?.path == "checkpoint-10")
        #expect(run.newestComplete == "checkpoint-2")
        #expect(run.warnings.map(\.kind) == [.resumesFromTorn])

        try tree.move("checkpoint-10", to: "checkpoint-10.torn")
        run = try tree.survey().onlyRun()
        #expect(run.resume?.path == "checkpoint-2")
        #expect(run.warnings.isEmpty)

        try tree.makeDirectory("checkpoint-20")
        #expect(try tree.survey().onlyRun().warnings.map(\.kind) == [.resumesFromTorn])

        try tree.write("checkpoint-30/notes.txt", "nothing")
        run = try tree.survey().onlyRun()
        #expect(run.resume?.path == "checkpoint-30")
        #expect(run.warnings.map(\.kind).contains(.other))

        try tree.truncate("checkpoint-2/model.safetensors", to: -1)
        #expect(try tree.survey().onlyRun().warnings.map(\.kind).contains(.noneComplete))
    }

    @Test func theRunsOwnDirectoryIsNoCheckpoint() throws {
        let tree = try TemporaryTree("trainer/run")
        try tree.copyFile("trainer/run/checkpoint-2/trainer_state.json", to: "trainer_state.json")
        try tree.copyFile("trainer/run/checkpoint-2/rng_state.pth", to: "rng_state.pth")
        #expect(try tree.survey().checkpoints.contains { $0.path == "checkpoint-2" })
        #expect(try tree.survey().checkpoints.allSatisfy { $0.path != "" })
    }
}

extension TemporaryTree {
    /// Makes a plain checkpoint of the Trainer one of FSDP with two ranks.
    func makeSharded(_ path: String) throws {
        try remove("\(path)/model.safetensors")
        try remove("\(path)/optimizer.pt")
        try copy("dcp/outputs/step-100", to: "\(path)/pytorch_model_fsdp_0")
        try copy("dcp/outputs/step-100", to: "\(path)/optimizer_0")
        try makeRanks(path)
    }

    /// Makes a plain checkpoint of the Trainer one of DeepSpeed with two ranks.
    func makeDeepSpeed(_ path: String) throws {
        for name in ["optimizer.pt", "scheduler.pt"] { try remove("\(path)/\(name)") }
        try copy("deepspeed/zero2/global_step20", to: "\(path)/global_step2")
        try write("\(path)/latest", "global_step2")
        try makeRanks(path)
    }

    private func makeRanks(_ path: String) throws {
        try move("\(path)/rng_state.pth", to: "\(path)/rng_state_0.pth")
        try copyFile("trainer/run/checkpoint-2/rng_state.pth", to: "\(path)/rng_state_1.pth")
    }
}
