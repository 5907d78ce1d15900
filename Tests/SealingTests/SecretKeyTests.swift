import Sealing
import Testing

@Suite("Secret keys and randomness")
struct SecretKeyTests {
    @Test("A key holds the bytes it was given, and nothing else makes one")
    func bytes() throws {
        let bytes = [UInt8](1...32)
        #expect(try SecretKey(bytes: bytes).withBytes { Array($0) } == bytes)
        for count in [0, 31, 33] {
            let error = #expect(throws: SealingError.self) {
                try SecretKey(bytes: [UInt8](repeating: 7, count: count))
            }
            #expect(error?.code == .invalidKey)
        }
    }

    @Test("New keys and random bytes differ")
    func random() throws {
        let keys = Set((0..<8).map { _ in SecretKey().withBytes { Array($0) } })
        #expect(keys.count == 8)
        #expect(Set((0..<8).map { _ in SecureRandom.uint64() }).count == 8)
        #expect(try SecureRandom.bytes(0) == [])
        let many = try SecureRandom.bytes(100_000)
        #expect(many.count == 100_000)
        #expect(Set(many).count == 256, "every byte value occurs")
        #expect(throws: SealingError.self) { try SecureRandom.bytes(-1) }
    }

    @Test("A key's text tells nothing of its bytes")
    func noDescription() throws {
        let key = try SecretKey(bytes: [UInt8](repeating: 0xab, count: 32))
        #expect(String(describing: key) == "Sealing.SecretKey")
    }
}
