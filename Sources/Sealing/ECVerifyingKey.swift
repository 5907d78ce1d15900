internal import COpenSSL

/// An elliptic-curve public key that checks signatures. Any thread may use it.
package struct ECVerifyingKey: Sendable {
    private let handle: ECKeyHandle

    /// Its curve, which also says the hash: SHA-256, SHA-384 or SHA-512.
    package var curve: ECCurve { handle.curve }

    /// Reads a SubjectPublicKeyInfo from PEM. Throws `invalidKey` when there is none in it, or the curve is another.
    package init(pem: [UInt8]) throws(SealingError) {
        handle = try ECKeyHandle(publicPEM: pem)
    }

    /// Reads a SubjectPublicKeyInfo from PEM text. See the other form.
    package init(pem: String) throws(SealingError) {
        try self.init(pem: Array(pem.utf8))
    }

    /// Whether `signature` (ECDSA in DER) is this key's for `message`. One that cannot be parsed is not.
    package func verify(signature: [UInt8], message: [UInt8]) -> Bool {
        let context = unsafe EVP_MD_CTX_new()
        defer { unsafe EVP_MD_CTX_free(context) }
        defer { SealingError.drainLibraryErrors() }
        guard unsafe EVP_DigestVerifyInit(context, nil, curve.digest, nil, handle.key) == 1 else { return false }
        return unsafe EVP_DigestVerify(context, signature, signature.count, message, message.count) == 1
    }
}
