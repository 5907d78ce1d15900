import Checkpoints
import Testing

@Suite("DeepSpeed") struct DeepSpeedJudgeTests {
    private static let optimizer = "global_step20/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt"
    private static func zero2(
        _ description: String, _ judgement: Judgement, _ text: String = "",
        change: @escaping @Sendable (TemporaryTree) throws -> Void = { _ in }
    ) -> JudgementCase {
        JudgementCase(
            description, "deepspeed/zero2/global_step20", at: "global_step20", judgement, text, change: change)
    }
    private static func other(
        _ sample: String, _ description: String, _ judgement: Judgement, _ text: String = "",
        change: @escaping @Sendable (TemporaryTree) throws -> Void = { _ in }
    ) -> JudgementCase {
        JudgementCase("\(sample): \(description)", "deepspeed/\(sample)", at: "tag", judgement, text, change: change)
    }

    static let cases: [JudgementCase] = [
        zero2("whole", .complete),
        zero2("begun", .empty) {
            try $0.remove("global_step20")
            try $0.makeDirectory("global_step20")
        },
        zero2("an optimizer's part missing", .torn, "of each of 2 data parallel ranks") { try $0.remove(optimizer) },
        zero2("an optimizer's part cut", .torn, "optim_states.pt: expected") { try $0.truncate(optimizer, to: -1) },
        zero2("an optimizer's part begun", .torn, "an empty file") { try $0.truncate(optimizer, to: 0) },
        zero2("no model", .torn, "mp_rank_00_model_states.pt: expected") {
            try $0.remove("global_step20/mp_rank_00_model_states.pt")
        },
        zero2("no optimizer", .torn, "apart from the model with ZeRO 2") {
            try $0.remove(optimizer)
            try $0.remove("global_step20/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt")
        },
        zero2("a rank beyond all sense", .unknown, "beyond all sense") {
            try $0.copyFile(
                "torch/plain.pt", to: "global_step20/bf16_zero_pp_rank_99999999_mp_rank_00_optim_states.pt")
        },
        zero2("another file cut", .torn, "extra.pt") {
            try $0.copyFile("torch/plain.pt", to: "global_step20/extra.pt")
            try $0.truncate("global_step20/extra.pt", to: -1)
        },
        zero2("offloaded state", .complete, "offloaded") {
            try $0.write("global_step20/offloaded_tensors/rank0/x.swp", "x")
        },
        other("zero3/global_step5", "whole", .complete),
        other("zero3/global_step5", "a part of the model missing", .torn, "the model's part of each rank") {
            try $0.remove("tag/zero_pp_rank_1_mp_rank_00_model_states.pt")
        },
        other("zero3/global_step5", "an optimizer's part missing", .torn, "zero_pp_rank_0_mp_rank_00_optim_states") {
            try $0.remove("tag/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt")
        },
        other("mics/global_step5", "whole", .complete),
        other("mics/global_step5", "a part missing", .torn, "zero_pp_rank_1_mp_rank_00_model_states") {
            try $0.remove("tag/zero_pp_rank_1_mp_rank_00_model_states.pt")
        },
        other("stage0/global_step3", "whole", .complete),
        other("stage0/global_step3", "another rank of the model", .torn, "mp_rank_01_model_states.pt") {
            try $0.copyFile(
                "deepspeed/stage0/global_step3/mp_rank_00_model_states.pt", to: "tag/mp_rank_02_model_states.pt")
        },
        other("moe/global_step4", "whole", .complete),
        other("moe/global_step4", "the last expert missing", .torn, "layer_0_expert_1") {
            try $0.remove("tag/layer_0_expert_1_mp_rank_00_model_states.pt")
        },
        other("moe/global_step4", "a layer of experts missing", .torn, "the experts of each layer") {
            try $0.move(
                "tag/layer_0_expert_0_mp_rank_00_model_states.pt", to: "tag/layer_1_expert_0_mp_rank_00_model_states.pt"
            )
            try $0.move(
                "tag/layer_0_expert_1_mp_rank_00_model_states.pt", to: "tag/layer_1_expert_1_mp_rank_00_model_states.pt"
            )
        },
        other("moe/global_step4", "an expert's optimizer missing", .torn, "expp_rank_0") {
            try $0.remove("tag/expp_rank_0_mp_rank_00_optim_states.pt")
        },
        other("pipeline/global_step6", "whole", .complete),
        other("pipeline/global_step6", "a layer missing", .torn, "layer_02-model_00") {
            try $0.remove("tag/layer_02-model_00-model_states.pt")
        },
        other("pipeline/global_step6", "a rank of the model missing", .torn, "mp_rank_01_model_states.pt") {
            try $0.remove("tag/mp_rank_01_model_states.pt")
        },
        other("universal/global_step10_universal", "whole", .complete),
        other("universal/global_step10_universal", "a parameter missing", .torn, "zero/w1: expected") {
            try $0.remove("tag/zero/w1")
        },
        other("universal/global_step10_universal", "weights missing", .torn, "zero/w1/fp32.pt") {
            try $0.remove("tag/zero/w1/fp32.pt")
        },
        other("universal/global_step10_universal", "a state cut", .torn, "exp_avg.pt") {
            try $0.truncate("tag/zero/w0/exp_avg.pt", to: -1)
        },
        other("universal/global_step10_universal", "a state missing", .unknown, "the same states") {
            try $0.remove("tag/zero/w0/exp_avg.pt")
        },
        other("universal/global_step10_universal", "the groups cut", .torn, "optimizer_state.pt") {
            try $0.truncate("tag/zero/optimizer_state.pt", to: -1)
        },
    ]

    @Test(arguments: cases) func judgement(of example: JudgementCase) throws { try example.check() }

    @Test func ranksThatNoFileCountsAreADoubt() throws {
        let tree = try TemporaryTree("deepspeed/zero2")
        // A model that says nothing of how many there were.
        try tree.copyFile("torch/plain.pt", to: "global_step20/mp_rank_00_model_states.pt")
        let finding = try tree.survey().only()
        #expect(finding.judgement == .unknown)
        #expect(finding.doubtText.contains("how many ranks"))
    }

    @Test func formatsAndSteps() throws {
        let report = try TemporaryTree("deepspeed").survey()
        #expect(try report.at("zero2/global_step20").step == 20)
        #expect(try report.at("zero2/global_step20").format == .deepspeed)
        #expect(try report.at("universal/global_step10_universal").step == 10)
        #expect(try report.at("universal/global_step10_universal").format == .deepspeedUniversal)
        let tree = try TemporaryTree()
        try tree.copy("deepspeed/zero2/global_step20", to: "best")
        #expect(try tree.survey().at("best").step == 20)
    }

    @Test func latestIsWhatItResumesFrom() throws {
        let tree = try TemporaryTree("deepspeed/zero2")
        var run = try tree.survey().onlyRun()
        #expect(run.resume?.path == "global_step20")
        #expect(run.resume?.judgement == .complete)
        #expect(run.trackers == ["latest"])
        #expect(run.warnings.isEmpty)

        try tree.copy("deepspeed/zero2/global_step20", to: "global_step30")
        run = try tree.survey().onlyRun()
        #expect(run.resume?.path == "global_step20")
        #expect(run.warnings.map(\.kind) == [.newerComplete, .trackerDisagrees])

        try tree.write("latest", "global_step30\n")
        try tree.remove("global_step30/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt")
        run = try tree.survey().onlyRun()
        #expect(run.resume?.path == "global_step30")
        #expect(run.newestComplete == "global_step20")
        #expect(run.warnings.map(\.kind) == [.resumesFromTorn])

        try tree.write("latest", "global_step40")
        run = try tree.survey().onlyRun()
        #expect(run.resume?.path == "global_step40")
        #expect(run.resume?.judgement == nil)
        #expect(run.warnings.map(\.kind).contains(.trackerNamesMissing))

        try tree.write("latest", [0xff, 0xfe])
        #expect(try tree.survey().onlyRun().warnings.map(\.kind).contains(.trackerUnusable))

        try tree.remove("latest")
        run = try tree.survey().onlyRun()
        #expect(run.resume == nil)
        #expect(run.warnings.map(\.kind) == [.trackerUnusable, .newerComplete])
    }
}
