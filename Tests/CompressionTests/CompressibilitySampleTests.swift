import Compression
import Testing

@Suite("Compressibility sample")
struct CompressibilitySampleTests {
    private func pays(_ pieces: [UInt8]..., with sample: CompressibilitySample) -> Bool {
        let memory = pieces.map { piece -> UnsafeMutableRawBufferPointer in
            let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: piece.count, alignment: 1)
            copy.copyBytes(from: piece)
            return copy
        }
        defer { for copy in memory { copy.deallocate() } }
        return sample.pays(memory.map { UnsafeRawBufferPointer($0) })
    }

    @Test("Says no to noise and yes to what shrinks", arguments: [100, 5000, 70_001, 1 << 20, 2 << 20])
    func kinds(count: Int) throws {
        let sample = try CompressibilitySample()
        #expect(!pays(TestData.random(count, seed: 1), with: sample))
        #expect(pays([UInt8](repeating: 0, count: count), with: sample))
        #expect(!pays(TestData.random(count, seed: 2), with: sample), "nothing of the zeros is left in the sample")
        #expect(pays(TestData.text(count, seed: 3), with: sample))
        if count >= 5000 { #expect(pays(TestData.bfloat16(count, seed: 4), with: sample)) }
    }

    @Test("One half of text is enough, wherever it is and however the pieces fall", arguments: [1 << 20, 3_000_017])
    func mixed(count: Int) throws {
        let sample = try CompressibilitySample()
        let noise = TestData.random(count / 2, seed: 5)
        let text = TestData.text(count / 2, seed: 6)
        #expect(pays(noise + text, with: sample))
        #expect(pays(text + noise, with: sample))
        #expect(pays(noise, text, with: sample))
        #expect(pays([], Array(noise.prefix(3)), [], Array(noise.dropFirst(3)) + text, [], with: sample))
        #expect(!pays(noise, noise, with: sample), "the two stretches are too far apart to be the same")
    }

    /// With a whole number of rounds, each piece would be seen alone if boundaries were forgotten.
    @Test("Pieces are sampled as their concatenation")
    func pieces() throws {
        let sample = try CompressibilitySample()
        let noise = TestData.random(1 << 20, seed: 7)
        // Text in the second third only: the stretch that begins there must be found across pieces.
        let third = noise.count / 3
        let text = TestData.text(third, seed: 8)
        let whole = Array(noise[..<third]) + text + Array(noise[(2 * third)...])
        #expect(pays(whole, with: sample))
        #expect(pays(Array(whole[..<100_000]), Array(whole[100_000..<350_001]), Array(whole[350_001...]), with: sample))
    }

    @Test("Nothing does not pay")
    func empty() throws {
        let sample = try CompressibilitySample()
        #expect(!pays(with: sample))
        #expect(!pays([], with: sample))
        #expect(!sample.pays([UnsafeRawBufferPointer(start: nil, count: 0)]))
    }

    @Test("What it says of bf16 is true: zstd 1 leaves about 0.78")
    func truth() throws {
        let weights = TestData.bfloat16(1 << 20, seed: 9)
        var output = [UInt8](repeating: 0, count: ZstdCompressor.bound(weights.count))
        let compressor = try ZstdCompressor(level: 1)
        let written = try weights.withUnsafeBytes { weights in
            try output.withUnsafeMutableBytes { output in try compressor.compress(weights, into: output) }
        }
        let ratio = Double(try #require(written)) / Double(weights.count)
        #expect((0.74...0.82).contains(ratio), "\(ratio)")
    }
}
