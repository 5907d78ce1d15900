internal import COpenSSL

/// An elliptic-curve private key that signs. Any thread may use it.
package struct ECSigningKey: Sendable {
    private let handle: ECKeyHandle
    /// The public half as SubjectPublicKeyInfo in PEM, with the newline at its end: what an outsider verifies with.
    package let publicKeyPEM: String

    /// Its curve, which also says the hash: SHA-256, SHA-384 or SHA-512.
    package var curve: ECCurve { handle.curve }

    /// Reads a private key from PEM: PKCS #8, encrypted or not, or the older SEC 1 form.
    ///
    /// - Throws: `invalidKey` when there is none in it, the passphrase is wrong or missing, or the curve is another.
    package init(pem: [UInt8], passphrase: [UInt8]? = nil) throws(SealingError) {
        handle = try ECKeyHandle(privatePEM: pem, passphrase: passphrase)
        publicKeyPEM = try handle.publicKeyPEM()
    }

    /// Reads a private key from PEM text. See the other form.
    package init(pem: String, passphrase: String? = nil) throws(SealingError) {
        try self.init(pem: Array(pem.utf8), passphrase: passphrase.map { Array($0.utf8) })
    }

    /// The ECDSA signature of `message`, in DER. It is another each time. Throws `libraryFailure`.
    package func sign(_ message: [UInt8]) throws(SealingError) -> [UInt8] {
        let context = unsafe EVP_MD_CTX_new()
        defer { unsafe EVP_MD_CTX_free(context) }
        // Two integers of at most 66 bytes, each with a header of at most 4, in a sequence with one: 143 bytes for P-521.
        var signature = [UInt8](repeating: 0, count: 256)
        var count = signature.count
        guard unsafe EVP_DigestSignInit(context, nil, curve.digest, nil, handle.key) == 1,
            unsafe EVP_DigestSign(context, &signature, &count, message, message.count) == 1
        else { throw .library("the message cannot be signed") }
        signature.removeLast(signature.count - count)
        return signature
    }
}
