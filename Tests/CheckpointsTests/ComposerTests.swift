import Checkpoints
import Testing

@Suite("Composer") struct ComposerTests {
    @Test func aRunIsComplete() throws {
        let report = try TemporaryTree.format("composer").formats()
        #expect(report.checkpoints.map(\.path) == ["s/ep0-ba10-rank0.pt", "s/ep0-ba20-rank0.pt"])
        #expect(report.checkpoints.map(\.step) == [10, 20])
        for finding in report.checkpoints {
            #expect(finding.format == .composer)
            #expect(finding.judgement == .complete, "\(finding.evidenceText) \(finding.doubtText)")
        }
        #expect(report.checkpoints[1].contents == .files(["s/ep0-ba20-rank0.pt", "s/ep0-ba20-rank1.pt"]))
        let run = try report.onlyRun()
        #expect(run.resume?.path == "s/ep0-ba20-rank0.pt")
        #expect(run.resume?.rule == "the link latest-rank0.pt")
        #expect(run.trackers == ["s/latest-rank0.pt", "s/latest-rank1.pt"])
        #expect(run.warnings.isEmpty)
    }

    @Test func aCutFileIsTorn() throws {
        let tree = try TemporaryTree.format("composer")
        try tree.truncate("s/ep0-ba20-rank1.pt", to: -10)
        let report = try tree.formats()
        #expect(report.checkpoints[1].evidence.map(\.file) == ["s/ep0-ba20-rank1.pt"])
        #expect(report.checkpoints[1].quarantineName == nil)
        #expect(try report.onlyRun().warnings.map(\.kind) == [.resumesFromTorn])
        #expect(try report.onlyRun().newestComplete == "s/ep0-ba10-rank0.pt")
    }

    @Test func aMissingRankIsTornWhenAHigherOneIsThere() throws {
        let tree = try TemporaryTree.format("composer")
        try tree.remove("s/ep0-ba20-rank0.pt")
        let report = try tree.formats()
        let finding = try report.at("s/ep0-ba20-rank1.pt")
        #expect(finding.evidence.map(\.file) == ["s/ep0-ba20-rank0.pt"])
        #expect(try report.onlyRun().warnings.map(\.kind).contains(.trackerNamesMissing))
        #expect(try report.onlyRun().resume == nil)
    }

    @Test func fewerRanksThanAnotherOneIsUnknown() throws {
        let tree = try TemporaryTree.format("composer")
        try tree.remove("s/ep0-ba20-rank1.pt")
        let finding = try tree.formats().at("s/ep0-ba20-rank0.pt")
        #expect(finding.judgement == .unknown)
        #expect(finding.doubtText.contains("1 ranks wrote it, 2"))
        // Today only rank 0 writes one.
        try tree.remove("s/ep0-ba10-rank1.pt")
        #expect(try tree.formats().checkpoints.map(\.judgement) == [.complete, .complete])
    }

    @Test func aNewerOneThanTheLinkSaysIsTold() throws {
        let tree = try TemporaryTree.format("composer")
        try tree.remove("s/latest-rank0.pt")
        try tree.link("s/latest-rank0.pt", to: "ep0-ba10-rank0.pt")
        let run = try tree.formats().onlyRun()
        #expect(run.resume?.path == "s/ep0-ba10-rank0.pt")
        #expect(run.warnings.map(\.kind) == [.newerComplete])
        try tree.truncate("s/ep0-ba20-rank0.pt", to: 100)
        #expect(try tree.formats().onlyRun().warnings.map(\.kind) == [.trackerDisagrees])
        try tree.remove("s/latest-rank0.pt")
        try tree.remove("s/latest-rank1.pt")
        #expect(try tree.formats().onlyRun().warnings.map(\.kind).contains(.trackerUnusable))
    }

    @Test func numbersInNamesAreBounded() throws {
        let tree = try TemporaryTree.format("composer")
        let file = "../FormatSamples/composer/ep0-ba20-rank0.pt"
        try tree.copy(file, to: "s/ep1-ba30-rank999999999999.pt")
        let finding = try tree.formats().at("s/ep1-ba30-rank999999999999.pt")
        #expect(finding.judgement == .torn)
        #expect(finding.evidence.count == 8)
        // One rank by two names; and a number that no Int64 holds, which is none of Composer's names.
        try tree.copy(file, to: "s/ep0-ba20-rank00.pt")
        try tree.copy(file, to: "s/ep1-ba40-rank9223372036854775807.pt")
        let report = try tree.formats()
        #expect(report.checkpoints.filter { $0.format == .composer }.map(\.step) == [10, 20, 30])
    }

    @Test func aShardedOneIsADirectory() throws {
        let tree = try TemporaryTree.format("composer")
        try tree.copy("dcp/outputs/step-100", to: "s/ep0-ba30")
        try tree.remove("s/latest-rank0.pt")
        try tree.link("s/latest-rank0.pt", to: "ep0-ba30")
        let report = try tree.formats()
        #expect(try report.at("s/ep0-ba30").format == .dcp)
        let run = try #require(report.runs.first { $0.format == .composer })
        #expect(run.resume?.path == "s/ep0-ba30")
        #expect(run.checkpoints == 3)
    }

    @Test func compressedOnesAreUnknown() throws {
        let tree = try TemporaryTree()
        try tree.write("ep0-ba1-rank0.pt.gz", "x")
        #expect(try tree.formats().only().judgement == .unknown)
    }
}
