import Basics
import Sealing
import Testing

@Suite("X25519")
struct X25519Tests {
    private func privateKey(_ hex: String) throws -> X25519PrivateKey {
        try X25519PrivateKey(secret: SecretKey(bytes: #require(Hex.decode(hex))))
    }

    private func publicKey(_ hex: String) throws -> X25519PublicKey {
        try X25519PublicKey(bytes: #require(Hex.decode(hex)))
    }

    @Test("RFC 7748, section 6.1: both sides compute the same")
    func keyAgreement() throws {
        let alice = try privateKey("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
        let bob = try privateKey("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
        #expect(
            Hex.encode(alice.publicKey.bytes) == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
        #expect(
            Hex.encode(bob.publicKey.bytes) == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
        let shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
        #expect(try Hex.encode(alice.sharedSecret(with: bob.publicKey)) == shared)
        #expect(try Hex.encode(bob.sharedSecret(with: alice.publicKey)) == shared)
    }

    @Test(
        "RFC 7748, section 5.2: scalar, u-coordinate and product",
        arguments: [
            (
                "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
                "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
                "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
            ),
            (
                "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
                "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
                "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"
            ),
        ])
    func multiplication(scalar: String, point: String, product: String) throws {
        #expect(try Hex.encode(privateKey(scalar).sharedSecret(with: publicKey(point))) == product)
    }

    @Test(
        "Points of small order are refused: the secret would be all zero",
        arguments: [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ])
    func smallOrder(point: String) throws {
        let error = #expect(throws: SealingError.self) {
            try X25519PrivateKey.generate().sharedSecret(with: publicKey(point))
        }
        #expect(error?.code == .invalidKey)
    }

    @Test("New keys differ and agree; the stored scalar makes the same key again")
    func generation() throws {
        let first = try X25519PrivateKey.generate()
        let second = try X25519PrivateKey.generate()
        #expect(first.publicKey != second.publicKey)
        #expect(try first.sharedSecret(with: second.publicKey) == second.sharedSecret(with: first.publicKey))
        let stored = first.secret.withBytes { Array($0) }
        #expect(try X25519PrivateKey(secret: SecretKey(bytes: stored)).publicKey == first.publicKey)
        for count in [0, 31, 33] {
            let error = #expect(throws: SealingError.self) {
                try X25519PublicKey(bytes: [UInt8](repeating: 9, count: count))
            }
            #expect(error?.code == .invalidKey)
        }
    }
}
