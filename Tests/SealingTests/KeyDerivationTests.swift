import Basics
import Sealing
import Testing

@Suite("Key derivation")
struct KeyDerivationTests {
    struct HKDFVector: Sendable {
        var secret: [UInt8]
        var salt: [UInt8]
        var info: [UInt8]
        var output: String
    }

    /// RFC 5869, appendix A.1 to A.3.
    static let hkdfVectors = [
        HKDFVector(
            secret: [UInt8](repeating: 0x0b, count: 22), salt: Array(0...0x0c), info: Array(0xf0...0xf9),
            output: "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"),
        HKDFVector(
            secret: Array(0...0x4f), salt: Array(0x60...0xaf), info: Array(0xb0...0xff),
            output: "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
                + "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"),
        HKDFVector(
            secret: [UInt8](repeating: 0x0b, count: 22), salt: [], info: [],
            output: "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"),
    ]

    @Test("HKDF: RFC 5869", arguments: hkdfVectors)
    func hkdf(vector: HKDFVector) {
        let count = vector.output.count / 2
        let derived = HKDF.derive(secret: vector.secret, salt: vector.salt, info: vector.info, count: count)
        #expect(Hex.encode(derived) == vector.output)
        let shorter = HKDF.derive(secret: vector.secret, salt: vector.salt, info: vector.info, count: 33)
        #expect(Array(derived.prefix(33)) == shorter)
    }

    @Test("HKDF gives up to 255 blocks")
    func hkdfLimit() {
        let most = HKDF.derive(secret: [1], salt: [2], info: [3], count: HKDF.maximumCount)
        #expect(most.count == 8160)
        #expect(HKDF.derive(secret: [1], salt: [2], info: [3], count: 0) == [])
        #expect(Set(stride(from: 0, to: most.count, by: 32).map { Array(most[$0..<$0 + 32]) }).count == 255)
    }

    @Test("scrypt: RFC 7914, section 12, up to 16 MiB")
    func scrypt() throws {
        #expect(
            try Hex.encode(Scrypt.derive(passphrase: [], salt: [], n: 16, r: 1, p: 1, count: 64))
                == "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442"
                + "fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906")
        #expect(
            try Hex.encode(
                Scrypt.derive(
                    passphrase: Array("password".utf8), salt: Array("NaCl".utf8), n: 1024, r: 8, p: 16, count: 64))
                == "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
                + "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640")
        #expect(
            try Hex.encode(
                Scrypt.derive(
                    passphrase: Array("pleaseletmein".utf8), salt: Array("SodiumChloride".utf8), n: 16384, r: 8, p: 1,
                    count: 64))
                == "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
                + "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887")
    }

    @Test("scrypt takes the memory that real parameters need: 64 MiB, over the library's own limit")
    func scryptMemory() throws {
        let derived = try Scrypt.derive(passphrase: [1], salt: [2], n: 1 << 16, r: 8, p: 1, count: 32)
        #expect(derived.count == 32)
        #expect(derived != [UInt8](repeating: 0, count: 32))
    }

    @Test(
        "scrypt parameters that a hostile key slot may hold are refused at once",
        arguments: [
            (0, 8, 1), (1, 8, 1), (3, 8, 1), (1 << 21, 8, 1), (UInt64.max, 8, 1), (1 << 63, 8, 1), (1024, 0, 1),
            (1024, 33, 1), (1024, 8, 0), (1024, 8, 17), (1 << 20, 32, 1), (1 << 16, 1, 1), (1024, UInt64.max, 1),
            (1024, 8, UInt64.max),
        ] as [(UInt64, UInt64, UInt64)])
    func scryptBounds(n: UInt64, r: UInt64, p: UInt64) {
        let error = #expect(throws: SealingError.self) {
            try Scrypt.derive(passphrase: [1], salt: [2], n: n, r: r, p: p, count: 32)
        }
        #expect(error?.code == .invalidParameters)
    }
}
