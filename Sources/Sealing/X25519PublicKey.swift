/// A point that others may know (RFC 7748, curve25519): what is sealed to it only the private key opens.
package struct X25519PublicKey: Hashable, Sendable {
    /// Bytes in a key.
    package static let size = 32

    /// The u-coordinate, little-endian.
    package let bytes: [UInt8]

    /// The key of exactly 32 `bytes`. Throws `invalidKey` for another length; every value of them is a key.
    package init(bytes: [UInt8]) throws(SealingError) {
        guard bytes.count == Self.size else {
            throw SealingError(.invalidKey, "an X25519 public key has \(Self.size) bytes, not \(bytes.count)")
        }
        self.bytes = bytes
    }
}
