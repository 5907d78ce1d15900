import Checkpoints
import TensorFiles
import Testing

@Suite("Weights") struct WeightTests {
    private let index = "s/model.safetensors.index.json"
    private let shards = ["s/model-00001-of-00002.safetensors", "s/model-00002-of-00002.safetensors"]

    @Test func setsAndSingleFilesAreComplete() throws {
        let sharded = try TemporaryTree.format("safetensors/sharded").formats().only()
        #expect(sharded.path == index)
        #expect(sharded.kind == .model)
        #expect(sharded.format == .safetensors)
        #expect(sharded.judgement == .complete, "\(sharded.evidenceText) \(sharded.doubtText)")
        #expect(sharded.contents == .files([index] + shards))
        #expect(sharded.parameters == 256)
        #expect(sharded.totals.first?.dtype == .bf16)
        #expect(sharded.commitMarkers == [index])
        let single = try TemporaryTree.format("safetensors/single").formats().only()
        #expect(single.path == "s/model.safetensors")
        #expect(single.judgement == .complete)
        let gguf = try TemporaryTree.format("gguf").formats()
        #expect(gguf.checkpoints.map(\.path) == ["s/tiny.gguf", "s/split-00001-of-00003.gguf"])
        #expect(gguf.checkpoints.allSatisfy { $0.judgement == .complete && $0.kind == .model && $0.parameters == 160 })
        #expect(gguf.runs.isEmpty)
    }

    @Test func aMissingShardIsTorn() throws {
        let tree = try TemporaryTree.format("safetensors/sharded")
        try tree.remove(shards[1])
        #expect(try tree.formats().only().evidence.map(\.file) == [shards[1]])
    }

    @Test func aCutShardIsTorn() throws {
        let tree = try TemporaryTree.format("safetensors/sharded")
        try tree.truncate(shards[0], to: -1)
        #expect(try tree.formats().only().evidence.map(\.file) == [shards[0]])
    }

    @Test func aTensorElsewhereIsTorn() throws {
        let tree = try TemporaryTree.format("safetensors/sharded")
        let text = String(decoding: try tree.read(index), as: UTF8.self)
        let entry = try #require(text.firstMatch(of: /"layers.0.weight": "model-0000(.)-of-00002/)?.1)
        let other = entry == "1" ? "2" : "1"
        try tree.replace(
            index, "\"layers.0.weight\": \"model-0000\(entry)", with: "\"layers.0.weight\": \"model-0000\(other)")
        let finding = try tree.formats().only()
        #expect(finding.judgement == .torn)
        #expect(finding.evidenceText.contains("layers.0.weight"))
    }

    @Test func anotherTotalIsANote() throws {
        let tree = try TemporaryTree.format("safetensors/sharded")
        try tree.replace(index, "\"total_size\": 512", with: "\"total_size\": 5120")
        let finding = try tree.formats().only()
        #expect(finding.judgement == .complete)
        #expect(finding.notes.contains { $0.contains("5120") })
    }

    @Test func aDamagedIndexIsTorn() throws {
        let tree = try TemporaryTree.format("safetensors/sharded")
        try tree.truncate(index, to: 100)
        #expect(try tree.formats().at(index).judgement == .torn)
        try tree.write(index, "")
        #expect(try tree.formats().at(index).evidenceText.contains("an empty file"))
    }

    @Test func shardsWithoutAnIndexAreUnknownAndTornWhenOneIsMissing() throws {
        let tree = try TemporaryTree.format("safetensors/sharded")
        try tree.remove(index)
        let whole = try tree.formats().only()
        #expect(whole.judgement == .unknown)
        #expect(whole.doubtText.contains("no index"))
        try tree.remove(shards[0])
        #expect(try tree.formats().only().evidence.map(\.file) == [shards[0]])
        // PyTorch's distributed writer numbers by rank as well.
        try tree.move(shards[1], to: "s/shard-00001-model-00002-of-00002.safetensors")
        #expect(try tree.formats().only().judgement == .unknown)
    }

    @Test func anIndexAloneIsNoModel() throws {
        let tree = try TemporaryTree.format("safetensors/sharded")
        for shard in shards { try tree.remove(shard) }
        #expect(try tree.formats().checkpoints.isEmpty)
    }

    @Test func leftoversOfAnEarlierSaveAreNoted() throws {
        let tree = try TemporaryTree.format("safetensors/sharded")
        try tree.copy("../FormatSamples/safetensors/single/model.safetensors", to: "s/model-00003-of-00003.safetensors")
        let finding = try tree.formats().only()
        #expect(finding.judgement == .complete)
        #expect(finding.notes.contains { $0.contains("leftover") })
    }

    @Test(
        arguments: [
            (Array("".utf8), "0 bytes"), (Array("abc".utf8), "3 bytes"), ([UInt8](repeating: 0, count: 4000), "zeros"),
            (Array("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n".utf8), "Git LFS"),
        ])
    func whatIsThereInsteadIsEvidence(bytes: [UInt8], expected: String) throws {
        for name in ["model.safetensors", "model.gguf"] {
            let tree = try TemporaryTree()
            try tree.write(name, bytes)
            let finding = try tree.formats().only()
            #expect(finding.judgement == .torn)
            #expect(finding.evidenceText.contains(expected), "\(finding.evidenceText)")
        }
    }

    @Test func anotherFormatOfThatNameIsUnknown() throws {
        let tree = try TemporaryTree()
        try tree.write("model.safetensors", "something else altogether")
        try tree.copy("../FormatSamples/gguf/tiny.gguf", to: "other.safetensors")
        #expect(try tree.formats().checkpoints.map(\.judgement) == [.unknown, .unknown])
    }

    @Test func aSplitOfGGUFNeedsAllItsParts() throws {
        for number in 1...3 {
            let tree = try TemporaryTree.format("gguf")
            let path = "s/split-0000\(number)-of-00003.gguf"
            try tree.remove(path)
            let torn = try #require(try tree.formats().checkpoints.first { $0.judgement == .torn })
            #expect(torn.evidence.map(\.file) == [path])
        }
    }

    @Test func partsInTheWrongPlaceAreTorn() throws {
        let tree = try TemporaryTree.format("gguf")
        try tree.move("s/split-00001-of-00003.gguf", to: "s/x")
        try tree.move("s/split-00002-of-00003.gguf", to: "s/split-00001-of-00003.gguf")
        try tree.move("s/x", to: "s/split-00002-of-00003.gguf")
        let finding = try tree.formats().at("s/split-00001-of-00003.gguf")
        #expect(finding.evidence.count == 2, "\(finding.evidenceText)")
        #expect(finding.evidenceText.contains("part 2 of 3, as its header says"))
        try tree.move("s/split-00003-of-00003.gguf", to: "t/alone.gguf")
        let alone = try tree.formats().at("t/alone.gguf")
        #expect(alone.judgement == .unknown)
        #expect(alone.doubtText.contains("part 3 of 3"))
    }

    @Test func aPartOfAnotherSetIsTorn() throws {
        let tree = try TemporaryTree.format("gguf")
        // The last part holds one tensor, so a copy of the second in its place makes six of five.
        var bytes = try tree.read("s/split-00002-of-00003.gguf")
        let key = Array("split.no".utf8)
        let place = try #require(
            (0..<bytes.count - key.count).first { bytes[$0..<$0 + key.count].elementsEqual(key) })
        bytes[place + key.count + 4] = 2
        try tree.write("s/split-00003-of-00003.gguf", bytes)
        let finding = try tree.formats().at("s/split-00001-of-00003.gguf")
        #expect(finding.evidenceText.contains("5 tensors in all files together, found: 6"), "\(finding.evidenceText)")
    }

    @Test func longRunsOfZerosAreNotedWhenDeep() throws {
        let header = #"{"w":{"dtype":"U8","shape":[2097152],"data_offsets":[0,2097152]}}"#
        let tree = try TemporaryTree()
        let length = (0..<8).map { UInt8(truncatingIfNeeded: header.utf8.count >> (8 * $0)) }
        try tree.write("model.safetensors", length + Array(header.utf8) + [UInt8](repeating: 0, count: 2 << 20))
        #expect(try tree.formats().only().notes.isEmpty)
        let deep = try tree.formats(deep: true).only()
        #expect(deep.judgement == .complete)
        #expect(deep.notes.contains { $0.contains("bytes of zeros") && $0.contains("\"w\"") })
    }
}
