import Compression
import Testing

private let layouts: [ElementLayout] = [
    .bfloat16, .float32, .float64, .integer8, .integer16, .integer32, .integer64,
]

@Suite("Byte planes")
struct PlaneTests {
    /// Numbers of `layout` that planes make smaller, cut to `count` bytes.
    private func numbers(_ layout: ElementLayout, _ count: Int, seed: UInt64) -> [UInt8] {
        let elements = count / layout.width + 1
        guard layout.isFloatingPoint else {
            return Array(TestTensors.integers(elements, width: layout.width, seed: seed).prefix(count))
        }
        let number: TestTensors.Number =
            layout.width == 2 ? .bfloat16 : layout.width == 4 ? .float32 : .float64
        return Array(TestTensors.weights(number, elements, seed: seed).prefix(count))
    }

    @Test("Every length and every phase of every width comes back", arguments: layouts)
    func lengths(layout: ElementLayout) throws {
        let codec = try PlaneCodec()
        let numbers = numbers(layout, 4096, seed: 1)
        var stored = 0
        for count in 2000..<2040 {
            for offset in 0..<2 * layout.width {
                // The chunk begins in the middle of an element of the tensor.
                let chunk = Array(numbers[offset..<offset + count])
                let encoded = try codec.roundTrip(chunk, layout, at: offset, "\(count) bytes at \(offset)")
                if let encoded {
                    stored += 1
                    let phase = (layout.width - offset % layout.width) % layout.width
                    #expect(try PlaneReader.Head(encoded).phase == phase)
                }
            }
        }
        #expect(stored >= 40 * layout.width, "most of them pay")
    }

    @Test("Lengths around whole blocks come back", arguments: layouts, [-1, 0, 17])
    func blocks(layout: ElementLayout, more: Int) throws {
        let codec = try PlaneCodec()
        let block = layout.width == 8 ? 65_536 : 131_072
        let chunk = numbers(layout, (block + more) * layout.width + layout.width / 2, seed: 2)
        let encoded = try #require(try codec.roundTrip(chunk, layout))
        #expect(try PlaneReader(encoded).methods.count == (more > 0 ? 2 : 1))
    }

    @Test("What differs from a base comes back, by either transform", arguments: layouts)
    func bases(layout: ElementLayout) throws {
        let codec = try PlaneCodec()
        let base = numbers(layout, 30_000, seed: 3)
        var transforms: Set<Int> = []
        for (index, next) in [
            TestTensors.stepped(base, width: layout.width, share: 0.2, seed: 4),
            TestTensors.drifted(base, width: layout.width, deviation: 1.5, seed: 5), base,
        ].enumerated() {
            for count in [5000, 5001, 30_000] {
                for offset in 0..<layout.width {
                    let range = offset..<count
                    let encoded = try #require(
                        try codec.roundTrip(
                            Array(next[range]), layout, at: offset, base: Array(base[range]),
                            "change \(index), bytes \(range)"))
                    transforms.insert(try PlaneReader.Head(encoded).transform)
                }
            }
        }
        #expect(transforms == [2, 3])
    }

    /// Elements at the ends of each range move by one, so that they step over them.
    @Test("Differences wrap around", arguments: [1, 2, 4, 8])
    func wrapping(width: Int) throws {
        let codec = try PlaneCodec()
        let top = UInt64.max >> UInt64(64 - 8 * width)
        let extremes: [UInt64] = [0, 1, top, top - 1, top / 2, top / 2 + 1, 0xaa & top]
        var generator = SeededGenerator(seed: 21)
        var chunk: [UInt8] = []
        var base: [UInt8] = []
        for _ in 0..<20_003 {
            let number = extremes[Int.random(in: 0..<extremes.count, using: &generator)]
            let next = number &+ UInt64.random(in: 0...2, using: &generator) &- 1
            for place in 0..<width {
                base.append(UInt8(truncatingIfNeeded: number >> UInt64(8 * place)))
                chunk.append(UInt8(truncatingIfNeeded: next >> UInt64(8 * place)))
            }
        }
        let layout = try #require(ElementLayout(width: width, isFloatingPoint: false))
        var encoded = try #require(try codec.roundTrip(chunk, layout, base: base))
        #expect(try PlaneReader.Head(encoded).transform == 2)
        #expect(encoded.count < chunk.count / (3 * width))
        // The same planes read with another transform: what comes out is what the specification says.
        for transform in UInt8(0)...3 {
            encoded[0] = encoded[0] & 0b1111_0011 | transform << 2
            let content = try PlaneReader(encoded, base: base).content
            #expect(try codec.decode(encoded, base: base, room: chunk.count) == content)
        }
    }

    @Test("The same bytes give the same form, however the pieces are cut")
    func pieces() throws {
        let codec = try PlaneCodec()
        let numbers = numbers(.float32, 700_003, seed: 6)
        let base = TestTensors.stepped(numbers, width: 4, share: 0.3, seed: 7)
        var generator = SeededGenerator(seed: 8)
        func cut(_ bytes: [UInt8]) -> [[UInt8]] {
            var pieces: [[UInt8]] = [[]]
            var start = 0
            while start < bytes.count {
                let end = min(bytes.count, start + Int.random(in: 0...200_000, using: &generator))
                pieces.append(Array(bytes[start..<end]))
                start = end
            }
            return pieces + [[]]
        }
        for layout in [ElementLayout.float32, nil] {
            let whole = try codec.encode([numbers], TensorVerdict(elements: layout))
            let compared = try codec.encode([numbers], base: [base], TensorVerdict(elements: layout))
            for _ in 0..<5 {
                #expect(try codec.encode(cut(numbers), TensorVerdict(elements: layout)) == whole)
                #expect(
                    try codec.encode(cut(numbers), base: cut(base), TensorVerdict(elements: layout)) == compared)
            }
            // One byte of the first block is in the second piece.
            let oneByte = [Array(numbers[..<524_287]), Array(numbers[524_287...])]
            #expect(try codec.encode(oneByte, TensorVerdict(elements: layout)) == whole)
            #expect(try codec.decode(#require(whole), room: numbers.count) == numbers)
            #expect(try codec.decode(#require(compared), base: base, room: numbers.count) == numbers)
        }
    }

    @Test("Noise, text and short chunks are left alone", arguments: layouts.map(Optional.some) + [nil])
    func incompressible(layout: ElementLayout?) throws {
        let codec = try PlaneCodec()
        for count in [0, 1, 7, 511, 512, 513, 100_000, 600_001] {
            #expect(try codec.roundTrip(TestData.random(count, seed: 9), layout) == nil, "\(count)")
        }
        #expect(try codec.roundTrip([UInt8](repeating: 0, count: 511), layout) == nil)
        if layout == nil || layout?.width == 1 {
            #expect(try codec.roundTrip(TestData.text(300_000, seed: 10), layout) == nil)
        }
        // A base that has nothing to do with it changes nothing.
        let noise = TestData.random(100_000, seed: 11)
        #expect(try codec.roundTrip(noise, layout, base: TestData.random(100_000, seed: 12)) == nil)
    }

    @Test("A base of another length is ignored")
    func otherLength() throws {
        let codec = try PlaneCodec()
        let numbers = numbers(.bfloat16, 100_000, seed: 13)
        let verdict = TensorVerdict(elements: .bfloat16)
        let encoded = try #require(try codec.encode([numbers], base: [numbers + [0]], verdict))
        #expect(try codec.decode(encoded, room: numbers.count) == numbers)
        let compared = try #require(try codec.encode([numbers], base: [numbers], verdict))
        #expect(compared.count < 50, "equal to its base")
    }

    @Test("Little is left of bytes that are all the same", arguments: layouts)
    func constant(layout: ElementLayout) throws {
        let codec = try PlaneCodec()
        for value: UInt8 in [0, 0xff, 0x3f] {
            let encoded = try #require(
                try codec.roundTrip([UInt8](repeating: value, count: 4 << 20), layout))
            #expect(encoded.count < 600)
        }
    }

    /// Half of the blocks are other than the sample's stretches suggest.
    @Test("Stretches of zeros among weights cost next to nothing")
    func zeros() throws {
        let codec = try PlaneCodec()
        let weights = TestTensors.weights(.bfloat16, 256 << 10, seed: 14)
        let zeros = [UInt8](repeating: 0, count: 1 << 20)
        let dense = try #require(try codec.roundTrip(weights, .bfloat16))
        let sparse = try #require(try codec.roundTrip(weights + zeros, .bfloat16))
        #expect(sparse.count < dense.count + 1000)
        // A mask: long runs of two values.
        let mask = (0..<1 << 20).map { UInt8($0 / 1000 % 2) }
        let runs = try #require(try codec.roundTrip(mask, .integer8))
        #expect(runs.count < 5000)
        #expect(try PlaneReader(runs).methods.allSatisfy { $0 == [2] })
    }

    @Test("Nothing is written past the room, and a result that does not fit is none")
    func room() throws {
        let codec = try PlaneCodec()
        let weights = TestTensors.weights(.bfloat16, 200_000, seed: 15)
        let size = try #require(try codec.encode([weights], TensorVerdict(elements: .bfloat16))).count
        for room in [0, 1, 4, 5, 6, 7, 1000, 131_073, 131_079, size / 2, size - 100_000, size - 1] {
            #expect(try codec.encode([weights], TensorVerdict(elements: .bfloat16), room: room) == nil, "\(room)")
        }
        // zstd wants some room to spare.
        #expect(try codec.encode([weights], TensorVerdict(elements: .bfloat16), room: size + 1000) != nil)
        // All zeros fit almost anything, though the planes themselves do not.
        let zeros = [UInt8](repeating: 0, count: 400_000)
        #expect(try codec.encode([zeros], TensorVerdict(elements: .bfloat16), room: 40) != nil)
        #expect(try codec.encode([zeros], TensorVerdict(elements: .bfloat16), room: 8) == nil)
        // Runs are written until there is no room for one more; zstd may find a shorter way then.
        let mask = (0..<131_072).map { UInt8($0 / 300 % 2) }
        for room in 0..<200 {
            let encoded = try codec.encode([mask], TensorVerdict(elements: .integer8), room: 8 * room)
            if let encoded { #expect(try codec.decode(encoded, room: mask.count) == mask) }
        }
    }

    /// Written by hand from the specification: five bfloat16 numbers in a chunk that begins with half an element.
    @Test("The form is what the specification says")
    func vector() throws {
        let codec = try PlaneCodec()
        // Width 2, rotated, phase 1; 12 bytes: one, five elements, one.
        let head: [UInt8] = [0b0001_0101, 12, 0, 0, 0, 0xaa, 0xbb]
        let expected: [UInt8] = [0xaa, 0x81, 0x3f, 0x82, 0x3f, 0x83, 0xbf, 0x84, 0x3f, 0x85, 0x3f, 0xbb]
        // Rotated left: 3f81 → 7f02, 3f82 → 7f04, bf83 → 7f07, 3f84 → 7f08, 3f85 → 7f0a.
        let low: [UInt8] = [0x02, 0x04, 0x07, 0x08, 0x0a]
        let constant = head + [0, 1] + low + [0x7f]
        let runs = head + [0, 2] + low + [4, 0, 0, 0, 0x7f, 3, 0x7f, 2]
        let frame: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 5, 0x2b, 0, 0, 0x7f]
        let zstd = head + [0, 3] + low + [UInt8(frame.count), 0, 0, 0] + frame
        for form in [constant, runs, zstd] {
            #expect(try codec.decode(form, room: 12) == expected)
            #expect(try PlaneReader(form).content == expected)
        }
        let empty: [UInt8] = [0, 0, 0, 0, 0]
        #expect(try codec.decode(empty, room: 0) == [])
    }
}
