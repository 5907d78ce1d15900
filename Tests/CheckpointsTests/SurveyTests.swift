import Checkpoints
import TensorFiles
import Testing

@Suite("Survey") struct SurveyTests {
    /// Claims directories and files by their names, and counts what it is asked.
    struct NameJudge: Judge {
        struct Refused: Error {}
        let format = CheckpointFormat.torch

        func recognises(_ directory: TreeDirectory) -> Bool {
            directory.name.hasPrefix("checkpoint") || directory.fileNames.contains { $0.hasSuffix(".pt") }
        }

        func judge(_ directory: TreeDirectory, _ context: JudgeContext) throws -> Claim? {
            if directory.name == "checkpoint-refused" { throw Refused() }
            if directory.name.hasPrefix("checkpoint") {
                return .everything(CheckpointFinding(path: directory.path, format: .torch))
            }
            let names = directory.fileNames.filter { $0.hasSuffix(".pt") }
            let findings = names.map { name in
                let path = directory.path(name)
                return CheckpointFinding(path: path, format: .torch, contents: .files([path]))
            }
            return .entries(Set(names), findings)
        }

        func run(
            _ directory: TreeDirectory, _ found: [FoundCheckpoint], _ context: JudgeContext
        ) throws -> RunFinding? {
            let own = found.filter { TreePath.parent($0.path) == directory.path }
            guard !own.isEmpty else { return nil }
            return RunFinding(path: directory.path, format: .torch, checkpoints: own.count)
        }
    }

    @Test func whatIsClaimedIsReportedOnce() throws {
        let tree = try TemporaryTree()
        try tree.write("checkpoint-1/a.pt", "abc")
        try tree.write("checkpoint-1/deep/b.pt", "abcd")
        try tree.write("c.pt", "12345")
        try tree.write("other/d.pt", "1")
        let report = try tree.survey(judges: [NameJudge(), NameJudge()])
        #expect(report.checkpoints.map(\.path) == ["c.pt", "checkpoint-1", "other/d.pt"])
        #expect(report.checkpoints.map(\.bytes) == [5, 7, 1])
        #expect(report.runs.map(\.path) == ["other", "other", "", ""])
        #expect(report.runs.map(\.checkpoints) == [1, 1, 2, 2])
    }

    @Test func aJudgeThatFailsIsAnUnknownFinding() throws {
        let tree = try TemporaryTree()
        try tree.write("checkpoint-refused/a.pt", "abc")
        try tree.write("checkpoint-refused/inner/b.pt", "abc")
        try tree.write("z.pt", "abc")
        let report = try tree.survey(judges: [NameJudge()])
        #expect(report.checkpoints.map(\.path) == ["z.pt", "checkpoint-refused", "checkpoint-refused/inner/b.pt"])
        let refused = try report.at("checkpoint-refused")
        #expect(refused.judgement == .unknown)
        #expect(refused.doubtText.contains("Refused"))
    }

    @Test func aFindingIsTornOnlyWithEvidence() {
        var finding = CheckpointFinding(path: "a", format: .torch)
        #expect(finding.judgement == .complete)
        finding.doubt("who knows")
        #expect(finding.judgement == .unknown)
        finding.isEmpty = true
        #expect(finding.judgement == .empty)
        for number in 0..<40 { finding.tear("a", expected: "\(number)", found: "nothing") }
        #expect(finding.judgement == .torn)
        #expect(finding.evidence.count == 32)
        #expect(finding.evidenceLeftOut == 8)
    }

    @Test func linksAreFollowedInsideTheTreeOnly() throws {
        let tree = try TemporaryTree()
        try tree.write("data/blobs/1", "x")
        try tree.link("data/snapshot/a", to: "../blobs/1")
        try tree.link("data/snapshot/dangling", to: "../blobs/2")
        try tree.link("data/snapshot/outside", to: "../../../elsewhere")
        try tree.link("data/snapshot/absolute", to: "/etc/hostname")
        try tree.link("data/snapshot/home", to: tree.path + "/data/blobs/1")
        try tree.link("data/loop", to: "loop")
        try tree.link("short", to: "data/snapshot")
        try tree.link("up", to: "data/snapshot/..")
        let local = try LocalTree(tree.path)
        let blob = PathResolution.found(
            path: "data/blobs/1", entry: try #require(try local.entry("data/blobs/1")))
        #expect(try local.resolve("data/snapshot/a") == blob)
        #expect(try local.resolve("short/a") == blob)
        #expect(try local.resolve("up/blobs/1") == blob)
        #expect(try local.resolve("data/snapshot/home") == blob)
        #expect(try local.resolve("data/nothing") == .missing)
        #expect(try local.resolve("data/blobs/1/x") == .missing)
        #expect(
            try local.resolve("data/snapshot/dangling")
                == .dangling(link: "data/snapshot/dangling", target: "../blobs/2"))
        #expect(try local.resolve("data/loop") == .dangling(link: "data/loop", target: "loop"))
        #expect(
            try local.resolve("data/snapshot/outside")
                == .outside(link: "data/snapshot/outside", target: "../../../elsewhere"))
        #expect(
            try local.resolve("data/snapshot/absolute")
                == .outside(link: "data/snapshot/absolute", target: "/etc/hostname"))
        guard case .found(let path, let entry) = try local.resolve("up") else {
            Issue.record("up leads to nothing")
            return
        }
        #expect(path == "data")
        #expect(entry.kind == .directory)
    }

    @Test func aCircleOfDirectoriesEnds() throws {
        let tree = try TemporaryTree()
        try tree.write("a/b/c.pt", "abc")
        try tree.link("a/b/back", to: "../../a")
        #expect(try tree.survey(judges: [NameJudge()]).checkpoints.map(\.path) == ["a/b/c.pt"])
    }

    @Test func aDirectoryBeyondTheLimitIsUnknown() throws {
        let tree = try TemporaryTree()
        for number in 0..<20 { try tree.write("many/\(number).pt", "abc") }
        var options = SurveyOptions()
        options.directoryEntries = 10
        let report = try tree.survey(options, judges: [NameJudge()])
        #expect(report.checkpoints.count == 10)
        #expect(report.checkpoints.allSatisfy { $0.judgement == .unknown })
        #expect(report.unread == ["many"])
    }

    @Test func aPartBeyondTheLimitMakesTheWholeUnknown() throws {
        let tree = try TemporaryTree("deepspeed/universal")
        var options = SurveyOptions()
        options.directoryEntries = 3
        let finding = try tree.survey(options).only()
        #expect(finding.judgement == .unknown)
        #expect(finding.doubtText.contains("too many entries"))
        options.directoryEntries = 4
        #expect(try tree.survey(options).only().judgement == .complete)
    }

    @Test func theOwnerEndsASurvey() throws {
        struct Enough: Error {}
        let tree = try TemporaryTree()
        try tree.write("checkpoint-1/a.pt", "abc")
        var options = SurveyOptions()
        options.progress = { _ in throw Enough() }
        #expect(throws: Enough.self) { try tree.survey(options, judges: [NameJudge()]) }
        #expect(throws: Enough.self) {
            try Survey(try LocalTree(tree.path), judges: [NameJudge()]).run { _ in throw Enough() }
        }
    }

    @Test(
        arguments: [
            ("checkpoint-500", "checkpoint-", "", 500), ("checkpoint-", "checkpoint-", "", nil),
            ("checkpoint-5x", "checkpoint-", "", nil), ("checkpoint--5", "checkpoint-", "", nil),
            ("iter_0000010", "iter_", "", 10), ("rng_state_3.pth", "rng_state_", ".pth", 3), ("a", "abc", "def", nil),
        ] as [(String, String, String, Int64?)])
    func numbersInNames(name: String, prefix: String, suffix: String, expected: Int64?) {
        #expect(name.number(after: prefix, before: suffix) == expected)
    }
}
