import Basics
import Sealing
import Testing

@Suite("AES-256-GCM")
struct AES256GCMTests {
    private func zeroKey() throws -> SecretKey { try SecretKey(bytes: [UInt8](repeating: 0, count: 32)) }

    @Test("Published vectors (McGrew and Viega, test cases 13 and 14: key, IV and text of zeros)")
    func published() throws {
        let cipher = try AES256GCM(key: zeroKey())
        #expect(
            try cipher.seal(nonce: 0, context: [], []) == Hex.decode("530f8afbc74536b9a963b4f1c4cb738b"))
        #expect(
            try cipher.seal(nonce: 0, context: [], [UInt8](repeating: 0, count: 16))
                == Hex.decode("cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"))
    }

    /// The key and context of test case 16; the bytes were computed by another program from the IV spelt out.
    @Test("The nonce is four zero bytes and the number big-endian")
    func nonceLayout() throws {
        let key = try #require(
            Hex.decode("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"))
        let context = try #require(Hex.decode("feedfacedeadbeeffeedfacedeadbeefabaddad2"))
        let cipher = try AES256GCM(key: SecretKey(bytes: key))
        #expect(
            try cipher.seal(nonce: 0x0102_0304_0506_0708, context: context, Array("becalmed".utf8))
                == Hex.decode("0ae3c96c447b242f74f3438f8fd533fc1cb5097857d878b2"))
    }

    @Test(
        "What is sealed in pieces is opened whole, whichever way the same cipher worked before",
        arguments: [11, 12, 13] as [UInt64])
    func roundTrip(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let cipher = try AES256GCM(key: SecretKey())
        for count in [0, 1, 15, 16, 17, 1000, 70_001] {
            let text = generator.bytes(count)
            let context = generator.bytes(Int.random(in: 0..<40, using: &generator))
            let nonce = generator.next()
            let cut = Int.random(in: 0...count, using: &generator)
            var output = [UInt8](repeating: 0, count: count + AES256GCM.tagSize + 3)
            let written = try text.withUnsafeBytes { text in
                try context.withUnsafeBytes { context in
                    try output.withUnsafeMutableBytes { output in
                        try cipher.seal(
                            nonce: nonce, context: context,
                            pieces: [
                                UnsafeRawBufferPointer(rebasing: text[..<cut]),
                                UnsafeRawBufferPointer(start: nil, count: 0),
                                UnsafeRawBufferPointer(rebasing: text[cut...]),
                            ], into: output)
                    }
                }
            }
            #expect(written == count + AES256GCM.tagSize)
            let sealed = Array(output.prefix(written))
            #expect(try cipher.seal(nonce: nonce, context: context, text) == sealed)
            #expect(try cipher.open(nonce: nonce, context: context, sealed) == text)
            if count > 0 { #expect(try cipher.seal(nonce: nonce &+ 1, context: context, text) != sealed) }
        }
    }

    @Test("Opens where the sealed bytes lie")
    func inPlace() throws {
        let cipher = try AES256GCM(key: SecretKey())
        let text = Array("stays where it is".utf8)
        var memory = try cipher.seal(nonce: 3, context: [], text)
        let count = try memory.withUnsafeMutableBytes { memory in
            try cipher.open(
                nonce: 3, context: UnsafeRawBufferPointer(start: nil, count: 0), sealed: UnsafeRawBufferPointer(memory),
                into: memory)
        }
        #expect(Array(memory.prefix(count)) == text)
    }

    @Test("Any changed bit, nonce, context, length or key is refused, and nothing of the text is left")
    func refused() throws {
        let key = SecretKey()
        let cipher = try AES256GCM(key: key)
        let text = Array("nothing of this may be seen".utf8)
        let context: [UInt8] = [1, 2, 3]
        let sealed = try cipher.seal(nonce: 9, context: context, text)

        func check(_ nonce: UInt64, _ context: [UInt8], _ sealed: [UInt8], with cipher: AES256GCM) throws {
            var output = [UInt8](repeating: 0xee, count: sealed.count)
            let error = #expect(throws: SealingError.self) {
                try sealed.withUnsafeBytes { sealed in
                    try context.withUnsafeBytes { context in
                        try output.withUnsafeMutableBytes { output in
                            _ = try cipher.open(nonce: nonce, context: context, sealed: sealed, into: output)
                        }
                    }
                }
            }
            #expect(error?.code == .authenticationFailed)
            let textSize = max(sealed.count - AES256GCM.tagSize, 0)
            if sealed.count >= AES256GCM.tagSize {
                #expect(output.prefix(textSize).allSatisfy { $0 == 0 }, "the text is wiped")
            }
            #expect(output.dropFirst(textSize).allSatisfy { $0 == 0xee }, "the rest is untouched")
        }

        for index in sealed.indices {
            var changed = sealed
            changed[index] ^= 1 << UInt8(index % 8)
            try check(9, context, changed, with: cipher)
        }
        try check(10, context, sealed, with: cipher)
        try check(9, [1, 2], sealed, with: cipher)
        try check(9, [], sealed, with: cipher)
        try check(9, context, Array(sealed.dropLast()), with: cipher)
        try check(9, context, sealed + [0], with: cipher)
        try check(9, context, [], with: cipher)
        try check(9, context, Array(sealed.prefix(15)), with: cipher)
        try check(9, context, sealed, with: try AES256GCM(key: SecretKey()))
        #expect(try cipher.open(nonce: 9, context: context, sealed) == text, "a failure does not spoil the cipher")
    }

    @Test("Too little room is refused before anything is written")
    func noRoom() throws {
        let cipher = try AES256GCM(key: SecretKey())
        let text: [UInt8] = [1, 2, 3]
        for room in [0, 3, 18] {
            var output = [UInt8](repeating: 0xee, count: room)
            let error = #expect(throws: SealingError.self) {
                try text.withUnsafeBytes { text in
                    try output.withUnsafeMutableBytes { output in
                        _ = try cipher.seal(
                            nonce: 1, context: UnsafeRawBufferPointer(start: nil, count: 0), pieces: [text],
                            into: output)
                    }
                }
            }
            #expect(error?.code == .invalidParameters)
            #expect(output.allSatisfy { $0 == 0xee })
        }
        let sealed = try cipher.seal(nonce: 1, context: [], text)
        var small: [UInt8] = [0, 0]
        let error = #expect(throws: SealingError.self) {
            try sealed.withUnsafeBytes { sealed in
                try small.withUnsafeMutableBytes { small in
                    _ = try cipher.open(
                        nonce: 1, context: UnsafeRawBufferPointer(start: nil, count: 0), sealed: sealed, into: small)
                }
            }
        }
        #expect(error?.code == .invalidParameters)
    }
}
