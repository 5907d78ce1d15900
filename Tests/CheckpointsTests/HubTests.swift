import Checkpoints
import FoundationEssentials
import Testing

@Suite("Hugging Face hub") struct HubTests {
    private let repository = "s/hub/models--tiny--model"
    private let commit = "5f1b0e8c3a7d4f2e9b6a1c0d8e7f6a5b4c3d2e1f"
    private let config = "b6ded5f340daa14ef0b286ae424ea6eef34544b1"

    private var snapshot: String { "\(repository)/snapshots/\(commit)" }
    private var listing: String { "\(repository)/trees/\(commit).json" }
    private var shard: String { "\(snapshot)/model-00002-of-00003.safetensors" }

    /// The blob that a file of the snapshot leads to.
    private func blob(_ tree: TemporaryTree, _ path: String) throws -> String {
        guard case .found(let place, _) = try LocalTree(tree.path).resolve(path) else {
            throw CocoaError(.fileNoSuchFile)
        }
        return place
    }

    @Test func aCacheIsComplete() throws {
        for deep in [false, true] {
            let report = try TemporaryTree.format("hub").formats(deep: deep)
            #expect(report.checkpoints.map(\.path) == ["s", "s/hub", repository])
            for finding in report.checkpoints {
                #expect(finding.format == .huggingFaceCache)
                #expect(finding.judgement == .complete, "\(finding.evidenceText) \(finding.doubtText)")
            }
            #expect(report.checkpoints.map(\.kind) == [.cache, .cache, .model])
            let home = try report.at("s")
            #expect(home.secrets == ["s/stored_tokens", "s/token"] || home.secrets == ["s/token", "s/stored_tokens"])
            let cache = try report.at("s/hub")
            #expect(cache.inProgress == ["s/hub/.locks"])
            #expect(cache.notes.contains { $0.contains("CACHEDIR.TAG") })
            let model = try report.at(repository)
            #expect(model.commitMarkers == [listing, "\(repository)/refs/main"])
            #expect(model.inProgress.isEmpty)
            #expect(model.parameters == 192)
            #expect(report.runs.isEmpty)
        }
    }

    @Test func aDanglingLinkIsTorn() throws {
        let tree = try TemporaryTree.format("hub")
        try tree.remove("\(repository)/blobs/\(config)")
        let finding = try tree.formats().at(repository)
        #expect(finding.evidence.map(\.file) == ["\(snapshot)/config.json"])
        #expect(finding.evidenceText.contains(config))
    }

    @Test func whatTheListingHasAndWasNeverFetchedIsUnknown() throws {
        let tree = try TemporaryTree.format("hub")
        try tree.remove("\(snapshot)/config.json")
        let finding = try tree.formats().at(repository)
        #expect(finding.judgement == .unknown)
        #expect(finding.doubtText.contains("1 of 6 files"))
        // Without the listing nobody can tell.
        try tree.remove(listing)
        let blind = try tree.formats().at(repository)
        #expect(blind.judgement == .complete)
        #expect(blind.notes.contains { $0.contains("no listing") })
    }

    @Test(arguments: [".incomplete", ".1a2b3c4d.incomplete"])
    func whatWasBegunIsTornAndLeftOut(suffix: String) throws {
        let tree = try TemporaryTree.format("hub")
        try tree.remove("\(snapshot)/config.json")
        let unfinished = "\(repository)/blobs/\(config)\(suffix)"
        try tree.move("\(repository)/blobs/\(config)", to: unfinished)
        let finding = try tree.formats().at(repository)
        #expect(finding.evidence.map(\.file) == ["\(snapshot)/config.json"])
        #expect(finding.inProgress == [unfinished])
    }

    @Test func anUnfinishedDownloadOfSomethingElseIsOnlyLeftOut() throws {
        let tree = try TemporaryTree.format("hub")
        let unfinished = "\(repository)/blobs/\(String(repeating: "a", count: 64)).incomplete"
        try tree.write(unfinished, "x")
        try tree.write("\(repository)/trees/tmpabc.tmp", "{")
        for deep in [false, true] {
            let finding = try tree.formats(deep: deep).at(repository)
            #expect(finding.judgement == .complete)
            #expect(finding.inProgress == [unfinished, "\(repository)/trees/tmpabc.tmp"])
        }
    }

    @Test func aMissingShardIsTornWithoutAListing() throws {
        let tree = try TemporaryTree.format("hub")
        try tree.remove(listing)
        try tree.remove(shard)
        #expect(try tree.formats().at(repository).evidence.map(\.file) == [shard])
        // None of the shards: the index was fetched alone.
        for number in [1, 3] { try tree.remove("\(snapshot)/model-0000\(number)-of-00003.safetensors") }
        let alone = try tree.formats().at(repository)
        #expect(alone.judgement == .unknown)
        #expect(alone.doubtText.contains("none of the files"))
        try tree.copy("../FormatSamples/safetensors/single/model.safetensors", to: "\(snapshot)/other.safetensors")
        #expect(try tree.formats().at(repository).judgement == .complete)
    }

    @Test func aBlobOfAnotherSizeIsTorn() throws {
        let tree = try TemporaryTree.format("hub")
        try tree.truncate("\(repository)/blobs/\(config)", to: 10)
        let finding = try tree.formats().at(repository)
        #expect(finding.evidence.map(\.file) == ["\(snapshot)/config.json"])
        #expect(finding.evidenceText.contains("23 bytes"))
    }

    @Test func aBlobOfOtherContentIsTornWhenDeep() throws {
        for path in ["\(snapshot)/config.json", shard] {
            let tree = try TemporaryTree.format("hub")
            let blob = try blob(tree, path)
            try tree.flip(blob, at: -1)
            #expect(try tree.formats().at(repository).judgement == .complete)
            let deep = try tree.formats(deep: true).at(repository)
            #expect(deep.evidence.map(\.file) == [blob])
        }
    }

    @Test func withoutHashFunctionsDigestsAreNotChecked() throws {
        let tree = try TemporaryTree.format("hub")
        let finding = try tree.deepSurvey().at(repository)
        #expect(finding.judgement == .complete)
        #expect(finding.notes.contains { $0.contains("digests were not checked") })
    }

    @Test func aRefToACommitWithoutSnapshotIsTorn() throws {
        let tree = try TemporaryTree.format("hub")
        try tree.write("\(repository)/refs/main", String(repeating: "0", count: 40))
        let finding = try tree.formats().at(repository)
        #expect(finding.evidence.map(\.file) == ["\(repository)/refs/main"])
        try tree.write("\(repository)/refs/main", "")
        #expect(try tree.formats().at(repository).evidenceText.contains("an empty file"))
        // The library takes the new line for a part of the commit.
        try tree.write("\(repository)/refs/main", commit + "\n")
        #expect(try tree.formats().at(repository).evidence.map(\.file) == ["\(repository)/refs/main"])
        try tree.remove("\(repository)/refs")
        let none = try tree.formats().at(repository)
        #expect(none.judgement == .complete)
        #expect(none.notes.contains { $0.contains("no ref") })
    }

    @Test func aSnapshotToWhichNoRefLeadsIsANote() throws {
        let tree = try TemporaryTree.format("hub")
        let old = String(repeating: "1", count: 40)
        try tree.link(
            "\(repository)/snapshots/\(old)/config.json", to: "../../blobs/\(String(repeating: "2", count: 40))")
        let finding = try tree.formats().at(repository)
        #expect(finding.judgement == .complete)
        #expect(finding.notes.contains { $0.contains("\(old), to which no ref leads, is torn") })
    }

    @Test func copiesInsteadOfLinksAreJudgedAlike() throws {
        let tree = try TemporaryTree.format("hub")
        let path = "\(snapshot)/config.json"
        let bytes = try tree.read(path)
        try tree.remove(path)
        try tree.remove("\(repository)/blobs/\(config)")
        try tree.write(path, bytes)
        #expect(try tree.formats(deep: true).at(repository).judgement == .complete)
        try tree.flip(path, at: 3)
        #expect(try tree.formats(deep: true).at(repository).evidence.map(\.file) == [path])
    }

    @Test func aRepositoryOfWhichNothingWasFetchedIsEmpty() throws {
        let tree = try TemporaryTree.format("hub")
        try tree.write("s/hub/models--a--b/refs/main", commit)
        try tree.write("s/hub/models--a--b/.no_exist/\(commit)/adapter_config.json", "")
        #expect(try tree.formats().at("s/hub/models--a--b").judgement == .empty)
        #expect(try tree.formats().at(repository).judgement == .complete)
        try tree.write("s/hub/models--a--b/blobs/\(config).incomplete", "x")
        #expect(try tree.formats().at("s/hub/models--a--b").judgement == .torn)
    }

    @Test func blobsThatRepositoriesShareAreFollowed() throws {
        let tree = try TemporaryTree.format("hub")
        let blob = try blob(tree, shard)
        let shared = "s/hub/blobs/ab/\(String(repeating: "ab", count: 32))"
        try tree.move(blob, to: shared)
        try tree.link(blob, to: "../../blobs/ab/\(String(repeating: "ab", count: 32))")
        try tree.write("s/hub/blobs/.huggingface-shared-blobs", "1\n")
        let report = try tree.formats(deep: true)
        #expect(try report.at(repository).judgement == .complete)
        guard case .files(let files) = try report.at("s/hub").contents else {
            Issue.record("no files")
            return
        }
        #expect(files.contains(shared))
        try tree.flip(shared, at: -1)
        #expect(try tree.formats(deep: true).at(repository).judgement == .torn)
    }

    @Test func aDownloadToADirectoryIsComplete() throws {
        for deep in [false, true] {
            let finding = try TemporaryTree.format("hub_local").formats(deep: deep).only()
            #expect(finding.path == "s")
            #expect(finding.kind == .model)
            #expect(finding.judgement == .complete, "\(finding.evidenceText) \(finding.doubtText)")
            #expect(finding.commitMarkers == ["s/.cache/huggingface/trees/\(commit).json"])
            #expect(finding.inProgress.count == 6)
            #expect(finding.inProgress.allSatisfy { $0.hasSuffix(".lock") })
            #expect(finding.parameters == 192)
        }
    }

    @Test func aDownloadToADirectoryIsHeldToItsRecords() throws {
        let tree = try TemporaryTree.format("hub_local")
        // Copies are newer than what they were copied from.
        try tree.setModified("s/config.json", 1_000_000_000)
        try tree.flip("s/config.json", at: 3)
        try tree.setModified("s/config.json", 1_000_000_000)
        #expect(try tree.formats().only().judgement == .complete)
        #expect(try tree.formats(deep: true).only().evidence.map(\.file) == ["s/config.json"])
        // Changed since by its user, which the library takes as such.
        try tree.setModified("s/config.json", 4_000_000_000)
        let changed = try tree.formats(deep: true).only()
        #expect(changed.judgement == .complete)
        #expect(changed.notes.contains { $0.contains("changed since") })
        try tree.write("s/config.json", "{}")
        try tree.setModified("s/config.json", 4_000_000_000)
        #expect(try tree.formats().only().judgement == .complete)
        try tree.setModified("s/config.json", 1_000_000_000)
        #expect(try tree.formats().only().evidenceText.contains("23 bytes"))
        try tree.remove("s/config.json")
        #expect(try tree.formats().only().judgement == .unknown)
        #expect(try tree.formats().only().doubtText.contains("is not there now"))
        try tree.write("s/.cache/huggingface/download/Zm9v.\(config).incomplete", "x")
        let begun = try tree.formats().only()
        #expect(begun.evidence.map(\.file) == ["s/config.json"])
        #expect(begun.inProgress.contains("s/.cache/huggingface/download/Zm9v.\(config).incomplete"))
    }

    @Test func aMissingShardOfADownloadIsTorn() throws {
        let tree = try TemporaryTree.format("hub_local")
        try tree.remove("s/model-00002-of-00003.safetensors")
        try tree.remove("s/.cache/huggingface/download/model-00002-of-00003.safetensors.metadata")
        #expect(try tree.formats().only().evidence.map(\.file) == ["s/model-00002-of-00003.safetensors"])
    }

    @Test func tokensAreSecretsWhereverTheCacheIs() throws {
        let tree = try TemporaryTree()
        try tree.write(".cache/huggingface/token", "x")
        try tree.write(".cache/huggingface/xet/logs/a", "x")
        let finding = try tree.formats().only()
        #expect(finding.path == ".cache/huggingface")
        #expect(finding.secrets == [".cache/huggingface/token"])
        #expect(finding.inProgress == [".cache/huggingface/xet"])
        try tree.move(".cache/huggingface", to: "other")
        #expect(try tree.formats().checkpoints.isEmpty)
    }

    @Test func aHomeDirectoryIsNoDownload() throws {
        let tree = try TemporaryTree()
        try tree.copy("../FormatSamples/hub", to: ".cache/huggingface")
        try tree.write("a.txt", "x")
        try tree.write(".cache/huggingface/download/a.txt.metadata", "\(commit)\n\(config)\n1700000000.5\n")
        let report = try tree.formats()
        #expect(!report.checkpoints.map(\.path).contains(""))
        #expect(report.checkpoints.map(\.path).contains(".cache/huggingface/hub/models--tiny--model"))
    }
}
