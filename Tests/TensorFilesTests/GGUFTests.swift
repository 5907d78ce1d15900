import Testing

@testable import TensorFiles

@Suite("GGUF") struct GGUFTests {
    @Test(arguments: ["v2", "v3", "aligned-64"]) func everyTensorOfARealFileHasItsPlace(name: String) throws {
        let source = try Samples.source("gguf/\(name).gguf")
        let layout = try GGUFFile.read(source).get()
        layout.checkPromises()
        #expect(layout.format == .gguf && layout.part == nil)
        #expect(layout.attributes["general.architecture"] == "llama")
        #expect(layout.attributes["general.name"] == "sample")
        #expect(layout.regions.count == 7)
        let alignment: UInt64 = name == "aligned-64" ? 64 : 32
        #expect(layout.regions.allSatisfy { $0.range.lowerBound.isMultiple(of: alignment) })
        let embedding = try layout.region("token_embd.weight")
        #expect(embedding.dtype == .f32 && embedding.shape == [4, 64])
        // The first value is -3, the second -3 + 1/7.
        #expect(source.bytes[Int(embedding.range.lowerBound)...].prefix(4).elementsEqual([0, 0, 0x40, 0xc0]))
        #expect(try layout.region("blk.0.attn_q.weight").byteCount == 30)
        #expect(try layout.region("blk.0.BF16.weight").dtype == .bf16)
        let quantised = try layout.region("blk.0.Q8_0.weight")
        #expect(quantised.dtype == .quantised(name: "q8_0", blockElements: 32, blockBytes: 34))
        #expect(quantised.byteCount == 544 && quantised.dtype.width == 1 && quantised.elements == 512)
        #expect(try layout.region("blk.0.Q4_0.weight").byteCount == 288)
        #expect(try layout.region("blk.0.TQ1_0.weight").byteCount == 108)
        #expect(layout.parameters == 256 + 15 + 4 * 512 + 7)
    }

    @Test func noPrefixIsComplete() throws {
        let bytes = try Samples.bytes("gguf/v3.gguf")
        let end = try #require(try GGUFFile.read(MemorySource(bytes)).get().regions.last).range.upperBound
        for count in 0..<bytes.count {
            let finding = try GGUFFile.read(MemorySource(Array(bytes.prefix(count))))
            // The padding behind the last tensor may be missing.
            let verdict: Verdict = count < 4 ? .notThisFormat : count < end ? .truncated : .complete
            #expect(Verdict(finding) == verdict, "\(count) bytes: \(finding.reason ?? "")")
        }
    }

    @Test func partsOfASetKnowTheirPlace() throws {
        for number in 1...3 {
            let name = "split-0000\(number)-of-00003.gguf"
            let layout = try GGUFFile.read(try Samples.source("gguf/\(name)")).get()
            #expect(layout.part == TensorLayout.Part(number: UInt64(number - 1), count: 3, tensors: 5))
            #expect(layout.regions.count == (number < 3 ? 2 : 1))
            #expect(try #require(ShardName(name)).number == number)
        }
    }

    @Test func aBigEndianFileIsRefusedByName() throws {
        let finding = try GGUFFile.read(try Samples.source("gguf/big-endian.gguf"))
        #expect(Verdict(finding) == .unsupported)
        #expect(finding.reason?.contains("big-endian") == true)
    }

    /// A file with one value and tensors of the given shapes, types and offsets.
    private func file(
        version: UInt32 = 3, values: [[UInt8]] = [], tensors: [([UInt64], UInt32, UInt64)], data: Int
    ) -> MemorySource {
        var bytes = Array("GGUF".utf8) + .little(version) + .little(UInt64(tensors.count))
        bytes += .little(UInt64(values.count)) + values.joined()
        for (index, (shape, type, offset)) in tensors.enumerated() {
            bytes += Self.text("t\(index)") + .little(UInt32(shape.count)) + shape.flatMap { [UInt8].little($0) }
            bytes += .little(type) + .little(offset)
        }
        bytes += [UInt8](repeating: 0, count: (32 - bytes.count % 32) % 32 + data)
        return MemorySource(bytes)
    }

    private static func text(_ text: String) -> [UInt8] { .little(UInt64(text.utf8.count)) + Array(text.utf8) }

    @Test func tensorsAreHeldAgainstTheFile() throws {
        let cases: [([([UInt64], UInt32, UInt64)], Int, Verdict)] = [
            ([([8], 0, 0)], 32, .complete), ([([8], 0, 0)], 31, .truncated),
            ([([8], 0, 0), ([4], 0, 32)], 48, .complete), ([([8], 0, 0), ([4], 0, 16)], 48, .unsupported),
            ([([8], 0, 0), ([4], 0, 64)], 80, .unsupported), ([([8], 0, 32)], 64, .unsupported),
            ([([32], 2, 0)], 18, .complete), ([([31], 2, 0)], 18, .damaged), ([([8], 9, 0)], 90, .unsupported),
            ([([8], 999, 0)], 90, .unsupported), ([([1, 1, 1, 1, 1], 0, 0)], 4, .unsupported),
            ([([1 << 62, 4], 0, 0)], 4, .damaged), ([([8], 0, .max - 31)], 32, .damaged), ([], 0, .complete),
        ]
        for (tensors, data, verdict) in cases {
            let finding = try GGUFFile.read(file(tensors: tensors, data: data))
            #expect(Verdict(finding) == verdict, "\(tensors), \(data): \(finding.reason ?? "complete")")
        }
    }

    @Test func valuesAreHeldAgainstTheFile() throws {
        let alignment = Self.text("general.alignment")
        let nested = (0..<9).flatMap { _ in [UInt8].little(UInt32(9)) + .little(UInt64(1)) }
        let cases: [([UInt8], Verdict)] = [
            (alignment + .little(UInt32(4)) + .little(UInt32(64)), .complete),
            (alignment + .little(UInt32(4)) + .little(UInt32(0)), .damaged),
            (alignment + .little(UInt32(4)) + .little(UInt32(48)), .damaged),
            (alignment + .little(UInt32(10)) + .little(UInt64(64)), .damaged),
            (Self.text("a") + .little(UInt32(13)), .unsupported),
            (Self.text("a") + .little(UInt32(8)) + .little(UInt64.max), .truncated),
            (Self.text("a") + .little(UInt32(9)) + .little(UInt32(4)) + .little(UInt64.max), .truncated),
            (Self.text("a") + .little(UInt32(9)) + .little(UInt32(8)) + .little(UInt64.max), .truncated),
            (Self.text("a") + .little(UInt32(9)) + nested, .unsupported),
            (Self.text("split.count") + .little(UInt32(2)) + .little(UInt16(4)), .damaged),
            (.little(UInt64.max), .truncated), (Self.text(String(repeating: "k", count: 5000)), .unsupported),
        ]
        for (value, verdict) in cases {
            let finding = try GGUFFile.read(file(values: [value], tensors: [], data: 0))
            #expect(Verdict(finding) == verdict, "\(value.prefix(40)): \(finding.reason ?? "complete")")
        }
        let older = try GGUFFile.read(file(version: 1, tensors: [], data: 0))
        #expect(Verdict(older) == .unsupported)
    }

    @Test func falseCountsEndAtTheFile() throws {
        let many = Array("GGUF".utf8) + .little(UInt32(3)) + .little(UInt64.max) + .little(UInt64(0))
        #expect(Verdict(try GGUFFile.read(MemorySource(many))) == .unsupported)
        let values = Array("GGUF".utf8) + .little(UInt32(3)) + .little(UInt64(0)) + .little(UInt64.max)
        #expect(Verdict(try GGUFFile.read(MemorySource(values + [UInt8](repeating: 0, count: 12_000)))) == .truncated)
    }
}
