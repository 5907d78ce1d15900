internal import COpenSSL

/// One of the library's keys on one of our curves. It is never changed after the initialiser, and using it from
/// several threads at once is allowed then: `@unchecked Sendable`.
@safe
final class ECKeyHandle: @unchecked Sendable {
    /// The library's key, owned.
    let key: OpaquePointer
    /// Its curve.
    let curve: ECCurve

    /// Takes ownership of `key`. Throws `invalidKey` when it is on no curve of ours.
    private init(owning key: OpaquePointer) throws(SealingError) {
        var name = [CChar](repeating: 0, count: 64)
        var count = 0
        guard unsafe EVP_PKEY_get_group_name(key, &name, name.count, &count) == 1,
            let curve = ECCurve(
                groupName: String(decoding: name.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self))
        else {
            unsafe EVP_PKEY_free(key)
            throw .library("the key is not one of P-256, P-384 or P-521", code: .invalidKey)
        }
        unsafe self.key = key
        self.curve = curve
    }

    deinit { unsafe EVP_PKEY_free(key) }

    /// The private key in `pem`. Throws `invalidKey`.
    convenience init(privatePEM pem: [UInt8], passphrase: [UInt8]?) throws(SealingError) {
        let memory = try unsafe Self.makeMemory(pem)
        defer { unsafe BIO_free(memory) }
        // The callback is always ours: the library's own would ask on the terminal.
        let key = unsafe (passphrase ?? []).withUnsafeBytes { bytes in
            var loan = unsafe PassphraseLoan(bytes: bytes)
            return unsafe PEM_read_bio_PrivateKey(memory, nil, givePassphrase, &loan)
        }
        guard let key = unsafe key else {
            throw .library(
                passphrase == nil
                    ? "no private key can be read; if it is encrypted it needs its passphrase"
                    : "no private key can be read, or the passphrase is wrong", code: .invalidKey)
        }
        try unsafe self.init(owning: key)
    }

    /// The public key in `pem`. Throws `invalidKey`.
    convenience init(publicPEM pem: [UInt8]) throws(SealingError) {
        let memory = try unsafe Self.makeMemory(pem)
        defer { unsafe BIO_free(memory) }
        var nothing = unsafe PassphraseLoan(bytes: UnsafeRawBufferPointer(start: nil, count: 0))
        guard let key = unsafe PEM_read_bio_PUBKEY(memory, nil, givePassphrase, &nothing) else {
            throw .library("no public key can be read", code: .invalidKey)
        }
        try unsafe self.init(owning: key)
    }

    /// The public half as SubjectPublicKeyInfo in PEM (RFC 7468, section 13).
    func publicKeyPEM() throws(SealingError) -> String {
        guard let memory = unsafe BIO_new(BIO_s_mem()) else { throw .library("there is no memory for a public key") }
        defer { unsafe BIO_free(memory) }
        // P-521 takes 158 bytes of DER, 268 of PEM.
        var text = [UInt8](repeating: 0, count: 1024)
        guard unsafe PEM_write_bio_PUBKEY(memory, key) == 1 else { throw .library("the public key cannot be written") }
        let count = unsafe BIO_read(memory, &text, Int32(text.count))
        guard count > 0, count < text.count else { throw .library("the public key cannot be written") }
        return String(decoding: text.prefix(Int(count)), as: UTF8.self)
    }

    /// A reading end over a copy of `text`, which the caller frees; freeing wipes the copy.
    private static func makeMemory(_ text: [UInt8]) throws(SealingError) -> OpaquePointer {
        guard text.count <= 1 << 20 else {
            throw SealingError(.invalidKey, "\(text.count) bytes are too many for a key")
        }
        guard let memory = unsafe BIO_new(BIO_s_secmem()) else { throw .library("there is no memory for a key") }
        guard unsafe BIO_write(memory, text, Int32(text.count)) == Int32(text.count) else {
            unsafe BIO_free(memory)
            throw .library("there is no memory for a key")
        }
        return unsafe memory
    }
}

/// A passphrase on its way through the library to `givePassphrase`.
@unsafe
private struct PassphraseLoan {
    var bytes: UnsafeRawBufferPointer
}

/// The library's callback for a passphrase: gives the one lent, or says that there is none.
private func givePassphrase(
    buffer: UnsafeMutablePointer<CChar>?, size: Int32, writing: Int32, loan: UnsafeMutableRawPointer?
) -> Int32 {
    guard let buffer = unsafe buffer, let loan = unsafe loan else { return -1 }
    let bytes = unsafe loan.assumingMemoryBound(to: PassphraseLoan.self).pointee.bytes
    guard let start = bytes.baseAddress, bytes.count > 0, bytes.count <= Int(size) else { return -1 }
    unsafe UnsafeMutableRawPointer(buffer).copyMemory(from: start, byteCount: bytes.count)
    return Int32(bytes.count)
}
