import Checkpoints
import Testing

@Suite("Megatron") struct MegatronJudgeTests {
    private static func legacy(
        _ description: String, _ judgement: Judgement, _ text: String = "",
        change: @escaping @Sendable (TemporaryTree) throws -> Void = { _ in }
    ) -> JudgementCase {
        JudgementCase(
            description, "megatron/legacy/iter_0000010", at: "iter_0000010", judgement, text, change: change)
    }
    private static func dist(
        _ description: String, _ judgement: Judgement, _ text: String = "",
        change: @escaping @Sendable (TemporaryTree) throws -> Void = { _ in }
    ) -> JudgementCase {
        JudgementCase(
            "dist, \(description)", "megatron/dist/iter_0000020", at: "iter_0000020", judgement, text, change: change)
    }

    static let cases: [JudgementCase] = [
        legacy("whole", .complete),
        legacy("begun", .empty) {
            try $0.remove("iter_0000010")
            try $0.makeDirectory("iter_0000010")
        },
        legacy("a rank missing", .torn, "mp_rank_01_001: expected") { try $0.remove("iter_0000010/mp_rank_01_001") },
        legacy("all of a pipeline's stage missing", .torn, "mp_rank_00_001: expected") {
            try $0.remove("iter_0000010/mp_rank_00_001")
            try $0.remove("iter_0000010/mp_rank_01_001")
        },
        legacy("a rank's file missing", .torn, "model_optim_rng.pt: expected") {
            try $0.remove("iter_0000010/mp_rank_01_001/model_optim_rng.pt")
        },
        legacy("a rank's file cut", .torn, "mp_rank_01_000/model_optim_rng.pt") {
            try $0.truncate("iter_0000010/mp_rank_01_000/model_optim_rng.pt", to: -1)
        },
        legacy("an optimizer cut", .torn, "distrib_optim.pt") {
            try $0.truncate("iter_0000010/mp_rank_01_000/distrib_optim.pt", to: -1)
        },
        legacy("an optimizer missing", .torn, "some without") {
            try $0.remove("iter_0000010/mp_rank_01_000/distrib_optim.pt")
        },
        legacy("all optimizers missing", .torn, "found: none") { tree in
            for rank in ["00_000", "00_001", "01_000", "01_001"] {
                try tree.remove("iter_0000010/mp_rank_\(rank)/distrib_optim.pt")
            }
        },
        legacy("an optimizer missing beside experts", .unknown, "some ranks have no") { tree in
            for rank in ["00_000", "00_001", "01_000", "01_001"] {
                try tree.move("iter_0000010/mp_rank_\(rank)", to: "iter_0000010/mp_rank_\(rank)_000")
            }
            try tree.remove("iter_0000010/mp_rank_01_001_000/distrib_optim.pt")
        },
        legacy("names of several forms", .unknown, "several forms") {
            try $0.copy("megatron/legacy/iter_0000010/mp_rank_00_000", to: "iter_0000010/mp_rank_00")
        },
        legacy("a rank beyond all sense", .unknown, "beyond all sense") {
            try $0.copy("megatron/legacy/iter_0000010/mp_rank_00_000", to: "iter_0000010/mp_rank_99999999_000")
        },
        legacy("nothing says how many", .unknown, "how many ranks") { tree in
            for rank in ["00_000", "00_001", "01_000", "01_001"] {
                try tree.copyFile("torch/plain.pt", to: "iter_0000010/mp_rank_\(rank)/model_optim_rng.pt")
            }
        },
        dist("whole", .complete, "integrity.json not verified"),
        dist("without metadata.json", .torn, "metadata.json: expected") { try $0.remove("iter_0000020/metadata.json") },
        dist("metadata.json cut", .torn, "metadata.json") { try $0.truncate("iter_0000020/metadata.json", to: -1) },
        dist("metadata.json begun", .torn, "metadata.json") { try $0.truncate("iter_0000020/metadata.json", to: 0) },
        dist("metadata.json of something else", .unknown, "names no backend") {
            try $0.write("iter_0000020/metadata.json", "{}")
        },
        dist("an unknown backend", .unknown, "the backend tape is not known") {
            try $0.write("iter_0000020/metadata.json", #"{"sharded_backend":"tape"}"#)
        },
        dist("without common.pt", .torn, "common.pt: expected") { try $0.remove("iter_0000020/common.pt") },
        dist("without common.pt, which newer versions do not write", .unknown, "lists common.pt") {
            try $0.write("iter_0000020/metadata.json", #"{"sharded_backend":"torch_dist"}"#)
            try $0.remove("iter_0000020/common.pt")
        },
        dist("common.pt cut", .torn, "common.pt") { try $0.truncate("iter_0000020/common.pt", to: -1) },
        dist("a data file short", .torn, "__1_0.distcp") { try $0.truncate("iter_0000020/__1_0.distcp", to: -1) },
        dist("without .metadata", .torn, "/.metadata: expected") { try $0.remove("iter_0000020/.metadata") },
        dist("torch_dcp", .complete, "torch_dcp") {
            try $0.remove("iter_0000020/metadata.json")
            try $0.remove("iter_0000020/common.pt")
            try $0.remove("iter_0000020/integrity.json")
        },
        dist("beside one with metadata.json", .torn, "written last") {
            try $0.copy("megatron/dist/iter_0000020", to: "iter_0000010")
            try $0.remove("iter_0000020/metadata.json")
            try $0.remove("iter_0000020/common.pt")
        },
        dist("zarr", .unknown, "which chunks") {
            try $0.write("iter_0000020/metadata.json", #"{"sharded_backend":"zarr","common_backend":"torch"}"#)
            try $0.write("iter_0000020/w/.zarray", "{}")
        },
        dist("zarr, an array's header cut", .torn, "w/.zarray") {
            try $0.write("iter_0000020/metadata.json", #"{"sharded_backend":"zarr","common_backend":"torch"}"#)
            try $0.write("iter_0000020/w/.zarray", #"{"zarr_format":2,"shape":["#)
        },
        dist("integrity.json cut", .unknown, "integrity.json") {
            try $0.truncate("iter_0000020/integrity.json", to: -1)
        },
        dist("another algorithm", .unknown, "digests by md5") {
            try $0.replace("iter_0000020/integrity.json", "\"sha256\"", with: "\"md5\"")
        },
    ]

    @Test(arguments: cases) func judgement(of example: JudgementCase) throws { try example.check() }

    /// A hash that only tells files apart by one sum: what the content is held to, not how.
    private struct Sum: StreamingHasher {
        var total: UInt8 = 0
        mutating func update(_ bytes: UnsafeRawBufferPointer) { for byte in bytes { total = total &+ byte } }
        mutating func finish() -> [UInt8] { [total] }
    }

    @Test func integrityIsVerifiedWhenDeep() throws {
        let tree = try TemporaryTree("megatron/dist")
        var options = SurveyOptions()
        options.depth = .deep
        options.hasher = { $0 == .sha256 ? Sum() : nil }
        var files: [String] = []
        for name in ["common.pt", "__0_0.distcp"] {
            let sum = try tree.read("iter_0000020/\(name)").reduce(UInt8(0)) { $0 &+ $1 }
            let digits = Array("0123456789abcdef")
            files.append("\"\(name)\":\"\(digits[Int(sum >> 4)])\(digits[Int(sum & 15)])\"")
        }
        let manifest = "{\"algorithm\":\"sha256\",\"files\":{\(files.joined(separator: ","))}}"
        try tree.write("iter_0000020/integrity.json", manifest)
        let whole = try tree.survey(options).only()
        #expect(whole.judgement == .complete, "\(whole.evidenceText)")
        #expect(whole.notes == ["integrity.json verified: 2 files"])
        #expect(whole.commitMarkers.map { TreePath.name($0) } == [".metadata", "integrity.json", "metadata.json"])
        try tree.flip("iter_0000020/common.pt", at: 100)
        let torn = try tree.survey(options).only()
        #expect(torn.judgement == .torn)
        #expect(torn.evidenceText.contains("by integrity.json"))
    }

    @Test func theTrackerIsWhatItResumesFrom() throws {
        let tree = try TemporaryTree("megatron/dist")
        let tracker = "latest_checkpointed_iteration.txt"
        var run = try tree.survey().onlyRun()
        #expect(run.resume?.path == "iter_0000020")
        #expect(run.resume?.step == 20)
        #expect(run.trackers == [tracker])
        #expect(run.warnings.isEmpty)

        try tree.copy("megatron/dist/iter_0000020", to: "iter_0000030")
        try tree.remove("iter_0000030/metadata.json")
        run = try tree.survey().onlyRun()
        #expect(run.resume?.path == "iter_0000020")
        #expect(run.warnings.map(\.kind) == [.trackerDisagrees])

        try tree.write(tracker, "30\n")
        run = try tree.survey().onlyRun()
        #expect(run.resume?.path == "iter_0000030")
        #expect(run.warnings.map(\.kind) == [.resumesFromTorn])

        try tree.write(tracker, "40")
        run = try tree.survey().onlyRun()
        #expect(run.resume?.path == "iter_0000040")
        #expect(run.warnings.map(\.kind).contains(.trackerNamesMissing))

        try tree.move("iter_0000030", to: "release")
        try tree.write(tracker, "release")
        #expect(try tree.survey().onlyRun().resume?.path == "release")

        try tree.write(tracker, "ten")
        run = try tree.survey().onlyRun()
        #expect(run.resume == nil)
        #expect(run.warnings.map(\.kind).contains(.trackerUnusable))

        try tree.remove(tracker)
        #expect(try tree.survey().onlyRun().warnings.map(\.kind).contains(.trackerUnusable))
    }

    @Test func anotherProgramsMetadataIsNone() throws {
        let tree = try TemporaryTree()
        try tree.write("data/metadata.json", #"{"title":"measurements"}"#)
        try tree.copyFile("torch/plain.pt", to: "data/common.pt")
        #expect(try tree.survey().only().format == .torch)
    }
}
