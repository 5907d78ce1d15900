import Checkpoints
import Testing

@Suite("Accelerate and PEFT") struct AccelerateJudgeTests {
    private static func saved(
        _ description: String, _ judgement: Judgement, _ text: String = "",
        change: @escaping @Sendable (TemporaryTree) throws -> Void = { _ in }
    ) -> JudgementCase {
        JudgementCase(
            description, "accelerate/checkpoints/checkpoint_0", at: "checkpoint_0", judgement, text, change: change)
    }
    private static func adapter(
        _ description: String, _ judgement: Judgement, _ text: String = "",
        change: @escaping @Sendable (TemporaryTree) throws -> Void = { _ in }
    ) -> JudgementCase {
        JudgementCase("PEFT, \(description)", "peft/adapter", at: "adapter", judgement, text, change: change)
    }

    static let cases: [JudgementCase] = [
        saved("whole", .complete),
        saved("begun", .empty) {
            try $0.remove("checkpoint_0")
            try $0.makeDirectory("checkpoint_0")
        },
        saved("weights cut", .torn, "model.safetensors") { try $0.truncate("checkpoint_0/model.safetensors", to: -1) },
        saved("optimizer cut", .torn, "optimizer.bin") { try $0.truncate("checkpoint_0/optimizer.bin", to: -1) },
        saved("scheduler begun", .torn, "scheduler.bin") { try $0.truncate("checkpoint_0/scheduler.bin", to: 0) },
        saved("random numbers cut", .torn, "random_states_0.pkl") {
            try $0.truncate("checkpoint_0/random_states_0.pkl", to: -1)
        },
        saved("no random numbers", .unknown, "cut short") { try $0.remove("checkpoint_0/random_states_0.pkl") },
        saved("a rank's random numbers missing", .unknown, "random_states_0.pkl is missing") {
            try $0.move("checkpoint_0/random_states_0.pkl", to: "checkpoint_0/random_states_1.pkl")
        },
        saved("a rank beyond all sense", .unknown, "a rank 99999999") {
            try $0.move("checkpoint_0/random_states_0.pkl", to: "checkpoint_0/random_states_99999999.pkl")
        },
        saved("a registered object missing", .torn, "custom_checkpoint_0.pkl: expected") {
            try $0.move("checkpoint_0/custom_checkpoint_0.pkl", to: "checkpoint_0/custom_checkpoint_1.pkl")
        },
        saved("a registered object cut", .torn, "custom_checkpoint_0.pkl") {
            try $0.truncate("checkpoint_0/custom_checkpoint_0.pkl", to: -1)
        },
        saved("no weights", .unknown, "no weights") { try $0.remove("checkpoint_0/model.safetensors") },
        saved("FSDP", .complete) {
            try $0.remove("checkpoint_0/model.safetensors")
            try $0.copy("dcp/outputs/step-100", to: "checkpoint_0/pytorch_model_fsdp_0")
        },
        saved("FSDP, cut", .torn, "pytorch_model_fsdp_0/__1_0.distcp") {
            try $0.copy("dcp/outputs/step-100", to: "checkpoint_0/pytorch_model_fsdp_0")
            try $0.truncate("checkpoint_0/pytorch_model_fsdp_0/__1_0.distcp", to: -1)
        },
        saved("DeepSpeed, a part missing", .torn, "optim_states.pt: expected") {
            try $0.copy("deepspeed/zero2/global_step20", to: "checkpoint_0/pytorch_model")
            try $0.remove("checkpoint_0/pytorch_model/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt")
        },
        saved("a model in a directory of its own, cut", .torn, "unet/model.safetensors") {
            try $0.move("checkpoint_0/model.safetensors", to: "checkpoint_0/unet/model.safetensors")
            try $0.truncate("checkpoint_0/unet/model.safetensors", to: -1)
        },
        saved("shards without their index", .torn, "the index of 2 files") {
            try $0.remove("checkpoint_0/model.safetensors")
            try $0.copyFile(
                "trainer/sharded/model-00001-of-00002.safetensors", to: "checkpoint_0/model-00001-of-00002.safetensors")
        },
        adapter("whole", .complete),
        adapter("weights cut", .torn, "adapter_model.safetensors") {
            try $0.truncate("adapter/adapter_model.safetensors", to: -1)
        },
        adapter("weights missing", .torn, "adapter_model.safetensors: expected") {
            try $0.remove("adapter/adapter_model.safetensors")
        },
        adapter("configuration missing", .torn, "adapter_config.json: expected") {
            try $0.remove("adapter/adapter_config.json")
        },
        adapter("configuration cut", .torn, "adapter_config.json") {
            try $0.truncate("adapter/adapter_config.json", to: -1)
        },
        adapter("configuration of another kind", .torn, "a JSON object") {
            try $0.write("adapter/adapter_config.json", "[]")
        },
    ]

    @Test(arguments: cases) func judgement(of example: JudgementCase) throws { try example.check() }

    @Test func theHighestNumberIsWhatItResumesFrom() throws {
        let tree = try TemporaryTree("accelerate")
        try tree.copy("accelerate/checkpoints/checkpoint_0", to: "checkpoints/checkpoint_11")
        try tree.copy("accelerate/checkpoints/checkpoint_0", to: "checkpoints/checkpoint_2")
        var run = try tree.survey().onlyRun()
        #expect(run.path == "checkpoints")
        #expect(run.resume?.path == "checkpoints/checkpoint_11")
        try tree.truncate("checkpoints/checkpoint_11/optimizer.bin", to: 5)
        run = try tree.survey().onlyRun()
        #expect(run.newestComplete == "checkpoints/checkpoint_2")
        #expect(run.warnings.map(\.kind) == [.resumesFromTorn])
        let others = try TemporaryTree()
        try others.copy("accelerate/checkpoints/checkpoint_0", to: "checkpoint-500")
        #expect(try others.survey().only().step == 500)
        #expect(try others.survey().onlyRun().resume?.path == "checkpoint-500")
    }

    @Test func anAdapterIsAModelAmongOthers() throws {
        let tree = try TemporaryTree("peft/adapter")
        try tree.write("README.md", "# An adapter")
        let finding = try tree.survey().only()
        #expect(finding.kind == .model)
        #expect(finding.contents == .files(["adapter_config.json", "adapter_model.safetensors"]))
    }
}
