import Checkpoints
import Testing

@Suite("Distributed checkpoints") struct DistributedJudgeTests {
    static let cases: [JudgementCase] = [
        JudgementCase("whole", "dcp/outputs/step-100", at: "step-100", .complete),
        JudgementCase("whole, and read", "dcp/outputs/step-100", at: "step-100", .complete, isDeep: true),
        JudgementCase(
            "pieces that are not all", "dcp/outputs/step-100", at: "step-100", .unknown, "6 of its 7 elements"
        ) {
            tree in
            var bytes = try tree.read("step-100/.metadata")
            let name = Array("model.bias".utf8)
            let start = try #require((0..<bytes.count - 10).first { bytes[$0..<$0 + 10].elementsEqual(name) })
            // A tuple of one small number, the tensor's size.
            let size = try #require(
                (start..<bytes.count - 3).first { bytes[$0..<$0 + 3].elementsEqual([0x4b, 6, 0x85]) })
            bytes[size + 1] = 7
            try tree.write("step-100/.metadata", bytes)
            try tree.setModified("step-100/.metadata", TemporaryTree.sampleTime)
        },
        JudgementCase("begun", "dcp/outputs/step-100", at: "step-100", .empty) {
            try $0.remove("step-100")
            try $0.makeDirectory("step-100")
        },
        JudgementCase("without its commit", "dcp/outputs/step-100", at: "step-100", .torn, ".metadata: expected") {
            try $0.remove("step-100/.metadata")
        },
        JudgementCase("not renamed", "dcp/outputs/step-100", at: "step-100", .torn, ".metadata.tmp, which was not") {
            try $0.move("step-100/.metadata", to: "step-100/.metadata.tmp")
        },
        JudgementCase("saved over", "dcp/outputs/step-100", at: "step-100", .unknown, "another save over this one") {
            try $0.write("step-100/.metadata.tmp", "")
        },
        JudgementCase("a file short", "dcp/outputs/step-100", at: "step-100", .torn, "or more by the metadata") {
            try $0.truncate("step-100/__1_0.distcp", to: -1)
        },
        JudgementCase("a file missing", "dcp/outputs/step-100", at: "step-100", .torn, "no such file") {
            try $0.remove("step-100/__1_0.distcp")
        },
        JudgementCase("metadata cut", "dcp/outputs/step-100", at: "step-100", .torn, ".metadata") {
            try $0.truncate("step-100/.metadata", to: -20)
        },
        JudgementCase("a data file saved over", "dcp/outputs/step-100", at: "step-100", .unknown, "newer than") {
            try $0.setModified("step-100/__0_0.distcp", TemporaryTree.sampleTime + 1)
        },
        JudgementCase("items elsewhere", "dcp/outputs/step-100", at: "step-100", .unknown, "is no torch file") { tree in
            // As large as before, and all else moved.
            let bytes = try tree.read("step-100/__0_0.distcp")
            try tree.write("step-100/__0_0.distcp", Array(bytes[100...] + bytes[..<100]))
            try tree.setModified("step-100/__0_0.distcp", TemporaryTree.sampleTime)
        },
        JudgementCase(
            "a changed byte, looked for", "dcp/outputs/step-100", at: "step-100", .unknown, "CRC", isDeep: true
        ) {
            try $0.flipContent("step-100/__0_0.distcp")
        },
        JudgementCase("more files than it names", "dcp/outputs/step-100", at: "step-100", .complete, "1 data files") {
            try $0.copyFile("dcp/outputs/step-100/__1_0.distcp", to: "step-100/__2_0.distcp")
        },
        JudgementCase("each rank alone", "dcp/alone", at: "alone", .complete),
        JudgementCase("a rank without metadata", "dcp/alone", at: "alone", .torn, "__1.metadata") {
            try $0.remove("alone/__1.metadata")
        },
        JudgementCase("rank 0 without metadata", "dcp/alone", at: "alone", .torn, "__0.metadata") {
            try $0.remove("alone/__0.metadata")
        },
        JudgementCase("a rank beyond all sense", "dcp/alone", at: "alone", .unknown, "a rank 99999999") {
            try $0.write("alone/__99999999.metadata", "")
        },
        JudgementCase(
            "a tensor without its place", "dcp/outputs/step-100", at: "step-100", .torn, "none for model.bia5"
        ) {
            try $0.rename(in: "step-100/.metadata", "model.bias", to: "model.bia5")
        },
    ]

    @Test(arguments: cases) func judgement(of example: JudgementCase) throws { try example.check() }

    @Test func stepAndMarkers() throws {
        let tree = try TemporaryTree("dcp")
        let report = try tree.survey()
        #expect(try report.at("outputs/step-100").step == 100)
        #expect(try report.at("outputs/step-100").commitMarkers == ["outputs/step-100/.metadata"])
        #expect(try report.at("alone").step == 4)
        try tree.move("outputs/step-100", to: "outputs/run")
        #expect(try tree.survey().at("outputs/run").step == 100)
        try tree.write("outputs/run/.metadata.tmp", "")
        #expect(try tree.survey().at("outputs/run").inProgress == ["outputs/run/.metadata.tmp"])
    }

    @Test func torchtitanTakesTheHighestThatIsCommitted() throws {
        let tree = try TemporaryTree("dcp/outputs")
        try tree.copy("dcp/outputs/step-100", to: "step-200")
        #expect(try tree.survey().onlyRun().resume?.path == "step-200")
        try tree.truncate("step-200/__0_0.distcp", to: 10)
        let torn = try tree.survey().onlyRun()
        #expect(torn.resume?.path == "step-200")
        #expect(torn.resume?.judgement == .torn)
        #expect(torn.newestComplete == "step-100")
        #expect(torn.warnings.map(\.kind) == [.resumesFromTorn])
        try tree.remove("step-200/.metadata")
        let older = try tree.survey().onlyRun()
        #expect(older.resume?.path == "step-100")
        #expect(older.warnings.isEmpty)
    }

    @Test func anotherProgramsMetadataIsNone() throws {
        let tree = try TemporaryTree()
        try tree.write("workspace/.metadata", "version=1")
        #expect(try tree.survey().checkpoints.isEmpty)
        try tree.copyFile("dcp/outputs/step-100/.metadata", to: "workspace/.metadata")
        #expect(try tree.survey().only().judgement == .torn)
    }
}

extension TemporaryTree {
    /// Replaces the first occurrence of a text in a binary file by one of the same length.
    func rename(in path: String, _ text: String, to other: String) throws {
        var bytes = try read(path)
        let old = Array(text.utf8)
        let place = try #require((0...bytes.count - old.count).first { bytes[$0..<$0 + old.count].elementsEqual(old) })
        bytes.replaceSubrange(place..<place + old.count, with: Array(other.utf8))
        try write(path, bytes)
        try setModified(path, Self.sampleTime)
    }
}
