import Checkpoints
import Testing

@Suite("Lightning and NeMo") struct LightningJudgeTests {
    private static let name = "epoch=0-step=2.ckpt"
    private static func file(
        _ description: String, _ judgement: Judgement, _ text: String = "",
        change: @escaping @Sendable (TemporaryTree) throws -> Void = { _ in }
    ) -> JudgementCase {
        JudgementCase("a file, \(description)", "lightning/run/\(name)", at: name, judgement, text, change: change)
    }
    private static func sharded(
        _ description: String, _ judgement: Judgement, _ text: String = "",
        change: @escaping @Sendable (TemporaryTree) throws -> Void = { _ in }
    ) -> JudgementCase {
        JudgementCase(
            "sharded, \(description)", "lightning/sharded/\(name)", at: "run/\(name)", judgement, text, change: change)
    }
    private static let nemoName = "model--val_loss=1.00-step=9-last"
    private static func nemo(
        _ description: String, _ judgement: Judgement, _ text: String = "",
        change: @escaping @Sendable (TemporaryTree) throws -> Void = { _ in }
    ) -> JudgementCase {
        JudgementCase(
            "NeMo 2, \(description)", "nemo/run/checkpoints/\(nemoName)", at: nemoName, judgement, text, change: change)
    }
    private static func archive(
        _ description: String, _ judgement: Judgement, _ text: String = "",
        change: @escaping @Sendable (TemporaryTree) throws -> Void = { _ in }
    ) -> JudgementCase {
        JudgementCase("NeMo 1, \(description)", "nemo/plain.nemo", at: "a.nemo", judgement, text, change: change)
    }

    static let cases: [JudgementCase] = [
        file("whole", .complete),
        file("cut", .torn) { try $0.truncate(name, to: -1) },
        file("begun", .empty) { try $0.truncate(name, to: 0) },
        sharded("whole", .complete),
        sharded("begun", .empty) {
            try $0.remove("run/\(name)")
            try $0.makeDirectory("run/\(name)")
        },
        sharded("without its metadata", .torn, "meta.pt: expected") { try $0.remove("run/\(name)/meta.pt") },
        JudgementCase(
            "a distributed checkpoint of such a name", "dcp/outputs/step-100", at: "model.ckpt", .unknown,
            "PyTorch alone"),
        sharded("its metadata cut", .torn, "meta.pt") { try $0.truncate("run/\(name)/meta.pt", to: -1) },
        sharded("without its commit", .torn, ".metadata: expected") { try $0.remove("run/\(name)/.metadata") },
        sharded("DeepSpeed", .complete) {
            try $0.remove("run/\(name)")
            try $0.copy("deepspeed/zero2/global_step20", to: "run/\(name)/checkpoint")
        },
        sharded("DeepSpeed, a part missing", .torn, "optim_states.pt: expected") {
            try $0.remove("run/\(name)")
            try $0.copy("deepspeed/zero2/global_step20", to: "run/\(name)/checkpoint")
            try $0.remove("run/\(name)/checkpoint/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt")
        },
        nemo("whole", .complete),
        nemo("unfinished", .torn, "marker of an unfinished save") { try $0.write("\(nemoName)-unfinished", "") },
        nemo("unfinished, and nothing yet", .torn, "the weights") {
            try $0.write("\(nemoName)-unfinished", "")
            try $0.remove("\(nemoName)/weights")
        },
        nemo("no weights", .torn, "an empty directory") {
            try $0.remove("\(nemoName)/weights")
            try $0.makeDirectory("\(nemoName)/weights")
        },
        nemo("weights not committed", .torn, "metadata.json: expected") {
            try $0.remove("\(nemoName)/weights/metadata.json")
        },
        nemo("weights cut", .torn, "__0_0.distcp") { try $0.truncate("\(nemoName)/weights/__0_0.distcp", to: -1) },
        nemo("torch_dcp", .complete, "torch_dcp") {
            try $0.remove("\(nemoName)/weights/metadata.json")
            try $0.remove("\(nemoName)/weights/common.pt")
        },
        nemo("context cut", .torn, "io.json") { try $0.truncate("\(nemoName)/context/io.json", to: 1) },
        nemo("weights of an unknown form", .unknown, "no form that is known") {
            try $0.remove("\(nemoName)/weights")
            try $0.write("\(nemoName)/weights/something", "x")
        },
        archive("whole", .complete),
        archive("begun", .empty) { try $0.truncate("a.nemo", to: 0) },
        archive("cut", .torn, "ends at byte") { try $0.truncate("a.nemo", to: 2000) },
        archive("cut in a header", .torn, "inside a header") { try $0.truncate("a.nemo", to: 1100) },
        archive("cut before its last blocks", .unknown, "last blocks") { tree in
            let bytes = try tree.read("a.nemo")
            // The members' bytes and headers, and nothing of what fills the archive up.
            let end = try #require(bytes.lastIndex { $0 != 0 }) + 1
            try tree.truncate("a.nemo", to: (end + 511) / 512 * 512)
        },
        archive("a header changed", .torn, "no header of a member") { try $0.flip("a.nemo", at: 1024 + 10) },
        archive("weights changed", .torn, "model_weights.ckpt") { tree in
            let bytes = try tree.read("a.nemo")
            let end = try #require(bytes.lastIndex { $0 != 0 })
            try tree.write("a.nemo", bytes[..<(end - 60)] + [UInt8](repeating: 0, count: bytes.count - end + 60))
        },
        archive("no archive", .unknown, "no tar archive") {
            try $0.write("a.nemo", [UInt8](repeating: 7, count: 2048))
        },
        archive("no configuration", .unknown, "model_config.yaml") {
            try $0.renameMember("model_config", to: "m0del_config")
        },
        archive("no weights", .unknown, "no weights") {
            try $0.renameMember("model_weights.ckpt", to: "model_weights.ckp_")
        },
        archive("a link out of the tree", .unknown, "leads out") {
            try $0.remove("a.nemo")
            try $0.link("a.nemo", to: "/etc/hostname")
        },
        archive("compressed", .unknown, "compressed") { try $0.copyFile("nemo/packed.nemo", to: "a.nemo") },
    ]

    @Test(arguments: cases) func judgement(of example: JudgementCase) throws { try example.check() }

    @Test func aLightningFileIsToldFromATorchFile() throws {
        let tree = try TemporaryTree("lightning/run")
        try tree.copyFile("torch/plain.pt", to: "model.ckpt")
        try tree.link("last.ckpt", to: Self.name)
        let report = try tree.survey()
        let file = try report.at(Self.name)
        #expect(file.format == .lightning)
        #expect(file.step == 2)
        #expect(try report.at("model.ckpt").format == .torch)
        let link = try report.at("last.ckpt")
        #expect(link.judgement == .complete)
        #expect(link.bytes == 0)
        #expect(link.notes == ["a symbolic link to \(Self.name)"])
        try tree.truncate("model.ckpt", to: -1)
        #expect(try tree.survey().at("model.ckpt").format == .torch)
        try tree.remove(Self.name)
        #expect(try tree.survey().at("last.ckpt").judgement == .torn)
    }

    @Test func lastIsWhatItResumesFrom() throws {
        let tree = try TemporaryTree("lightning/run")
        #expect(try tree.survey().runs.isEmpty)
        try tree.copyFile("lightning/run/\(Self.name)", to: "last.ckpt")
        try tree.copyFile("lightning/run/\(Self.name)", to: "last-v1.ckpt")
        try tree.setModified("last-v1.ckpt", TemporaryTree.sampleTime - 10)
        #expect(try tree.survey().onlyRun().resume?.path == "last.ckpt")
        try tree.setModified("last-v1.ckpt", TemporaryTree.sampleTime + 10)
        #expect(try tree.survey().onlyRun().resume?.path == "last-v1.ckpt")
        try tree.truncate("last-v1.ckpt", to: 100)
        try tree.setModified("last-v1.ckpt", TemporaryTree.sampleTime + 10)
        #expect(try tree.survey().onlyRun().warnings.map(\.kind).contains(.resumesFromTorn))
        try tree.copyFile("lightning/run/\(Self.name)", to: "hpc_ckpt_2.ckpt")
        try tree.copyFile("lightning/run/\(Self.name)", to: "hpc_ckpt_10.ckpt")
        #expect(try tree.survey().onlyRun().resume?.path == "hpc_ckpt_10.ckpt")
    }

    @Test func theLastWithoutAMarkerIsWhatNeMoResumesFrom() throws {
        let tree = try TemporaryTree("nemo/run")
        var run = try tree.survey().onlyRun()
        #expect(run.resume?.path == "checkpoints/\(Self.nemoName)")
        #expect(run.resume?.step == 9)
        try tree.write("checkpoints/\(Self.nemoName)-unfinished", "")
        run = try tree.survey().onlyRun()
        #expect(run.resume == nil)
        #expect(run.warnings.map(\.kind) == [.noneComplete])
        let finding = try tree.survey().only()
        #expect(finding.inProgress == ["checkpoints/\(Self.nemoName)-unfinished"])
        #expect(finding.quarantineName == "\(Self.nemoName).torn")
    }
}

extension TemporaryTree {
    /// Gives a member of an archive another name, and its header the sum that goes with it.
    func renameMember(_ name: String, to other: String) throws {
        var bytes = try read("a.nemo")
        let old = Array(name.utf8)
        let place = try #require((0...bytes.count - old.count).first { bytes[$0..<$0 + old.count].elementsEqual(old) })
        bytes.replaceSubrange(place..<place + old.count, with: Array(other.utf8))
        let start = place / 512 * 512
        bytes.replaceSubrange(start + 148..<start + 156, with: [UInt8](repeating: 0x20, count: 8))
        let sum = bytes[start..<start + 512].reduce(0) { $0 + Int($1) }
        let digits = String(sum, radix: 8)
        let field = String(repeating: "0", count: 6 - digits.count) + digits
        bytes.replaceSubrange(start + 148..<start + 155, with: Array(field.utf8) + [0])
        try write("a.nemo", bytes)
    }
}
