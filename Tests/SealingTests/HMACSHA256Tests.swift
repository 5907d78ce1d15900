import Basics
import Sealing
import Testing

@Suite("HMAC-SHA-256")
struct HMACSHA256Tests {
    struct Vector: Sendable {
        var key: [UInt8]
        var data: [UInt8]
        var mac: String
    }

    /// RFC 4231, sections 4.2 to 4.8 without the truncated one.
    static let vectors = [
        Vector(
            key: [UInt8](repeating: 0x0b, count: 20), data: Array("Hi There".utf8),
            mac: "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        Vector(
            key: Array("Jefe".utf8), data: Array("what do ya want for nothing?".utf8),
            mac: "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        Vector(
            key: [UInt8](repeating: 0xaa, count: 20), data: [UInt8](repeating: 0xdd, count: 50),
            mac: "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
        Vector(
            key: Array(1...25), data: [UInt8](repeating: 0xcd, count: 50),
            mac: "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
        Vector(
            key: [UInt8](repeating: 0xaa, count: 131),
            data: Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8),
            mac: "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
        Vector(
            key: [UInt8](repeating: 0xaa, count: 131),
            data: Array(
                ("This is a test using a larger than block-size key and a larger than block-size data. "
                    + "The key needs to be hashed before being used by the HMAC algorithm.").utf8),
            mac: "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"),
    ]

    @Test("RFC 4231", arguments: vectors)
    func published(vector: Vector) {
        let hmac = HMACSHA256(key: vector.key)
        #expect(hmac.authenticate(vector.data).description == vector.mac)
        #expect(hmac.authenticate(vector.data).description == vector.mac, "the keyed states are not used up")
    }

    @Test("A digest is authenticated as its 32 bytes are, with a key of either kind")
    func digests() throws {
        var generator = SeededGenerator(seed: 4)
        let key = generator.bytes(32)
        let digest = SHA256State.digest(of: generator.bytes(100))
        let expected = HMACSHA256(key: key).authenticate(digest.bytes)
        #expect(HMACSHA256(key: key).authenticate(digest) == expected)
        #expect(HMACSHA256(key: try SecretKey(bytes: key)).authenticate(digest) == expected)
        #expect(HMACSHA256(key: generator.bytes(32)).authenticate(digest) != expected)
    }

    @Test("Comparison sees a difference anywhere")
    func comparison() throws {
        let bytes: [UInt8] = Array(0..<32)
        let digest = try #require(Digest(bytes: bytes))
        #expect(HMACSHA256.equal(digest, digest))
        #expect(HMACSHA256.equal(bytes, bytes))
        #expect(!HMACSHA256.equal(bytes, Array(bytes.dropLast())))
        for index in bytes.indices {
            var other = bytes
            other[index] ^= 0x80
            #expect(!HMACSHA256.equal(digest, try #require(Digest(bytes: other))))
            #expect(!HMACSHA256.equal(bytes, other))
        }
    }
}
