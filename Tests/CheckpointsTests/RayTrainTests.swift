import Checkpoints
import Testing

@Suite("Ray Train") struct RayTrainTests {
    private let first = "s/run/checkpoint_2026-11-01_12-01-00.000000"
    private let last = "s/run/checkpoint_2026-11-01_12-02-00.000000"
    private let state = "s/run/checkpoint_manager_snapshot.json"

    @Test func aRunIsComplete() throws {
        let report = try TemporaryTree.format("ray").formats()
        #expect(report.checkpoints.map(\.path) == [first, last])
        for finding in report.checkpoints {
            #expect(finding.format == .rayTrain)
            #expect(finding.judgement == .complete, "\(finding.evidenceText) \(finding.doubtText)")
        }
        let run = try report.onlyRun()
        #expect(run.path == "s/run")
        #expect(run.resume?.path == last)
        #expect(run.trackers == [state])
        #expect(run.warnings.isEmpty)
    }

    @Test func whatIsNotListedIsUnknown() throws {
        let tree = try TemporaryTree.format("ray")
        try tree.copy(
            "../FormatSamples/ray/run/checkpoint_2026-11-01_12-02-00.000000",
            to: "s/run/checkpoint_2026-11-01_12-03-00.000000")
        let report = try tree.formats()
        let finding = try report.at("s/run/checkpoint_2026-11-01_12-03-00.000000")
        #expect(finding.judgement == .unknown)
        #expect(finding.doubtText.contains("does not list it"))
        #expect(try report.onlyRun().resume?.path == last)
    }

    @Test func aListedDirectoryThatIsMissingStopsRay() throws {
        let tree = try TemporaryTree.format("ray")
        try tree.remove(first)
        let run = try tree.formats().onlyRun()
        #expect(run.warnings.map(\.kind) == [.trackerNamesMissing])
        #expect(run.warnings[0].message.contains("12-01-00"))
        try tree.remove(last)
        try tree.makeDirectory(last)
        let report = try tree.formats()
        #expect(try report.at(last).judgement == .empty)
        #expect(try report.onlyRun().warnings.map(\.kind).contains(.resumesFromTorn))
    }

    @Test func aTornPartMakesItTorn() throws {
        let tree = try TemporaryTree.format("ray")
        try tree.copy("../FormatSamples/safetensors/single/model.safetensors", to: "\(last)/deep/model.safetensors")
        #expect(try tree.formats().at(last).judgement == .complete)
        try tree.truncate("\(last)/model.pt", to: 200)
        try tree.truncate("\(last)/deep/model.safetensors", to: -3)
        let report = try tree.formats()
        let finding = try report.at(last)
        #expect(finding.evidence.map(\.file) == ["\(last)/model.pt", "\(last)/deep/model.safetensors"])
        #expect(finding.notes.contains("holds safetensors, torch"))
        #expect(report.checkpoints.count == 2)
        #expect(try report.onlyRun().warnings.map(\.kind) == [.resumesFromTorn])
    }

    @Test(arguments: [("", "torn"), ("{}", "no results"), ("{\"checkpoint_results\": [{}]}", "no name")])
    func aStateThatCannotBeReadIsUnusable(text: String, why: String) throws {
        let tree = try TemporaryTree.format("ray")
        try tree.write(state, text)
        let report = try tree.formats()
        #expect(report.checkpoints.map(\.judgement) == [.unknown, .unknown])
        #expect(try report.onlyRun().warnings.map(\.kind).contains(.trackerUnusable))
        #expect(try report.onlyRun().resume == nil)
    }

    @Test func aLatestThatIsNotListedStopsRay() throws {
        let tree = try TemporaryTree.format("ray")
        let text = String(decoding: try tree.read(state), as: UTF8.self)
        try tree.write(
            state,
            text.replacing(
                "\"latest_checkpoint_result\":{\"version\":0,\"checkpoint_dir_name\":\"checkpoint_2026-11-01_12-02",
                with:
                    "\"latest_checkpoint_result\":{\"version\":0,\"checkpoint_dir_name\":\"checkpoint_2026-11-01_12-09")
        )
        let run = try tree.formats().onlyRun()
        #expect(run.warnings.map(\.kind).contains(.trackerUnusable))
        #expect(run.resume?.judgement == nil)
    }

    @Test func stepsComeFromMetrics() throws {
        let tree = try TemporaryTree.format("ray")
        try tree.replace(state, "\"loss\":0.5", with: "\"loss\":NaN,\"step\":17")
        #expect(try tree.formats().at(first).step == 17)
    }

    @Test func versionOneKeptNoRecord() throws {
        let tree = try TemporaryTree()
        try tree.copy(
            "../FormatSamples/safetensors/single/model.safetensors", to: "trial/checkpoint_000003/model.safetensors")
        try tree.write("trial/result.json", "{}")
        let finding = try tree.formats().only()
        #expect(finding.path == "trial/checkpoint_000003")
        #expect(finding.format == .rayTrain)
        #expect(finding.step == 3)
        #expect(finding.judgement == .unknown)
    }
}
