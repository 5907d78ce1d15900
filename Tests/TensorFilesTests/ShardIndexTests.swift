import Testing

@testable import TensorFiles

@Suite("Shard index") struct ShardIndexTests {
    private func layouts() throws -> [String: TensorLayout] {
        var layouts: [String: TensorLayout] = [:]
        for number in 1...3 {
            let name = "model-0000\(number)-of-00003.safetensors"
            layouts[name] = try SafetensorsFile.read(try Samples.source("safetensors/sharded/\(name)")).get()
        }
        return layouts
    }

    @Test func aRealSetAgreesWithItsIndex() throws {
        let source = try Samples.source("safetensors/sharded/model.safetensors.index.json")
        let index = try ShardIndex.read(source).get()
        #expect(index.files == (1...3).map { "model-0000\($0)-of-00003.safetensors" })
        #expect(index.entries.count == 5 && index.entries[4] == .init(tensor: "layers.4.weight", file: 2))
        #expect(index.totalSize == 2560)
        #expect(index.differences(from: try layouts()) == [])
    }

    @Test func aMissingFileAndAMovedTensorShow() throws {
        let source = try Samples.source("safetensors/sharded/model.safetensors.index.json")
        let index = try ShardIndex.read(source).get()
        var layouts = try layouts()
        let last = "model-00003-of-00003.safetensors"
        layouts[last] = nil
        #expect(index.differences(from: layouts) == [.missingFile(last)])
        layouts[last] = layouts["model-00001-of-00003.safetensors"]
        #expect(
            index.differences(from: layouts) == [
                .missingTensor("layers.4.weight", file: last), .totalSize(expected: 2560, actual: 3072),
            ])
    }

    @Test(arguments: [
        (#"{"weight_map":{"a":"b.safetensors"}}"#, Verdict.complete),
        (#"{"metadata":{"total_size":1e9},"weight_map":{"a":"sub/b"}}"#, .complete),
        (#"{"metadata":null,"weight_map":{}}"#, .complete),
        (#"{"weight_map":{"a":"../b"}}"#, .unsupported),
        (#"{"weight_map":{"a":"/b"}}"#, .unsupported),
        (#"{"weight_map":{"a":""}}"#, .unsupported),
        (#"{"weight_map":{"a":"b","a":"c"}}"#, .unsupported),
        (#"{"weight_map":{"a":1}}"#, .damaged),
        (#"{"metadata":{}}"#, .notThisFormat),
        (#"["weight_map"]"#, .notThisFormat),
        ("", .notThisFormat),
        (#"{"weight_map":{"a":"b.safeten"#, .truncated),
        (#"{"weight_map":{"a":"b"}"#, .truncated),
        (#"{"weight_map":{"a":"b"}}}"#, .damaged),
    ])
    func anIndexIsReadStrictly(text: String, verdict: Verdict) throws {
        let finding = try ShardIndex.read(MemorySource(Array(text.utf8)))
        #expect(Verdict(finding) == verdict, "\(finding.reason ?? "complete")")
    }
}
