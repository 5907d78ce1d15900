import Compression
import Testing

@Suite("Damaged byte planes")
struct PlaneDamageTests {
    /// Encoded forms that between them hold every width, transform and method, with what is needed to read them.
    private func samples(_ codec: PlaneCodec) throws -> [(encoded: [UInt8], base: [UInt8]?, count: Int)] {
        let bfloat16 = TestTensors.weights(.bfloat16, 3000, seed: 1)
        let float32 = TestTensors.weights(.float32, 2000, seed: 2)
        let float64 = TestTensors.weights(.float64, 1000, seed: 3)
        let runs = (0..<4000).map { UInt8($0 / 500) }
        let steps = TestTensors.stepped(bfloat16, width: 2, share: 0.3, seed: 4)
        let drift = TestTensors.drifted(float32, width: 4, deviation: 100, seed: 5)
        let cases: [([UInt8], ElementLayout, Int, [UInt8]?)] = [
            (bfloat16, .bfloat16, 0, nil), (Array(bfloat16.dropFirst()), .bfloat16, 1, nil),
            (float32, .float32, 0, nil), (float64, .float64, 3, nil), (runs, .integer8, 0, nil),
            (TestTensors.integers(2000, width: 8, seed: 6), .integer64, 0, nil),
            (steps, .bfloat16, 0, bfloat16), (drift, .float32, 2, float32),
        ]
        return try cases.map { bytes, layout, offset, base in
            let encoded = try #require(
                try codec.roundTrip(bytes, layout, at: offset, base: base), "\(layout) at \(offset)")
            return (encoded, base, bytes.count)
        }
    }

    private func refused(
        _ codec: PlaneCodec, _ bytes: [UInt8], base: [UInt8]? = nil, room: Int = 20_000,
        as code: CompressionError.Code = .corrupted, _ comment: Comment
    ) {
        let error = #expect(throws: CompressionError.self, comment) {
            try codec.decode(bytes, base: base, room: room)
        }
        #expect(error?.code == code, comment)
    }

    @Test("Cut short anywhere, or with a byte more, it is refused")
    func truncation() throws {
        let codec = try PlaneCodec()
        for (encoded, base, count) in try samples(codec) {
            for length in 0..<encoded.count {
                refused(codec, Array(encoded.prefix(length)), base: base, room: count, "\(length) bytes of it")
            }
            refused(codec, encoded + [0], base: base, room: count, "a byte more")
            refused(codec, encoded + encoded, base: base, room: count, "twice")
        }
    }

    @Test("More than there is room for is refused")
    func tooLarge() throws {
        let codec = try PlaneCodec()
        for (encoded, base, count) in try samples(codec) {
            refused(codec, encoded, base: base, room: count - 1, as: .tooLarge, "a byte less of room")
            refused(codec, encoded, base: base, room: 0, as: .tooLarge, "no room")
        }
        refused(codec, [0, 0xff, 0xff, 0xff, 0xff, 1, 0], as: .tooLarge, "4 GiB of zeros in seven bytes")
    }

    @Test("A difference without its base, or with another, is refused")
    func baseMissing() throws {
        let codec = try PlaneCodec()
        var seen = 0
        for (encoded, base, count) in try samples(codec) {
            guard let base else { continue }
            seen += 1
            refused(codec, encoded, room: count, as: .baseMissing, "no base")
            refused(codec, encoded, base: base + [0], room: count, as: .baseMissing, "a longer base")
            refused(codec, encoded, base: base.dropLast(), room: count, as: .baseMissing, "a shorter base")
        }
        #expect(seen == 2)
    }

    @Test("Each rule of the form is held")
    func rules() throws {
        let codec = try PlaneCodec()
        let good: [UInt8] = [0b0001_0101, 12, 0, 0, 0, 0xaa, 0xbb, 0, 1, 2, 4, 7, 8, 10, 0x7f]
        #expect(try codec.decode(good, room: 12).count == 12)
        func changed(_ place: Int, _ value: UInt8, _ comment: Comment) {
            var bytes = good
            bytes[place] = value
            refused(codec, bytes, comment)
        }
        changed(0, 0b1001_0101, "bit 7")
        changed(0, 0b0010_0101, "a phase as wide as the element")
        changed(0, 0b0001_0100, "a phase in bytes")
        changed(1, 0, "shorter than its phase")
        changed(1, 13, "no tail: two tail bytes make an element")
        changed(1, 255, "longer than the planes")
        changed(7, 4, "no such method")
        changed(8, 255, "no such method")
        let head = Array(good[..<7])
        let low: [UInt8] = [0, 2, 2, 4, 7, 8, 10]
        #expect(try codec.decode(head + low + [2, 0, 0, 0, 0x7f, 5], room: 12).count == 12)
        #expect(try codec.decode(head + low + [4, 0, 0, 0, 0x7f, 4, 0x7f, 1], room: 12).count == 12)
        for (runs, comment) in [
            ([0x7f, 4], "too few"), ([0x7f, 6], "too many"), ([0x7f, 5, 0x7f], "half a run"),
            ([0x7f, 5, 0x7f, 0], "an empty run"), ([0x7f, 0x85], "half a number"),
            ([0x7f, 0x85, 0x80, 0x80, 0x80, 0], "a number of five bytes"), ([], "none"),
            ([0x7f, 0xff, 0xff, 0xff, 0x7f], "268 million"), ([0x7f, 3, 0x7f, 3], "too many together"),
        ] as [([UInt8], String)] {
            refused(codec, head + low + [UInt8(runs.count), 0, 0, 0] + runs, "\(comment)")
        }
        refused(codec, head + low + [0xff, 0xff, 0xff, 0xff, 0x7f, 5], "runs beyond the end")
        let zstd: [UInt8] = [0, 3, 2, 4, 7, 8, 10]
        let magic: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd, 0x20]
        #expect(try codec.decode(head + zstd + [10, 0, 0, 0] + magic + [5, 0x2b, 0, 0, 0x7f], room: 12).count == 12)
        refused(codec, head + zstd + [10, 0, 0, 0] + magic + [4, 0x23, 0, 0, 0x7f], "a shorter plane")
        refused(codec, head + zstd + [10, 0, 0, 0] + magic + [6, 0x33, 0, 0, 0x7f], "a longer plane")
    }

    /// Whatever is changed, the outcome is an error or the announced length, within the output; the decoder goes on.
    @Test("Mutations never crash nor write past the output", arguments: [31, 32, 33, 34] as [UInt64])
    func mutations(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let codec = try PlaneCodec()
        var refused = 0
        var accepted = 0
        for (encoded, base, count) in try samples(codec) {
            for round in 0..<400 {
                var changed = encoded
                for _ in 0..<Int.random(in: 1...3, using: &generator) { mutate(&changed, round, &generator) }
                do {
                    // Half of the time there is room for more than was encoded.
                    let room = round % 2 == 0 ? count : 4 * count
                    let other = round % 5 == 0 ? TestData.random(count, seed: seed) : base
                    let out = try codec.decode(changed, base: other, room: room)
                    accepted += 1
                    #expect(out.count <= room)
                    // The slow reader understands it in the same way.
                    if round % 20 == 0 { #expect(try PlaneReader(changed, base: other ?? []).content == out) }
                } catch is CompressionError {
                    refused += 1
                }
            }
            #expect(try codec.decode(encoded, base: base, room: count).count == count)
        }
        #expect(refused > 1000 && accepted > 50, "\(refused) refused, \(accepted) accepted, seed \(seed)")
    }

    private func mutate(_ bytes: inout [UInt8], _ round: Int, _ generator: inout SeededGenerator) {
        guard !bytes.isEmpty else { return }
        // The head and the first method bytes are few: they get a third of the changes.
        let reach = round % 3 == 0 ? min(bytes.count, 24) : bytes.count
        let place = Int.random(in: 0..<reach, using: &generator)
        switch Int.random(in: 0..<5, using: &generator) {
        case 0: bytes[place] = UInt8.random(in: 0...255, using: &generator)
        case 1: bytes.remove(at: place)
        case 2: bytes.insert(UInt8.random(in: 0...255, using: &generator), at: place)
        case 3: bytes.removeSubrange(place..<min(bytes.count, place + 40))
        default: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
        }
    }

    @Test("Random bytes are refused or opened, never worse", arguments: [41, 42] as [UInt64])
    func noise(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let codec = try PlaneCodec()
        for _ in 0..<3000 {
            var bytes = generator.bytes(Int.random(in: 0...200, using: &generator))
            // A length that can be right, half of the time.
            if bytes.count > 5, Bool.random(using: &generator) { bytes.replaceSubrange(2..<5, with: [0, 0, 0]) }
            _ = try? codec.decode(bytes, base: [UInt8](repeating: 1, count: Int(bytes.first ?? 0)), room: 300)
        }
    }
}
