import Compression
import Testing

@Suite("zstd frames")
struct ZstdTests {
    private func compress(_ bytes: [UInt8], with compressor: ZstdCompressor, room: Int? = nil) throws -> [UInt8]? {
        var output = [UInt8](repeating: 0, count: room ?? ZstdCompressor.bound(bytes.count))
        let written = try bytes.withUnsafeBytes { bytes in
            try output.withUnsafeMutableBytes { output in try compressor.compress(bytes, into: output) }
        }
        return written.map { Array(output.prefix($0)) }
    }

    private func decompress(_ frame: [UInt8], room: Int, with decompressor: ZstdDecompressor) throws -> [UInt8] {
        let guardBytes = 64
        var output = [UInt8](repeating: 0xee, count: room + guardBytes)
        defer { #expect(output.suffix(guardBytes).allSatisfy { $0 == 0xee }, "written past the output") }
        let written = try frame.withUnsafeBytes { frame in
            try output.withUnsafeMutableBytes { output in
                try decompressor.decompress(frame, into: UnsafeMutableRawBufferPointer(rebasing: output[..<room]))
            }
        }
        return Array(output.prefix(written))
    }

    @Test(
        "What is compressed comes back, at any level, with contexts that are used again",
        arguments: [-50, -1, 1, 3, 19])
    func roundTrip(level: Int32) throws {
        let compressor = try ZstdCompressor(level: level)
        let decompressor = ZstdDecompressor()
        for count in [0, 1, 2, 255, 256, 65_536, 200_000] {
            for bytes in [
                TestData.random(count, seed: 5), TestData.text(count, seed: 6), TestData.bfloat16(count, seed: 7),
                [UInt8](repeating: 0, count: count),
            ] {
                let frame = try #require(try compress(bytes, with: compressor))
                #expect(try decompress(frame, room: count, with: decompressor) == bytes)
                #expect(try decompress(frame, room: count + 100, with: decompressor) == bytes)
            }
        }
    }

    @Test("Levels outside what is allowed are refused", arguments: [Int32.min, -51, 20, 22, Int32.max])
    func levels(level: Int32) {
        let error = #expect(throws: CompressionError.self) { try ZstdCompressor(level: level) }
        #expect(error?.code == .invalidParameters)
    }

    @Test("A higher level makes text smaller: the level is taken")
    func levelMatters() throws {
        let text = TestData.text(200_000, seed: 8)
        let fast = try #require(try compress(text, with: ZstdCompressor(level: 1))).count
        let slow = try #require(try compress(text, with: ZstdCompressor(level: 15))).count
        #expect(slow < fast)
        #expect(fast < text.count / 2)
    }

    @Test("A result that does not fit is no error, and the compressor goes on")
    func doesNotFit() throws {
        let compressor = try ZstdCompressor(level: 1)
        let noise = TestData.random(100_000, seed: 9)
        #expect(try compress(noise, with: compressor, room: 97_000) == nil)
        #expect(try compress(noise, with: compressor, room: 0) == nil)
        let zeros = [UInt8](repeating: 0, count: 100_000)
        let frame = try #require(try compress(zeros, with: compressor, room: 97_000))
        #expect(frame.count < 100)
        #expect(try decompress(frame, room: 100_000, with: ZstdDecompressor()) == zeros)
    }

    /// RFC 8878, section 3.1.1.1: descriptor bits 7-6 and 5 tell of the content size, bit 2 of a checksum.
    @Test("The header holds the content's size, no checksum, and a window of at most 8 MiB")
    func header() throws {
        let frame = try #require(
            try compress(
                TestData.text(1000, seed: 1) + [UInt8](repeating: 0, count: 9 << 20), with: ZstdCompressor(level: 1)))
        let descriptor = frame[4]
        #expect(descriptor & 0x04 == 0, "no checksum")
        #expect(descriptor >> 6 != 0 || descriptor & 0x20 != 0, "the size is there")
        #expect(descriptor & 0x20 == 0, "over the window, so a window descriptor follows")
        #expect(10 + Int(frame[5] >> 3) <= 23)
    }

    @Test("Truncation anywhere, a second frame, trailing bytes and other formats are refused")
    func malformed() throws {
        let decompressor = ZstdDecompressor()
        let frame = try #require(try compress(TestData.text(5000, seed: 2), with: ZstdCompressor(level: 3)))
        func refused(_ bytes: [UInt8], _ name: Comment) {
            let error = #expect(throws: CompressionError.self, name) {
                try decompress(bytes, room: 20_000, with: decompressor)
            }
            #expect(error?.code == .corrupted, name)
        }
        for count in 0..<frame.count { refused(Array(frame.prefix(count)), "\(count) bytes of it") }
        refused(frame + frame, "two frames")
        refused(frame + [0], "one byte more")
        refused(frame + [0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0], "a skippable frame behind")
        refused(frame + [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x00, 0x01, 0x00, 0x00], "an empty frame behind")
        refused([0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0], "a skippable frame alone")
        refused([0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0] + frame, "a skippable frame in front")
        refused([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 0x01, 0x00, 0x00], "a frame that does not say its size")
        #expect(try decompress(frame, room: 5000, with: decompressor) == TestData.text(5000, seed: 2))
    }

    /// The same content, one raw block of five bytes, under true and false announcements. In a single segment the
    /// window is the announced size.
    @Test("A frame that lies about its size is refused, however much it claims")
    func lies() throws {
        let decompressor = ZstdDecompressor()
        let magic: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd]
        let block: [UInt8] = [0x29, 0x00, 0x00] + Array("calm!".utf8)
        #expect(try decompress(magic + [0x20, 5] + block, room: 5, with: decompressor) == Array("calm!".utf8))
        for announced: UInt8 in [0, 4, 6, 100] {
            let error = #expect(throws: CompressionError.self) {
                try decompress(magic + [0x20, announced] + block, room: 100, with: decompressor)
            }
            #expect(error?.code == .corrupted)
        }
        for announced in [[UInt8](repeating: 0xff, count: 7) + [0x7f], [1, 1, 0, 0, 0, 0, 0, 0]] {
            let error = #expect(throws: CompressionError.self) {
                try decompress(magic + [0xe0] + announced + block, room: 256, with: decompressor)
            }
            #expect(error?.code == .tooLarge)
        }
        for announced in [[UInt8](repeating: 0xff, count: 8), [0xfe] + [UInt8](repeating: 0xff, count: 7)] {
            let error = #expect(throws: CompressionError.self) {
                try decompress(magic + [0xe0] + announced + block, room: 256, with: decompressor)
            }
            #expect(error != nil, "the library's own two markers")
        }
    }

    @Test("Flipped bits never write past the output nor crash", arguments: [21, 22, 23] as [UInt64])
    func flippedBits(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let compressor = try ZstdCompressor(level: 3)
        let decompressor = ZstdDecompressor()
        let text = TestData.text(3000, seed: seed)
        let frame = try #require(try compress(text, with: compressor))
        var refused = 0
        for _ in 0..<2000 {
            var changed = frame
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                changed[Int.random(in: 0..<frame.count, using: &generator)] ^=
                    1 << UInt8.random(in: 0..<8, using: &generator)
            }
            do {
                _ = try decompress(changed, room: 3000, with: decompressor)
            } catch is CompressionError {
                refused += 1
            }
        }
        #expect(refused > 100)
        #expect(try decompress(frame, room: 3000, with: decompressor) == text)
    }

    @Test("A frame of another program need not announce its size, and is bounded all the same")
    func foreignFrames() throws {
        let decompressor = ZstdDecompressor()
        // One raw block, then one that repeats a byte a hundred thousand times; no size in the header.
        let text = Array("abc".utf8)
        let frame: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58] + [UInt8(text.count << 3), 0, 0] + text
        let count = 100_000
        let run = [
            UInt8(truncatingIfNeeded: count << 3 | 2 | 1), UInt8(truncatingIfNeeded: count >> 5), UInt8(count >> 13),
        ]
        let whole = frame + run + [0x77]
        #expect(throws: CompressionError.self) { try decompress(whole, room: 200_000, with: decompressor) }
        let expected = text + [UInt8](repeating: 0x77, count: count)
        #expect(try decompressor.decompress(foreign: whole, atMost: 1 << 20) == expected)
        #expect(try decompressor.decompress(foreign: whole, atMost: expected.count) == expected)
        #expect(throws: CompressionError.self) {
            try decompressor.decompress(foreign: whole, atMost: expected.count - 1)
        }
        for length in 0..<whole.count {
            #expect(throws: CompressionError.self) {
                try decompressor.decompress(foreign: Array(whole.prefix(length)), atMost: 1 << 20)
            }
        }
        #expect(throws: CompressionError.self) { try decompressor.decompress(foreign: whole + [0], atMost: 1 << 20) }
        // A skippable frame holds nothing.
        let skippable: [UInt8] = [0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9]
        #expect(throws: CompressionError.self) { try decompressor.decompress(foreign: skippable, atMost: 1 << 20) }
        let announced = try #require(try compress(expected, with: try ZstdCompressor(level: 3)))
        #expect(try decompressor.decompress(foreign: announced, atMost: 1 << 20) == expected)
    }
}
