import Basics
import Sealing
import Testing

@Suite("SHA-256")
struct SHA256StateTests {
    @Test(
        "Published vectors (FIPS 180-4 examples)",
        arguments: [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
            ),
        ])
    func vectors(text: String, hex: String) {
        #expect(SHA256State.digest(of: Array(text.utf8)).description == hex)
    }

    @Test("A million letters, in pieces of uneven size")
    func million() {
        var state = SHA256State()
        var left = 1_000_000
        var piece = 1
        while left > 0 {
            let count = min(piece, left)
            state.update([UInt8](repeating: 0x61, count: count))
            left -= count
            piece = piece * 3 % 70_001 + 1
        }
        #expect(
            state.finish().description == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
        #expect(state.finish() == SHA256State.digest(of: []), "a finished state begins anew")
    }

    @Test("A copy goes its own way")
    func valueSemantics() {
        var first = SHA256State()
        first.update([1, 2, 3])
        var second = first
        second.update([4])
        #expect(first.finish() == SHA256State.digest(of: [1, 2, 3]))
        #expect(second.finish() == SHA256State.digest(of: [1, 2, 3, 4]))
    }

    @Test("An exported state goes on as the original would", arguments: [1, 2, 77] as [UInt64])
    func export(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        for blocks in [0, 1, 2, 100] {
            let head = generator.bytes(blocks * 64)
            let tail = generator.bytes(Int.random(in: 0..<200, using: &generator))
            var state = SHA256State()
            state.update(head)
            let exported = try #require(state.exported)
            #expect(exported.count == SHA256State.exportedSize)
            var resumed = try #require(SHA256State(exported: exported))
            #expect(resumed.exported == exported)
            resumed.update(tail)
            #expect(resumed.finish() == SHA256State.digest(of: head + tail))
        }
    }

    @Test("The exported form is fixed: initial words, then the length in bytes, big-endian")
    func exportedForm() throws {
        let initial = "6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19"
        #expect(SHA256State().exported == Hex.decode(initial + "0000000000000000"))
        // FIPS 180-4 has no vector for it; the state after 64 zero bytes is from an independent implementation.
        var state = SHA256State()
        state.update([UInt8](repeating: 0, count: 64))
        #expect(
            state.exported
                == Hex.decode("da5698be17b9b46962335799779fbeca8ce5d491c0d26243bafef9ea1837a9d8" + "0000000000000040"))
    }

    @Test("Only a multiple of 64 bytes can be exported, only such a state is taken back")
    func exportRefused() throws {
        var state = SHA256State()
        state.update([1])
        #expect(state.exported == nil)
        let good = try #require(SHA256State().exported)
        #expect(SHA256State(exported: Array(good.dropLast())) == nil)
        #expect(SHA256State(exported: good + [0]) == nil)
        #expect(SHA256State(exported: good.dropLast() + [63]) == nil, "63 bytes are no whole block")
        #expect(SHA256State(exported: good.prefix(32) + [0x20, 0, 0, 0, 0, 0, 0, 0]) == nil, "over 2^64 bits")
        #expect(SHA256State(exported: good.prefix(32) + [0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc0]) != nil)
    }

    @Test("A length over 2^32 bits is kept")
    func longLength() throws {
        let good = try #require(SHA256State().exported)
        let long = Array(good.prefix(32)) + [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xc0]
        let state = try #require(SHA256State(exported: long))
        #expect(state.exported == long)
    }

    @Test("Two states at once go where each would go alone", arguments: 1...20 as ClosedRange<UInt64>)
    func pairs(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var left = (pair: SHA256State(), alone: SHA256State())
        var right = left
        for _ in 0..<20 {
            let limit = [1, 63, 64, 65, 130, 1000, 70_000].randomElement(using: &generator) ?? 1
            let first = generator.bytes(Int.random(in: 0...limit, using: &generator))
            let second =
                Bool.random(using: &generator)
                ? first : generator.bytes(Int.random(in: 0...limit, using: &generator))
            first.withUnsafeBytes { first in
                second.withUnsafeBytes { second in
                    SHA256State.update(&left.pair, first, &right.pair, second)
                    left.alone.update(first)
                    right.alone.update(second)
                }
            }
            #expect(left.pair.exported == left.alone.exported)
            #expect(right.pair.exported == right.alone.exported)
        }
        #expect(left.pair.finish() == left.alone.finish())
        #expect(right.pair.finish() == right.alone.finish())
    }

    @Test("Many messages at once have the digests that each has alone", arguments: 0...9)
    func many(count: Int) {
        var generator = SeededGenerator(seed: UInt64(count))
        let messages = (0..<count).map { _ in generator.bytes(Int.random(in: 0...5000, using: &generator)) }
        let buffers = messages.map { message in
            let buffer = Buffer(message)
            return buffer
        }
        let pieces = buffers.map { buffer -> [UnsafeRawBufferPointer] in
            var pieces: [UnsafeRawBufferPointer] = []
            var start = 0
            while start < buffer.count {
                let end = min(buffer.count, start + Int.random(in: 0...700, using: &generator))
                pieces.append(UnsafeRawBufferPointer(rebasing: buffer.bytes[start..<end]))
                start = end
            }
            return pieces
        }
        withExtendedLifetime(buffers) {
            #expect(SHA256State.digests(of: pieces) == messages.map { SHA256State.digest(of: $0) })
        }
    }

    @Test("A pair counts beyond 2^32 bits")
    func pairCounts() throws {
        let good = try #require(SHA256State().exported)
        let long = Array(good.prefix(32)) + [0, 0, 0, 0, 0x1f, 0xff, 0xff, 0xc0]
        var left = try #require(SHA256State(exported: long))
        var alone = left
        var right = SHA256State()
        let block = [UInt8](repeating: 7, count: 128)
        block.withUnsafeBytes { SHA256State.update(&left, $0, &right, $0) }
        alone.update(block)
        #expect(left.exported == alone.exported)
        #expect(left.exported?.suffix(8) == [0, 0, 0, 0, 0x20, 0, 0, 0x40])
    }
}
