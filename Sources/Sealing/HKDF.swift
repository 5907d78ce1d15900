/// HKDF with SHA-256 (RFC 5869): keys from a secret that has enough entropy. For passphrases there is `Scrypt`.
package enum HKDF {
    /// Most bytes one derivation gives: 255 blocks of 32.
    package static let maximumCount = 255 * Digest.size

    /// Derives `count` bytes, at most `maximumCount` (more is a programmer's error).
    ///
    /// - Parameters:
    ///   - secret: the input key material.
    ///   - salt: need not be secret; empty stands for 32 zero bytes.
    ///   - info: tells apart what is derived from one secret.
    /// - Returns: a secret; wiping it is the caller's duty.
    package static func derive(secret: [UInt8], salt: [UInt8], info: [UInt8], count: Int) -> [UInt8] {
        precondition(count >= 0 && count <= maximumCount, "HKDF gives at most \(maximumCount) bytes, not \(count)")
        // Extract. HMAC pads a short key with zeros, so an empty salt is the RFC's default.
        let extracted = HMACSHA256(key: HMACSHA256(key: salt).authenticate(secret).bytes)
        // Expand: T(n) = HMAC(T(n - 1) | info | n).
        var derived: [UInt8] = []
        derived.reserveCapacity(count + Digest.size)
        var block: [UInt8] = []
        var counter: UInt8 = 1
        while derived.count < count {
            block = extracted.authenticate(block + info + [counter]).bytes
            derived += block
            counter &+= 1
        }
        derived.removeLast(derived.count - count)
        return derived
    }
}
