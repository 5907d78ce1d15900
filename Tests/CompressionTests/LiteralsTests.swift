import Compression
import Testing

@Suite("zstd as a Huffman coder")
struct LiteralsTests {
    @Test("Literals alone beat level 1 on a plane of exponents, and come near to its entropy")
    func literals() throws {
        let weights = TestTensors.weights(.bfloat16, 128 << 10, seed: 21)
        var plane: [UInt8] = []
        for start in stride(from: 0, to: weights.count, by: 2) {
            plane.append(weights[start + 1] << 1 | weights[start] >> 7)
        }
        func size(_ compressor: ZstdCompressor) throws -> Int {
            var output = [UInt8](repeating: 0, count: ZstdCompressor.bound(plane.count))
            let written = try plane.withUnsafeBytes { plane in
                try output.withUnsafeMutableBytes { try compressor.compress(plane, into: $0) }
            }
            return try #require(written)
        }
        let literals = try size(.literals())
        #expect(literals < (try size(ZstdCompressor(level: 1))))
        #expect((0.3...0.36).contains(Double(literals) / Double(plane.count)))
    }
}
