import Basics
import Sealing
import Testing

@Suite("Elliptic-curve signatures")
struct ECKeyTests {
    struct Pair: Sendable, CustomTestStringConvertible {
        var testDescription: String { curve.rawValue }
        var privatePEM: String
        var passphrase: String?
        var publicPEM: String
        var curve: ECCurve
        /// By another program, over `ECFixtures.message`.
        var signature: String
    }

    static let pairs = [
        Pair(
            privatePEM: ECFixtures.p256, publicPEM: ECFixtures.p256Public, curve: .p256,
            signature: ECFixtures.p256Signature),
        Pair(
            privatePEM: ECFixtures.p384SEC1, publicPEM: ECFixtures.p384Public, curve: .p384,
            signature: ECFixtures.p384Signature),
        Pair(
            privatePEM: ECFixtures.p521Encrypted, passphrase: ECFixtures.p521Passphrase,
            publicPEM: ECFixtures.p521Public, curve: .p521, signature: ECFixtures.p521Signature),
    ]

    @Test("What it signs verifies under the public half, whose PEM is what openssl writes", arguments: pairs)
    func roundTrip(pair: Pair) throws {
        let signing = try ECSigningKey(pem: pair.privatePEM, passphrase: pair.passphrase)
        #expect(signing.curve == pair.curve)
        #expect(signing.publicKeyPEM == pair.publicPEM)
        let verifying = try ECVerifyingKey(pem: signing.publicKeyPEM)
        #expect(verifying.curve == pair.curve)
        for message in [ECFixtures.message, [], [UInt8](repeating: 1, count: 100_000)] {
            let signature = try signing.sign(message)
            #expect(verifying.verify(signature: signature, message: message))
            #expect(!verifying.verify(signature: signature, message: message + [0]))
        }
        for other in Self.pairs where other.curve != pair.curve {
            let signature = try signing.sign(ECFixtures.message)
            #expect(try !ECVerifyingKey(pem: other.publicPEM).verify(signature: signature, message: ECFixtures.message))
        }
    }

    @Test("Signatures of another program verify, with the curve's own hash; changed ones do not", arguments: pairs)
    func interoperability(pair: Pair) throws {
        let key = try ECVerifyingKey(pem: pair.publicPEM)
        let signature = try #require(Hex.decode(pair.signature))
        #expect(key.verify(signature: signature, message: ECFixtures.message))
        for index in signature.indices {
            var changed = signature
            changed[index] ^= 1
            #expect(!key.verify(signature: changed, message: ECFixtures.message), "byte \(index)")
        }
        #expect(!key.verify(signature: [], message: ECFixtures.message))
        #expect(!key.verify(signature: signature + [0], message: ECFixtures.message))
    }

    /// A text that must not pass for a key, under a name for the log.
    struct Refused: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var pem: String
        var passphrase: String?

        init(_ name: String, _ pem: String, passphrase: String? = nil) {
            testDescription = name
            self.pem = pem
            self.passphrase = passphrase
        }
    }

    @Test(
        "What is no private key on one of the curves is refused, without asking anybody for a passphrase",
        arguments: [
            Refused("nothing", ""), Refused("no PEM", "no PEM at all"), Refused("public", ECFixtures.p256Public),
            Refused("other curve", ECFixtures.secp256k1), Refused("other algorithm", ECFixtures.ed25519),
            Refused("passphrase missing", ECFixtures.p521Encrypted),
            Refused("passphrase empty", ECFixtures.p521Encrypted, passphrase: ""),
            Refused("passphrase wrong", ECFixtures.p521Encrypted, passphrase: "wrong"),
            Refused("passphrase huge", ECFixtures.p521Encrypted, passphrase: String(repeating: "x", count: 5000)),
            Refused("truncated", String(ECFixtures.p256.dropLast(60))),
            Refused("huge", String(repeating: "x", count: 2 << 20)),
        ])
    func refusedPrivate(refused: Refused) {
        let error = #expect(throws: SealingError.self) {
            try ECSigningKey(pem: refused.pem, passphrase: refused.passphrase)
        }
        #expect(error?.code == .invalidKey)
        #expect(error?.message.contains(String(ECFixtures.p521Encrypted.dropFirst(40).prefix(20))) == false)
    }

    @Test(
        "What is no public key on one of the curves is refused",
        arguments: [
            Refused("nothing", ""), Refused("no PEM", "no PEM at all"), Refused("private", ECFixtures.p256),
            Refused("truncated", String(ECFixtures.p256Public.dropLast(40))),
        ])
    func refusedPublic(refused: Refused) {
        let error = #expect(throws: SealingError.self) { try ECVerifyingKey(pem: refused.pem) }
        #expect(error?.code == .invalidKey)
    }

    /// A wrong passphrase leaves several errors in the library's queue, a text that is no PEM leaves another.
    @Test("An error reports all of its own reasons and none of an earlier one's")
    func errorsAreDrained() throws {
        let verifying = try ECVerifyingKey(pem: ECFixtures.p256Public)
        let message = ECFixtures.message
        func messages(verifyingBetween: Bool) -> [String?] {
            let encrypted = #expect(throws: SealingError.self) {
                try ECSigningKey(pem: ECFixtures.p521Encrypted, passphrase: "wrong")
            }
            let nothing = #expect(throws: SealingError.self) { try ECSigningKey(pem: "nothing", passphrase: "wrong") }
            if verifyingBetween {
                #expect(!verifying.verify(signature: [0x30, 0x80, 1], message: message))
                #expect(!verifying.verify(signature: [0x30, 0x06, 2, 1, 0, 2, 1, 0], message: message))
            }
            let other = #expect(throws: SealingError.self) { try ECVerifyingKey(pem: ECFixtures.secp256k1) }
            return [encrypted?.message, nothing?.message, other?.message]
        }
        let first = messages(verifyingBetween: false)
        #expect(Set(first).count == 3, "\(first)")
        #expect(messages(verifyingBetween: true) == first)
    }
}
