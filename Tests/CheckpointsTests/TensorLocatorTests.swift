import Checkpoints
import Foundation
import Testing

@Suite("Which tensors lie where")
struct TensorLocatorTests {
    private static let samples = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("Samples").path
    private static let everything: Range<UInt64> = 0..<1 << 40

    private func names(
        _ ranges: [Range<UInt64>], of file: String, in directory: String = samples, atMost limit: Int = 100
    ) throws -> [String]? {
        TensorLocator.tensors(in: ranges, of: file, tree: try LocalTree(directory), atMost: limit)
    }

    @Test(
        "Names come from the file's header, or from the metadata of its checkpoint",
        arguments: [
            ("torch/plain.pt", ["model.weight", "model.bias"]),
            ("dcp/outputs/step-100/__0_0.distcp", ["model.weight", "model.bias"]),
            ("dcp/alone/__1_0.distcp", ["model.part1", "step"]),
        ])
    func named(file: String, expected: [String]) throws {
        #expect(try names([Self.everything], of: file) == expected)
        #expect(try names([Self.everything], of: file, atMost: 1) == [expected[0]])
        #expect(try names([], of: file) == [])
    }

    @Test("Only tensors with bytes in a range are named, and none for the header")
    func ranges() throws {
        let file = "trainer/run/checkpoint-2/model.safetensors"
        let size = try #require(try LocalTree(Self.samples).entry(file)).size
        let all = try #require(try names([Self.everything], of: file))
        #expect(try names([0..<8], of: file) == [])
        #expect(try names([size - 1..<size], of: file) == [all[all.count - 1]])
        let start = try #require((8..<size).first { try names([0..<$0], of: file) == [all[0]] })
        #expect(try names([start - 1..<start, size - 1..<size], of: file) == [all[0], all[all.count - 1]])
        #expect(try names([0..<start - 1], of: file) == [])
    }

    @Test(
        "What holds no tensors, and what has lost its header, tells nothing; an item of a checkpoint is known without")
    func unknown() throws {
        let tree = try TemporaryTree()
        for name in ["trainer/run/checkpoint-2/model.safetensors", "dcp/outputs/step-100/__0_0.distcp"] {
            let bytes = try Data(contentsOf: URL(fileURLWithPath: Self.samples + "/" + name))
            try tree.write(
                String(name.split(separator: "/").last ?? ""),
                [UInt8](repeating: 0, count: min(200, bytes.count)) + bytes.dropFirst(200))
        }
        #expect(try names([Self.everything], of: "model.safetensors", in: tree.path) == nil)
        #expect(try names([Self.everything], of: "__0_0.distcp", in: tree.path) == nil)
        let metadata = try Data(contentsOf: URL(fileURLWithPath: Self.samples + "/dcp/outputs/step-100/.metadata"))
        try tree.write(".metadata", Array(metadata))
        #expect(try names([0..<200], of: "__0_0.distcp", in: tree.path) == ["model.weight"])
        #expect(try names([Self.everything], of: "trainer/run/checkpoint-2/config.json") == nil)
        #expect(try names([Self.everything], of: "missing") == nil)
    }
}
