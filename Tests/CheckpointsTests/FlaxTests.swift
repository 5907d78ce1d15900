import Checkpoints
import TensorFiles
import Testing

@Suite("Flax") struct FlaxTests {
    @Test func aRunIsComplete() throws {
        let report = try TemporaryTree.format("flax").formats()
        #expect(report.checkpoints.map(\.path) == ["s/checkpoint_10", "s/checkpoint_5"])
        for finding in report.checkpoints {
            #expect(finding.judgement == .complete, "\(finding.evidenceText) \(finding.doubtText)")
            #expect(finding.format == .flax)
        }
        let last = try report.at("s/checkpoint_10")
        #expect(last.step == 10)
        #expect(last.parameters == 25)
        #expect(last.bytes.map { $0 > 100 } == true)
        let run = try report.onlyRun()
        #expect(run.resume?.path == "s/checkpoint_10")
        #expect(run.warnings.isEmpty)
    }

    @Test func everyCutIsTorn() throws {
        let tree = try TemporaryTree.format("flax")
        let bytes = try tree.read("s/checkpoint_10")
        for count in 0..<bytes.count {
            try tree.write("s/checkpoint_10", Array(bytes.prefix(count)))
            let report = try tree.formats()
            let finding = try report.at("s/checkpoint_10")
            #expect(finding.judgement == .torn, "\(count) bytes")
            #expect(finding.evidence.map(\.file) == ["s/checkpoint_10"])
        }
        let report = try tree.formats()
        #expect(try report.onlyRun().warnings.map(\.kind) == [.resumesFromTorn])
        #expect(try report.onlyRun().newestComplete == "s/checkpoint_5")
        // Every name that begins so would be picked.
        #expect(try report.at("s/checkpoint_10").quarantineName == "torn-checkpoint_10")
        try tree.move("s/checkpoint_10", to: "s/torn-checkpoint_10")
        #expect(try tree.formats().onlyRun().resume?.path == "s/checkpoint_5")
    }

    @Test func aByteTooManyIsTorn() throws {
        let tree = try TemporaryTree.format("flax")
        try tree.write("s/checkpoint_10", try tree.read("s/checkpoint_10") + [0xc0])
        #expect(try tree.formats().at("s/checkpoint_10").evidenceText.contains("1 bytes too many"))
    }

    @Test func spaceThatWasNeverWrittenIsTorn() throws {
        let tree = try TemporaryTree.format("flax")
        try tree.write("s/checkpoint_10", [UInt8](repeating: 0, count: 600))
        #expect(try tree.formats().at("s/checkpoint_10").judgement == .torn)
    }

    @Test func anArrayOfAnotherSizeIsTorn() throws {
        // {"w": extension 1 of [[3], "uint8", two bytes]}
        let inner: [UInt8] = [0x93, 0x91, 0x03, 0xa5] + Array("uint8".utf8) + [0xc4, 0x02, 1, 2]
        let tree = try TemporaryTree.format("flax")
        try tree.write("s/checkpoint_20", [0x81, 0xa1, 0x77, 0xc7, UInt8(inner.count), 1] + inner)
        #expect(try tree.formats().at("s/checkpoint_20").evidenceText.contains("another size than its shape"))
        var whole = inner
        whole[2] = 2
        try tree.write("s/checkpoint_20", [0x81, 0xa1, 0x77, 0xc7, UInt8(whole.count), 1] + whole)
        let finding = try tree.formats().at("s/checkpoint_20")
        #expect(finding.judgement == .complete, "\(finding.evidenceText)")
        #expect(finding.parameters == 2)
    }

    @Test func aTemporaryNameIsTornAndLeftOut() throws {
        let tree = try TemporaryTree.format("flax")
        try tree.write("s/checkpoint_tmp", [0x81])
        let report = try tree.formats()
        let finding = try report.at("s/checkpoint_tmp")
        #expect(finding.judgement == .torn)
        #expect(finding.inProgress == ["s/checkpoint_tmp"])
        #expect(try report.onlyRun().resume?.path == "s/checkpoint_10")
        #expect(try report.onlyRun().checkpoints == 2)
    }

    @Test func arraysOfSeveralHostsMustBeThere() throws {
        let tree = try TemporaryTree()
        let place = "//GDAPlaceholder:w"
        try tree.write("checkpoint_3", [0x81, 0xa1, 0x77, 0xa0 + UInt8(place.utf8.count)] + Array(place.utf8))
        let missing = try tree.formats().only()
        #expect(missing.evidence.map(\.file) == ["checkpoint_3_gda"])
        let header =
            #"{"chunks":[2],"compressor":null,"dtype":"<f4","fill_value":null,"filters":null,"order":"C","#
            + #""shape":[4],"zarr_format":2}"#
        try tree.write("checkpoint_3_gda/w/.zarray", header)
        try tree.write("checkpoint_3_gda/w/0", "12345678")
        let part = try tree.formats().only()
        #expect(part.judgement == .unknown)
        #expect(part.doubtText.contains("1 of 2 chunks"))
        try tree.write("checkpoint_3_gda/w/1", "12345678")
        let whole = try tree.formats().only()
        #expect(whole.judgement == .complete, "\(whole.doubtText)")
        let files = ["checkpoint_3"] + [".zarray", "0", "1"].map { "checkpoint_3_gda/w/\($0)" }
        #expect(whole.contents == .files(files))
        try tree.remove("checkpoint_3_gda/w/.zarray")
        #expect(try tree.formats().only().evidence.map(\.file) == ["checkpoint_3_gda/w/.zarray"])
    }

    @Test func otherFilesOfThatNameAreNone() throws {
        let tree = try TemporaryTree()
        // A zip archive, an old pickle, text.
        try tree.write("checkpoint_1", "PK\u{3}\u{4}")
        try tree.write("checkpoint_2", [0x80, 0x02, 0x7d])
        try tree.write("checkpoint_3", "hello")
        try tree.write("checkpoint_4", [0x83, 0x01, 0x02, 0x03])
        try tree.write("checkpoint_5", [0x80, 0xa1, 0x61])
        #expect(try tree.formats().checkpoints.filter { $0.format == .flax }.isEmpty)
    }

    @Test func orbaxDirectoriesAreOfTheSameRun() throws {
        let tree = try TemporaryTree.format("flax")
        try tree.copy("../FormatSamples/orbax_single", to: "s/checkpoint_20")
        let report = try tree.formats()
        #expect(report.checkpoints.count == 3)
        #expect(try report.at("s/checkpoint_20").format == .orbax)
        let run = try report.onlyRun()
        #expect(run.format == .flax)
        #expect(run.resume?.path == "s/checkpoint_20")
    }

    @Test func nestingHasALimit() throws {
        let deep = [UInt8](repeating: 0x91, count: 5000)
        let finding = try FlaxFile.read(BytesSource([0x81, 0xa1, 0x61] + deep))
        guard case .unsupported = finding else {
            Issue.record("\(finding)")
            return
        }
        // A map that claims four thousand million members costs what is there.
        let bomb = try FlaxFile.read(BytesSource([0xdf, 0xff, 0xff, 0xff, 0xff, 0xa1, 0x61]))
        #expect(bomb.evidence?.kind == .truncated)
    }
}
