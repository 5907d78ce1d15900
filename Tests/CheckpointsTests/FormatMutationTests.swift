import TensorFiles
import Testing

@testable import Checkpoints

/// Files that judges parse are changed: whatever they find, they do not crash, and a survey ends.
@Suite("Changed files of formats") struct FormatMutationTests {
    /// Random numbers that a seed repeats (SplitMix64).
    private struct Generator: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9e37_79b9_7f4a_7c15
            var value = state
            value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
            value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
            return value ^ (value >> 31)
        }
    }

    private static let commit = "5f1b0e8c3a7d4f2e9b6a1c0d8e7f6a5b4c3d2e1f"

    @Test(
        .timeLimit(.minutes(5)),
        arguments: [
            ("orbax_single", "s/_CHECKPOINT_METADATA"), ("orbax_single", "s/_METADATA"),
            ("orbax_single", "s/manifest.ocdbt"), ("orbax_zarr", "s/_METADATA"), ("flax", "s/checkpoint_10"),
            ("ray", "s/run/checkpoint_manager_snapshot.json"),
            ("ollama", "s/manifests/registry.ollama.ai/library/tiny/latest"),
            ("hub", "s/hub/models--tiny--model/trees/\(commit).json"), ("hub", "s/hub/models--tiny--model/refs/main"),
            ("hub_local", "s/.cache/huggingface/download/config.json.metadata"),
            ("safetensors/sharded", "s/model.safetensors.index.json"),
        ])
    func noChangeCrashesAJudge(sample: String, path: String) throws {
        let tree = try TemporaryTree.format(sample)
        let whole = try tree.read(path)
        var generator = Generator(state: 17)
        for _ in 0..<80 {
            try tree.write(path, Self.changed(whole, &generator))
            for finding in try tree.formats(deep: true).checkpoints {
                // A torn one has its evidence on one line.
                #expect(finding.evidence.allSatisfy { !$0.description.contains("\n") })
            }
        }
    }

    /// The bodies of a database's structures, behind checksums that changes would not get through.
    @Test func noChangeCrashesTheDatabasesReader() throws {
        var generator = Generator(state: 18)
        let tree = try TemporaryTree.format("orbax_single")
        let manifest = try body(try tree.read("s/manifest.ocdbt"))
        let name = try #require(try entries(tree, "s/d").first)
        let node = try body(try tree.read("s/d/\(name)"))
        var complete = 0
        for round in 0..<4000 {
            _ = round
            let first = try? OCDBTManifest(Self.changed(manifest, &generator))
            let second = try? OCDBTNode(Self.changed(node, &generator), base: "")
            complete += (first == nil ? 0 : 1) + (second == nil ? 0 : 1)
        }
        #expect(complete > 100)
        #expect(complete < 7900)
    }

    private func entries(_ tree: TemporaryTree, _ path: String) throws -> [String] {
        var names: [String] = []
        try LocalTree(tree.path).list(path) { entry in
            names.append(entry.name)
            return true
        }
        return names
    }

    private func body(_ block: [UInt8]) throws -> [UInt8] {
        try #require(TemporaryTree.openZstd(Array(block[14..<block.count - 4]), 1 << 20))
    }

    private static func changed(_ whole: [UInt8], _ generator: inout Generator) -> [UInt8] {
        var bytes = whole
        for _ in 0...Int.random(in: 0..<3, using: &generator) where !bytes.isEmpty {
            let place = Int.random(in: 0..<bytes.count, using: &generator)
            switch Int.random(in: 0..<6, using: &generator) {
            case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
            case 1: bytes[place] = UInt8.random(in: 0 ... .max, using: &generator)
            case 2: bytes.removeLast(Int.random(in: 1...bytes.count, using: &generator))
            case 3: bytes.insert(contentsOf: bytes[place...].prefix(20), at: place)
            case 4: for index in place..<min(place + 9, bytes.count) { bytes[index] = 0xff }
            default: bytes.removeSubrange(place..<min(place + 4, bytes.count))
            }
        }
        return bytes
    }
}
