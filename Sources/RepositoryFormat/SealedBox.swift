internal import Basics
internal import Sealing

/// Bytes sealed to an X25519 public key under a fresh key pair: only the private key's holder opens them.
///
/// `ephemeral public key (32) ‖ AES-256-GCM(key, nonce 0, context, plaintext)` with
/// key = HKDF-SHA-256(secret: X25519(ephemeral, recipient), salt, info: label ‖ ephemeral ‖ recipient).
enum SealedBox {
    static let overhead = 32 + AES256GCM.tagSize

    static func seal(
        _ plaintext: [UInt8], to recipient: X25519PublicKey, salt: [UInt8], label: String, context: [UInt8]
    ) throws(SealingError) -> [UInt8] {
        let ephemeral = try X25519PrivateKey.generate()
        let shared = try ephemeral.sharedSecret(with: recipient)
        let publicKey = ephemeral.publicKey
        let key = try derive(shared, salt, label, publicKey, recipient)
        return publicKey.bytes + (try AES256GCM(key: key).seal(nonce: 0, context: context, plaintext))
    }

    static func open(
        _ sealed: [UInt8], with privateKey: X25519PrivateKey, salt: [UInt8], label: String, context: [UInt8]
    ) throws(SealingError) -> [UInt8] {
        guard sealed.count >= overhead else {
            throw SealingError(.authenticationFailed, "a sealed box of \(sealed.count) bytes is cut short")
        }
        let ephemeral = try X25519PublicKey(bytes: Array(sealed.prefix(32)))
        let shared = try privateKey.sharedSecret(with: ephemeral)
        let key = try derive(shared, salt, label, ephemeral, privateKey.publicKey)
        return try AES256GCM(key: key).open(nonce: 0, context: context, Array(sealed.dropFirst(32)))
    }

    private static func derive(
        _ shared: [UInt8], _ salt: [UInt8], _ label: String, _ ephemeral: X25519PublicKey, _ recipient: X25519PublicKey
    ) throws(SealingError) -> SecretKey {
        let info = Array(label.utf8) + ephemeral.bytes + recipient.bytes
        return try SecretKey(bytes: HKDF.derive(secret: shared, salt: salt, info: info, count: 32))
    }
}
