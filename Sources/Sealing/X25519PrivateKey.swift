internal import COpenSSL

/// The secret half of an X25519 key (RFC 7748). Any thread may use it.
package struct X25519PrivateKey: Sendable {
    /// The scalar as it is stored, before the bits are set that the RFC sets.
    package let secret: SecretKey
    /// The other half.
    package let publicKey: X25519PublicKey

    /// The key whose scalar is `secret`; every 32 bytes are one. Throws `libraryFailure`.
    package init(secret: SecretKey) throws(SealingError) {
        self.secret = secret
        let key = try unsafe Self.makeKey(secret)
        defer { unsafe EVP_PKEY_free(key) }
        var bytes = [UInt8](repeating: 0, count: X25519PublicKey.size)
        var count = bytes.count
        guard unsafe EVP_PKEY_get_raw_public_key(key, &bytes, &count) == 1, count == bytes.count else {
            throw .library("the public half of an X25519 key cannot be computed")
        }
        publicKey = try X25519PublicKey(bytes: bytes)
    }

    /// A new random key. Throws `libraryFailure`.
    package static func generate() throws(SealingError) -> X25519PrivateKey {
        try X25519PrivateKey(secret: SecretKey())
    }

    /// The 32 bytes that both sides compute; derive keys from them with `HKDF`, with both public keys in the info.
    ///
    /// - Throws: `invalidKey` when they would be all zero, which a point of small order brings about.
    package func sharedSecret(with peer: X25519PublicKey) throws(SealingError) -> [UInt8] {
        let own = try unsafe Self.makeKey(secret)
        defer { unsafe EVP_PKEY_free(own) }
        guard let other = unsafe EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nil, peer.bytes, peer.bytes.count) else {
            throw .library("the public key cannot be used", code: .invalidKey)
        }
        defer { unsafe EVP_PKEY_free(other) }
        let context = unsafe EVP_PKEY_CTX_new(own, nil)
        defer { unsafe EVP_PKEY_CTX_free(context) }
        var shared = [UInt8](repeating: 0, count: 32)
        var count = shared.count
        guard unsafe EVP_PKEY_derive_init(context) == 1, unsafe EVP_PKEY_derive_set_peer(context, other) == 1,
            unsafe EVP_PKEY_derive(context, &shared, &count) == 1, count == shared.count,
            shared.contains(where: { $0 != 0 })
        else { throw .library("no secret can be shared with that public key", code: .invalidKey) }
        return shared
    }

    private static func makeKey(_ secret: SecretKey) throws(SealingError) -> OpaquePointer {
        let key = unsafe secret.withBytes { raw in
            let bytes = unsafe raw.baseAddress?.assumingMemoryBound(to: UInt8.self)
            return unsafe EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nil, bytes, raw.count)
        }
        guard let key = unsafe key else { throw .library("an X25519 key cannot be set up") }
        return unsafe key
    }
}
