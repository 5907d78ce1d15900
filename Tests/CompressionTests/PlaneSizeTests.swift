import Compression
import Testing

@Suite("What byte planes leave")
struct PlaneSizeTests {
    private func share(
        _ bytes: [UInt8], _ elements: ElementLayout?, at offset: Int = 0, base: [UInt8]? = nil
    ) throws -> Double {
        let encoded = try #require(try PlaneCodec().roundTrip(bytes, elements, at: offset, base: base))
        return Double(encoded.count) / Double(bytes.count)
    }

    @Test("bfloat16 weights: at most 0.67", arguments: [1, 2] as [UInt64])
    func bfloat16(seed: UInt64) throws {
        let left = try share(TestTensors.weights(.bfloat16, 256 << 10, seed: seed), .bfloat16)
        #expect((0.62...0.67).contains(left), "\(left)")
    }

    @Test("float32 master weights and both moments: at most 0.85 together")
    func float32() throws {
        var sum = 0.0
        for (center, spread, isSigned) in [(-6.0, 0.6, true), (-20.0, 2.2, true), (-40.0, 1.0, false)] {
            let weights = TestTensors.weights(
                .float32, 128 << 10, seed: 4, center: center, spread: spread, isSigned: isSigned)
            let left = try share(weights, .float32)
            #expect((0.78...0.87).contains(left), "\(left)")
            sum += left
        }
        #expect(sum / 3 <= 0.85, "\(sum / 3)")
    }

    @Test("float16 at most 0.87, float64 at most 0.90")
    func others() throws {
        let half = try share(TestTensors.weights(.float16, 256 << 10, seed: 5), .float16)
        #expect((0.7...0.87).contains(half), "\(half)")
        let double = try share(TestTensors.weights(.float64, 128 << 10, seed: 6), .float64)
        #expect((0.8...0.9).contains(double), "\(double)")
    }

    @Test("float32 that holds bfloat16 values: at most 0.36")
    func widened() throws {
        let narrow = TestTensors.weights(.bfloat16, 128 << 10, seed: 7)
        var wide: [UInt8] = []
        for start in stride(from: 0, to: narrow.count, by: 2) { wide += [0, 0, narrow[start], narrow[start + 1]] }
        for layout in [ElementLayout.float32, nil] {
            let left = try share(wide, layout)
            #expect(left < 0.36, "\(left)")
        }
    }

    @Test("The next bfloat16 checkpoint: at most 0.19")
    func next() throws {
        let base = TestTensors.weights(.bfloat16, 256 << 10, seed: 8)
        let stepped = TestTensors.stepped(base, width: 2, share: 0.35, seed: 9)
        let left = try share(stepped, .bfloat16, base: base)
        #expect(left <= 0.1, "\(left)")
        // Steps up and down, of which 65 % are too small to move the element.
        let drifted = TestTensors.drifted(base, width: 2, deviation: 0.53, seed: 10)
        let drift = try share(drifted, .bfloat16, base: base)
        #expect(drift <= 0.14, "\(drift)")
        // A fine-tune that moves an element by two units in the last place.
        let tuned = TestTensors.drifted(base, width: 2, deviation: 2, seed: 11)
        let tune = try share(tuned, .bfloat16, base: base)
        #expect(tune <= 0.27, "\(tune)")
        // Other weights altogether: planes alone, as if there were no base.
        let other = TestTensors.weights(.bfloat16, 256 << 10, seed: 12)
        let encoded = try #require(try PlaneCodec().roundTrip(other, .bfloat16, base: base))
        #expect(try !encoded.withUnsafeBytes { try PlaneDecoder.needsBase($0) })
        #expect(Double(encoded.count) <= 0.67 * Double(other.count))
    }

    @Test("Of two transforms against a base, the better one is taken")
    func transforms() throws {
        let base = TestTensors.weights(.float32, 128 << 10, seed: 13)
        let stepped = TestTensors.stepped(base, width: 4, share: 0.35, seed: 14)
        let flipped = try #require(try PlaneCodec().roundTrip(stepped, .float32, base: base))
        #expect(try PlaneReader.Head(flipped).transform == 3)
        let drifted = TestTensors.drifted(base, width: 4, deviation: 300, seed: 15)
        let moved = try #require(try PlaneCodec().roundTrip(drifted, .float32, base: base))
        #expect(try PlaneReader.Head(moved).transform == 2)
        #expect(Double(moved.count) < 0.4 * Double(base.count))
    }

    /// Whole numbers below 2^28 that change by 2^22 to 2^28: what a base saves goes from an eighth to nothing.
    @Test("A base is used only where it saves 3 %")
    func leastGain() throws {
        var base = TestData.random(64 << 10, seed: 22)
        for place in stride(from: 3, to: base.count, by: 4) { base[place] &= 0x0f }
        var used = 0
        var tries = 0
        for step in 0...12 {
            let deviation = Double(sign: .plus, exponent: 22 + step / 2, significand: step % 2 == 0 ? 1 : 1.4)
            // Large steps are multiples of a power of two: small ones fill the low bits.
            var next = TestTensors.drifted(base, width: 4, deviation: 16_384, seed: 24)
            next = TestTensors.drifted(next, width: 4, deviation: deviation, seed: 23)
            for place in stride(from: 3, to: base.count, by: 4) { next[place] &= 0x0f }
            let codec = try PlaneCodec()
            let alone = try codec.roundTrip(next, .integer32)?.count ?? next.count
            guard let encoded = try codec.roundTrip(next, .integer32, base: base) else { continue }
            tries += 1
            guard try PlaneReader.Head(encoded).transform >= 2 else { continue }
            used += 1
            #expect(encoded.count + next.count * 2 / 100 <= alone, "step \(step)")
        }
        #expect(used > 0 && used < tries, "\(used) of \(tries)")
    }

    @Test(
        "Where nothing is known, width and phase are found",
        arguments: [TestTensors.Number.bfloat16, .float16, .float32, .float64])
    func detection(number: TestTensors.Number) throws {
        let (width, most) =
            switch number {
            case .bfloat16: (2, 0.672)
            case .float16: (2, 0.872)
            case .float32: (4, 0.852)
            case .float64: (8, 0.902)
            }
        let weights = TestTensors.weights(number, 520_000 / width, seed: 16)
        for offset in 0..<width {
            for count in [70_001, 500_003] {
                let chunk = Array(weights[offset..<offset + count])
                // The chunk's place in its file says nothing of where the tensor begins.
                let encoded = try #require(
                    try PlaneCodec().roundTrip(chunk, nil, at: 1_234_567), "\(count) bytes at \(offset)")
                let head = try PlaneReader.Head(encoded)
                #expect(head.width == width)
                // Where the exponent does not fill a byte, there is little to be had from moving the sign.
                if number == .bfloat16 || number == .float32 { #expect(head.transform == 1) }
                #expect(head.phase == (width - offset) % width)
                #expect(Double(encoded.count) <= (most + 0.005) * Double(count))
            }
        }
    }

    @Test("Against a base too, where nothing is known")
    func detectionWithBase() throws {
        let base = TestTensors.weights(.bfloat16, 300_000, seed: 17)
        let next = TestTensors.stepped(base, width: 2, share: 0.35, seed: 18)
        #expect(try share(Array(next[1..<500_000]), nil, base: Array(base[1..<500_000])) < 0.1)
        let noise = TestData.random(500_000, seed: 19)
        let changed = TestTensors.stepped(noise, width: 5, share: 0.1, seed: 20)
        #expect(try share(changed, nil, base: noise) < 0.15, "no period, but little has changed")
    }
}
