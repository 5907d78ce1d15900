import Checkpoints
import Testing

@Suite("Orbax") struct OrbaxTests {
    @Test func aRunOfTheManagerIsComplete() throws {
        let report = try TemporaryTree.format("orbax").formats()
        #expect(report.checkpoints.map(\.path) == ["s/10", "s/20", "s/5"])
        for finding in report.checkpoints {
            #expect(finding.judgement == .complete, "\(finding.evidenceText) \(finding.doubtText)")
            #expect(finding.format == .orbax)
            #expect(finding.kind == .checkpoint)
        }
        let last = try report.at("s/20")
        #expect(last.step == 20)
        #expect(last.parameters == 32 * 32 + 6 + 1)
        #expect(
            last.commitMarkers == [
                "s/20/extra/commit_success.txt", "s/20/state/manifest.ocdbt", "s/20/state/_METADATA",
                "s/20/state/commit_success.txt", "s/20/_CHECKPOINT_METADATA", "s/20/commit_success.txt",
            ])
        let run = try report.onlyRun()
        #expect(run.path == "s")
        #expect(run.resume?.path == "s/20")
        #expect(run.newestComplete == "s/20")
        #expect(run.checkpoints == 3)
        #expect(run.warnings.isEmpty)
    }

    @Test func maxTextAndSingleOnesAreComplete() throws {
        let maxText = try TemporaryTree.format("maxtext").formats()
        #expect(try maxText.only().path == "s/run/checkpoints/0")
        #expect(try maxText.only().judgement == .complete)
        #expect(try maxText.only().step == 0)
        #expect(try maxText.onlyRun().path == "s/run/checkpoints")
        let single = try TemporaryTree.format("orbax_single").formats()
        #expect(try single.only().judgement == .complete)
        #expect(try single.only().path == "s")
        #expect(single.runs.isEmpty)
        let zarr = try TemporaryTree.format("orbax_zarr").formats().only()
        #expect(zarr.judgement == .complete, "\(zarr.evidenceText) \(zarr.doubtText)")
        #expect(zarr.parameters == 32 * 32 + 6 + 1)
    }

    /// What the library's own restore fails without, and what it does not miss.
    @Test(
        arguments: [
            ("extra/metadata", .torn), ("state/_METADATA", .torn), ("state/manifest.ocdbt", .torn), ("state", .torn),
            ("extra", .torn), ("state/_sharding", .complete), ("state/array_metadatas", .complete),
            ("commit_success.txt", .complete), ("state/commit_success.txt", .complete),
            ("state/ocdbt.process_0/manifest.ocdbt", .complete), ("_CHECKPOINT_METADATA", .complete),
        ] as [(String, Judgement)])
    func removal(of name: String, is judgement: Judgement) throws {
        let tree = try TemporaryTree.format("orbax")
        try tree.remove("s/20/\(name)")
        let report = try tree.formats()
        let finding = try report.at("s/20")
        #expect(finding.judgement == judgement, "\(finding.evidenceText) \(finding.doubtText)")
        if judgement == .torn {
            #expect(finding.evidence.contains { $0.file == "s/20/\(name)" }, "\(finding.evidenceText)")
            #expect(finding.quarantineName == "20.torn")
            #expect(try report.onlyRun().warnings.map(\.kind) == [.resumesFromTorn])
            #expect(try report.onlyRun().newestComplete == "s/10")
        } else {
            #expect(finding.quarantineName == nil)
        }
    }

    @Test(
        arguments: [
            ("extra/metadata", .torn), ("state/_METADATA", .torn), ("state/manifest.ocdbt", .torn),
            ("state/_sharding", .torn), ("state/array_metadatas/process_0", .torn), ("commit_success.txt", .complete),
            ("_CHECKPOINT_METADATA", .unknown),
        ] as [(String, Judgement)])
    func cuttingShort(of name: String, is judgement: Judgement) throws {
        let tree = try TemporaryTree.format("orbax")
        try tree.truncate("s/20/\(name)", to: try tree.read("s/20/\(name)").count / 2)
        let finding = try tree.formats().at("s/20")
        #expect(finding.judgement == judgement, "\(finding.evidenceText) \(finding.doubtText)")
        if judgement == .torn { #expect(finding.evidence.map(\.file) == ["s/20/\(name)"]) }
        if name.hasSuffix("manifest.ocdbt") { #expect(finding.evidenceText.contains("it says that it has")) }
    }

    /// The tree of the newest version leads to the file that a process wrote its large values to.
    @Test func filesWithoutWhichTheTreeCannotBeReadAreNamed() throws {
        let whole = try TemporaryTree.format("orbax")
        let root = "s/20/state"
        var needed = 0
        for directory in ["d", "ocdbt.process_0/d"] {
            for name in try names(whole, "\(root)/\(directory)") {
                let path = "\(root)/\(directory)/\(name)"
                let tree = try TemporaryTree.format("orbax")
                try tree.remove(path)
                let finding = try tree.formats().at("s/20")
                let isNeeded = finding.judgement == .torn
                #expect(isNeeded || finding.judgement == .complete)
                guard isNeeded else { continue }
                needed += 1
                #expect(finding.evidence.map(\.file) == [path])
                try tree.write(path, Array(try whole.read(path).dropLast(try whole.read(path).count / 2)))
                let cut = try tree.formats().at("s/20")
                #expect(cut.evidence.map(\.file) == [path])
            }
        }
        // The root's file, and that of the array which is too large for the tree.
        #expect(needed == 2)
    }

    private func names(_ tree: TemporaryTree, _ path: String) throws -> [String] {
        var names: [String] = []
        try LocalTree(tree.path).list(path) { entry in
            names.append(entry.name)
            return true
        }
        return names.sorted()
    }

    @Test func aDamagedNodeIsTorn() throws {
        let tree = try TemporaryTree.format("orbax")
        let path = "s/20/state/d/\(try names(tree, "s/20/state/d")[0])"
        try tree.flip(path, at: -10)
        let finding = try tree.formats().at("s/20")
        #expect(finding.judgement == .torn)
        #expect(finding.evidenceText.contains("CRC-32C"))
        #expect(finding.evidence.first?.file == path)
    }

    @Test func withoutADecompressorItIsUnknown() throws {
        let finding = try TemporaryTree.format("orbax").survey().at("s/20")
        #expect(finding.judgement == .unknown)
        #expect(finding.doubtText.contains("Zstandard"))
    }

    @Test(arguments: [
        "30.orbax-checkpoint-tmp", "30.orbax-checkpoint-tmp-1700000000000", "30.orbax-checkpoint-tmp-12-0",
    ])
    func aTemporaryNameIsTornAndNotPicked(name: String) throws {
        let tree = try TemporaryTree.format("orbax")
        try tree.move("s/20", to: "s/\(name)")
        let report = try tree.formats()
        let finding = try report.at("s/\(name)")
        #expect(finding.judgement == .torn)
        #expect(finding.step == 30)
        #expect(finding.inProgress == ["s/\(name)"])
        #expect(finding.quarantineName == nil)
        #expect(try report.onlyRun().resume?.path == "s/10")
        #expect(try report.onlyRun().warnings.isEmpty)
    }

    @Test func withoutARecordOfACommitItIsUnknown() throws {
        let tree = try TemporaryTree.format("orbax")
        let path = "s/20/_CHECKPOINT_METADATA"
        let text = String(decoding: try tree.read(path), as: UTF8.self)
        let time = try #require(text.firstMatch(of: /"commit_timestamp_nsecs": (\d+)/)?.1)
        try tree.write(path, text.split(separator: time).joined(separator: "null"))
        #expect(try tree.formats().at("s/20").judgement == .complete)
        try tree.remove("s/20/commit_success.txt")
        let finding = try tree.formats().at("s/20")
        #expect(finding.judgement == .unknown)
        #expect(finding.doubtText.contains("no time of commit"))
    }

    @Test func anEmptyHighestStepIsWhatTheManagerPicks() throws {
        let tree = try TemporaryTree.format("orbax")
        try tree.makeDirectory("s/30")
        let run = try tree.formats().onlyRun()
        #expect(run.resume?.path == "s/30")
        #expect(run.resume?.judgement == .empty)
        #expect(run.warnings.map(\.kind) == [.resumesFromTorn])
        #expect(run.newestComplete == "s/20")
    }

    @Test func olderSavesAreJudgedByTheirFiles() throws {
        let tree = try TemporaryTree.format("orbax")
        for step in [5, 10, 20] {
            for name in ["_CHECKPOINT_METADATA", "commit_success.txt", "state/commit_success.txt"] {
                try tree.remove("s/\(step)/\(name)")
            }
        }
        let finding = try tree.formats().at("s/20")
        #expect(finding.judgement == .complete)
        #expect(finding.notes.contains { $0.contains("no record of a commit") })
        try tree.remove("s/20/state/_METADATA")
        #expect(try tree.formats().at("s/20").judgement == .unknown)
    }

    @Test func prefixesAndPaddingAreSteps() throws {
        let tree = try TemporaryTree.format("orbax")
        try tree.move("s/5", to: "s/step_0005")
        try tree.move("s/10", to: "s/step_0010")
        try tree.move("s/20", to: "s/20.torn")
        let report = try tree.formats()
        #expect(try report.at("s/step_0010").step == 10)
        #expect(try report.at("s/20.torn").step == nil)
        #expect(try report.onlyRun().resume?.path == "s/step_0010")
        #expect(try report.onlyRun().checkpoints == 2)
    }

    @Test func aMissingChunkOfAZarrArrayIsTorn() throws {
        let tree = try TemporaryTree.format("orbax_zarr")
        try tree.remove("s/params.w/0.0")
        let finding = try tree.formats().only()
        #expect(finding.evidence.map(\.file) == ["s/params.w"])
        try tree.write("s/params.w/0.0", "")
        #expect(try tree.formats().only().evidence.map(\.file) == ["s/params.w/0.0"])
        try tree.remove("s/params.w")
        #expect(try tree.formats().only().evidence.map(\.file) == ["s/params.w/.zarray"])
    }

    @Test(arguments: ["orbax_zarr3", "orbax_single"]) func textsMustBeThere(sample: String) throws {
        let tree = try TemporaryTree.format(sample)
        let whole = try tree.formats().only()
        #expect(whole.judgement == .complete, "\(whole.evidenceText) \(whole.doubtText)")
        try tree.remove("s/_strings.json")
        #expect(try tree.formats().only().evidence.map(\.file) == ["s/_strings.json"])
    }

    @Test func aMissingChunkOfVersionThreeIsTorn() throws {
        let tree = try TemporaryTree.format("orbax_zarr3")
        try tree.remove("s/params.w/c/0/0")
        #expect(try tree.formats().only().evidence.map(\.file) == ["s/params.w"])
    }

    @Test func anItemOfASaveThatWasCutShortIsLeftOut() throws {
        let tree = try TemporaryTree.format("orbax")
        try tree.copy("../FormatSamples/orbax_single", to: "s/20/more.orbax-checkpoint-tmp-1")
        try tree.remove("s/20/more.orbax-checkpoint-tmp-1/manifest.ocdbt")
        try tree.remove("s/20/_CHECKPOINT_METADATA")
        let finding = try tree.formats().at("s/20")
        #expect(finding.judgement == .complete)
        #expect(finding.inProgress == ["s/20/more.orbax-checkpoint-tmp-1"])
    }

    @Test func anotherFileOfThatNameIsNone() throws {
        let tree = try TemporaryTree()
        try tree.write("17/_METADATA", "not JSON")
        try tree.write("18/a/_METADATA", "{}")
        #expect(try tree.formats().checkpoints.isEmpty)
        try tree.write("18/a/_METADATA", "{\"tree_metadata\": {}}")
        #expect(try tree.formats().checkpoints.map(\.path) == ["18"])
    }

    @Test func numberedDirectoriesOfSomethingElseAreNone() throws {
        let tree = try TemporaryTree()
        try tree.write("data/17/images/a.png", "x")
        try tree.write("data/18/images/a.png", "x")
        #expect(try tree.formats().checkpoints.isEmpty)
    }
}
