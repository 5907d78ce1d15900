import Testing

@testable import TensorFiles

@Suite("Any tensor file") struct TensorFileTests {
    @Test(arguments: [
        ("safetensors/mixed.safetensors", TensorLayout.Format.safetensors), ("gguf/v3.gguf", .gguf),
        ("torch/checkpoint.ckpt", .torch), ("torch/legacy.pt", .torchLegacy),
        ("dcp/two_ranks/__0_0.distcp", .distributed),
        ("numpy/f4.npy", .npy), ("numpy/stored.npz", .npz),
    ])
    func theFirstBytesTell(path: String, format: TensorLayout.Format) throws {
        let source = try Samples.source(path)
        #expect(try TensorFile.layout(source).get().format == format)
        // The same when the source hands out little at a time.
        let slow = try Samples.source(path)
        slow.mostPerRead = 7
        #expect(try TensorFile.layout(slow).get().regions == TensorFile.layout(source).get().regions)
    }

    @Test func anotherFileCostsOneShortRead() throws {
        for bytes in [[], [1], Array("some text that is no tensor at all".utf8), [UInt8](repeating: 0, count: 100_000)]
        {
            let source = MemorySource(bytes)
            #expect(Verdict(try TensorFile.layout(source)) == .notThisFormat)
            #expect(source.bytesRead < 30)
        }
    }

    private static let whole = [
        "safetensors/mixed.safetensors", "gguf/v3.gguf", "torch/checkpoint.ckpt", "torch/legacy.pt",
        "dcp/two_ranks/__0_0.distcp", "numpy/f4.npy", "numpy/stored.npz",
    ]

    @Test(arguments: whole) func aFileThatShrinksIsNotJudged(path: String) throws {
        let bytes = try Samples.bytes(path)
        let source = MemorySource(Array(bytes.prefix(20)), size: UInt64(bytes.count))
        #expect(Verdict(try TensorFile.layout(source)) == .unsupported)
    }

    @Test(arguments: whole) func whatTheSourceThrowsComesOut(path: String) throws {
        let source = try Samples.source(path)
        _ = try TensorFile.layout(source)
        for read in 1...source.reads {
            let failing = try Samples.source(path)
            failing.failingRead = read
            #expect(throws: MemorySource.Refused.self) { try TensorFile.layout(failing) }
        }
    }

    @Test func widthsAreThoseOfTheNumbers() {
        let widths: [(TensorDType, Int)] = [
            (.bf16, 2), (.f32, 4), (.f64, 8), (.i64, 8), (.u8, 1), (.bool, 1), (.c64, 4), (.c128, 8), (.c32, 2),
            (.f4, 1),
            (.f8e4m3, 1), (.quantised(name: "q", blockElements: 32, blockBytes: 18), 1),
            (.other(name: "V2", elementBytes: 2), 2), (.other(name: "S5", elementBytes: 5), 1),
        ]
        for (dtype, width) in widths { #expect(dtype.width == width, "\(dtype)") }
        #expect(TensorDType.bf16.name == "bf16")
        #expect(TensorDType.quantised(name: "q4_0", blockElements: 32, blockBytes: 18).name == "q4_0")
        #expect(TensorDType.quantised(name: "q4_0", blockElements: 32, blockBytes: 18).bits == 5)
    }

    @Test func overlappingRegionsAreRefused() throws {
        func layout(_ ranges: Range<UInt64>...) throws -> Verdict {
            Verdict(
                try Finding {
                    try TensorLayout(
                        format: .npz, size: 10,
                        regions: ranges.map {
                            .init(name: "", dtype: .u8, shape: [$0.upperBound - $0.lowerBound], range: $0)
                        })
                })
        }
        #expect(try layout(0..<5, 5..<10) == .complete)
        #expect(try layout(5..<10, 0..<5, 5..<5) == .complete)
        #expect(try layout(0..<6, 5..<10) == .damaged)
        #expect(try layout(0..<6, 5..<11) == .damaged)
        #expect(try layout(0..<11) == .truncated)
    }
}
