import Checkpoints
import Testing

/// Whatever files hold, a survey comes to its end, and a finding keeps what it promises.
@Suite("Changed trees") struct MutationTests {
    /// Random numbers that a seed repeats (SplitMix64, Steele, Lea and Flood 2014).
    struct SeededGenerator: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9e37_79b9_7f4a_7c15
            var value = state
            value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
            value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
            return value ^ (value >> 31)
        }
    }

    /// A sample, and the file in it that is changed: each that a judge parses by itself.
    static let targets: [(sample: String, file: String)] = [
        ("nemo", "plain.nemo"), ("trainer/run", "checkpoint-2/trainer_state.json"),
        ("trainer/run", "checkpoint-2/training_args.bin"), ("megatron/dist", "latest_checkpointed_iteration.txt"),
        ("megatron/dist", "iter_0000020/metadata.json"), ("megatron/dist", "iter_0000020/integrity.json"),
        ("megatron/legacy", "iter_0000010/mp_rank_00_000/model_optim_rng.pt"), ("deepspeed/zero2", "latest"),
        ("deepspeed/zero2", "global_step20/mp_rank_00_model_states.pt"),
        ("deepspeed/pipeline", "global_step6/mp_rank_00_model_states.pt"),
        ("dcp/outputs", "step-100/.metadata"), ("dcp/alone", "__1.metadata"), ("dcp/outputs", "step-100/__0_0.distcp"),
        ("peft/adapter", "adapter_config.json"), ("lightning/run", "epoch=0-step=2.ckpt"),
    ]

    @Test(.timeLimit(.minutes(5)), arguments: targets) func noChangeCrashesASurvey(sample: String, file: String) throws
    {
        var generator = SeededGenerator(state: 20_261_121)
        let tree = try TemporaryTree(sample)
        let valid = try tree.read(file)
        for round in 0..<80 {
            var bytes = valid
            for _ in 0...Int(generator.next() % 3) { Self.mutate(&bytes, &generator) }
            try tree.write(file, bytes)
            let report = round.isMultiple(of: 2) ? try tree.survey() : try tree.deepSurvey()
            for finding in report.checkpoints {
                #expect((finding.judgement == .torn) == !finding.evidence.isEmpty)
                #expect(finding.judgement != .unknown || !finding.doubts.isEmpty)
                #expect(
                    finding.evidence.allSatisfy { !$0.description.contains("\n") && $0.description.utf8.count < 4096 })
                #expect(finding.bytes != nil)
            }
            #expect(report.unread.isEmpty)
        }
    }

    /// Of the files without which nothing is whole, every cut is noticed.
    @Test(arguments: targets.filter { $0.file != "latest" && !$0.file.hasSuffix(".txt") })
    func everyCutIsNoticed(sample: String, file: String) throws {
        let tree = try TemporaryTree(sample)
        let valid = try tree.read(file)
        for count in stride(from: 0, to: valid.count - 1, by: max(1, valid.count / 40)) {
            try tree.write(file, Array(valid.prefix(count)))
            // A tar archive goes on with empty blocks behind its end.
            let mayBeWhole = file.hasSuffix(".nemo") && !valid[count...].contains { $0 != 0 }
            let findings = try tree.survey().checkpoints.filter { !$0.path.hasSuffix("packed.nemo") }
            let isWhole = findings.filter { !$0.path.hasPrefix("run/") }.contains { $0.judgement == .complete }
            #expect(!isWhole || mayBeWhole, "\(file) of \(count) bytes")
        }
    }

    private static func mutate(_ bytes: inout [UInt8], _ generator: inout SeededGenerator) {
        guard !bytes.isEmpty else { return }
        let place = Int.random(in: 0..<bytes.count, using: &generator)
        switch generator.next() % 5 {
        case 0: bytes[place] ^= 1 << UInt8(generator.next() % 8)
        case 1: bytes[place] = UInt8(truncatingIfNeeded: generator.next())
        case 2: bytes.removeSubrange(place..<min(bytes.count, place + Int(generator.next() % 16)))
        case 3:
            let from = Int.random(in: 0..<bytes.count, using: &generator)
            bytes.insert(contentsOf: bytes[from..<min(bytes.count, from + Int(generator.next() % 64))], at: place)
        default: bytes.removeLast(min(bytes.count, Int(generator.next() % 32)))
        }
    }
}
