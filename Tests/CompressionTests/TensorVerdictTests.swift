import Compression
import Testing

@Suite("Verdicts on tensors")
struct TensorVerdictTests {
    private let weights = TestTensors.weights(.bfloat16, 16 << 10, seed: 1)
    private let noise = TestData.random(32 << 10, seed: 2)

    /// Samples are taken of chunks 0, 2, 5, 10, 19, 36 and 68 when nothing changes.
    private static let chunksUntilSteady = 37

    @Test("What does not pay is not tried for one chunk, then for two, four and so on to 31")
    func negative() throws {
        let codec = try PlaneCodec()
        let verdict = TensorVerdict(elements: .bfloat16)
        #expect(try codec.encode([noise], verdict) == nil)
        #expect(try codec.encode([weights], verdict) == nil)
        #expect(try codec.encode([noise], verdict) == nil)
        #expect(try codec.encode([weights], verdict) == nil)
        #expect(try codec.encode([weights], verdict) == nil)
        #expect(try codec.encode([weights], verdict) != nil)
        let steady = TensorVerdict(elements: .bfloat16)
        for _ in 0..<Self.chunksUntilSteady { #expect(try codec.encode([noise], steady) == nil) }
        for _ in 1..<TensorVerdict.chunksPerTest { #expect(try codec.encode([weights], steady) == nil) }
        #expect(try codec.encode([weights], steady) != nil)
    }

    @Test("A plan is kept for 32 chunks at last: what the sample would have found is found then")
    func positive() throws {
        let codec = try PlaneCodec()
        let verdict = TensorVerdict(elements: .bfloat16)
        // The exponent is the one byte in common: the low plane is noise here and has few values there.
        let better = weights.indices.map { $0 % 2 == 0 ? UInt8($0 / 2 % 3) : weights[$0] }
        let alone = try #require(try codec.encode([better], TensorVerdict(elements: .bfloat16))).count
        for _ in 0..<Self.chunksUntilSteady { #expect(try codec.encode([weights], verdict) != nil) }
        for _ in 1..<TensorVerdict.chunksPerTest {
            #expect(try #require(try codec.encode([better], verdict)).count > alone + 8_000)
        }
        #expect(try codec.encode([better], verdict)?.count == alone)
    }

    @Test("One chunk that does not pay among others stops the tries for one chunk only")
    func disappointment() throws {
        let codec = try PlaneCodec()
        let verdict = TensorVerdict(elements: .bfloat16)
        for _ in 0..<Self.chunksUntilSteady { #expect(try codec.encode([weights], verdict) != nil) }
        #expect(try codec.encode([noise], verdict) == nil)
        #expect(try codec.encode([weights], verdict) == nil)
        #expect(try codec.encode([weights], verdict) != nil)
    }

    @Test("A plan that does not pay any more is replaced at once")
    func replaced() throws {
        let codec = try PlaneCodec()
        let verdict = TensorVerdict(elements: nil)
        #expect(try codec.encode([weights], verdict) != nil)
        // The same numbers, one byte later: the plan's planes do not suit.
        let shifted = [0] + weights.dropLast()
        let encoded = try #require(try codec.encode([shifted], at: 0, verdict))
        #expect(try PlaneReader.Head(encoded).phase == 1)
        #expect(try codec.decode(encoded, room: shifted.count) == shifted)
    }

    @Test("Where nothing is known, what does not pay says nothing of the next chunk")
    func unknown() throws {
        let codec = try PlaneCodec()
        let verdict = TensorVerdict(elements: nil)
        #expect(try codec.encode([noise], verdict) == nil)
        #expect(try codec.encode([weights], verdict) != nil)
        #expect(try codec.encode([noise], verdict) == nil)
        #expect(try codec.encode([weights], verdict) != nil)
    }

    @Test("Where the first chunk was found to begin, later ones are placed by their offset")
    func anchor() throws {
        let codec = try PlaneCodec()
        let verdict = TensorVerdict(elements: nil)
        // A header of 1001 bytes, then the tensor; chunks of odd lengths.
        let file = [UInt8](repeating: 7, count: 1001) + TestTensors.weights(.bfloat16, 100_000, seed: 3)
        var offset = 1001
        for count in [30_001, 40_003, 50_000, 60_001] {
            let chunk = Array(file[offset..<offset + count])
            let encoded = try #require(try codec.encode([chunk], at: offset, verdict))
            #expect(try PlaneReader.Head(encoded).phase == (offset + 1) % 2)
            #expect(try codec.decode(encoded, room: count) == chunk)
            offset += count
        }
    }

    @Test("With a base and without are judged apart")
    func bases() throws {
        let codec = try PlaneCodec()
        let verdict = TensorVerdict(elements: .integer16)
        #expect(try codec.encode([noise], verdict) == nil)
        let next = TestTensors.stepped(noise, width: 2, share: 0.1, seed: 4)
        let encoded = try #require(try codec.encode([next], base: [noise], verdict))
        #expect(try codec.decode(encoded, base: noise, room: next.count) == next)
        #expect(try codec.encode([weights], verdict) == nil, "what was found without a base still holds")
    }

    @Test("Only widths that can be taken apart make a layout")
    func widths() {
        for width in -1...9 {
            #expect((ElementLayout(width: width, isFloatingPoint: false) != nil) == [1, 2, 4, 8].contains(width))
        }
    }
}
