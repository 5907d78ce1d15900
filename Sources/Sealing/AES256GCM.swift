internal import COpenSSL

/// AES-256-GCM (NIST SP 800-38D) under one key, with 96-bit nonces counted by the caller and tags of 128 bits.
///
/// One per thread. The context and the key schedule are made once: a fresh context per chunk costs more than a small
/// chunk's work. Whoever counts the nonces must never use one twice under a key to seal.
@safe
package final class AES256GCM {
    /// Bytes that sealing adds behind the ciphertext.
    package static let tagSize = 16
    /// Bytes of text in one call; the library's lengths are 32-bit. The mode itself would take 64 GiB.
    package static let maximumSize = 1 << 30

    private let cipher: OpaquePointer

    /// A cipher with `key`'s schedule. Throws `libraryFailure`.
    package init(key: SecretKey) throws(SealingError) {
        guard let cipher = unsafe EVP_CIPHER_CTX_new() else { throw .library("AES-256-GCM cannot be set up") }
        unsafe self.cipher = cipher
        let done = unsafe key.withBytes { raw in
            let bytes = unsafe raw.baseAddress?.assumingMemoryBound(to: UInt8.self)
            return unsafe EVP_EncryptInit_ex(cipher, EVP_aes_256_gcm(), nil, bytes, nil)
        }
        guard done == 1 else { throw .library("AES-256-GCM cannot be set up") }
    }

    deinit { unsafe EVP_CIPHER_CTX_free(cipher) }

    /// Seals the concatenation of `pieces` and writes ciphertext and tag to the start of `output`.
    ///
    /// - Parameters:
    ///   - nonce: the number that makes up the IV: four zero bytes, then the number big-endian. Once per key.
    ///   - context: bytes that are authenticated and not stored (additional data).
    ///   - pieces: what to seal, in order.
    ///   - output: room for all pieces and the tag; it may be where a sole piece lies, else it must overlap none.
    /// - Returns: bytes written.
    /// - Throws: `invalidParameters` when `output` is too small or the text too long, else `libraryFailure`.
    package func seal(
        nonce: UInt64, context: UnsafeRawBufferPointer, pieces: [UnsafeRawBufferPointer],
        into output: UnsafeMutableRawBufferPointer
    ) throws(SealingError) -> Int {
        var total = 0
        for index in unsafe pieces.indices { total += unsafe pieces[index].count }
        try check(text: total, context: context.count, room: output.count - Self.tagSize)
        guard let base = unsafe output.baseAddress?.assumingMemoryBound(to: UInt8.self) else {
            throw SealingError(.invalidParameters, "there is no memory to seal into")
        }
        try begin(nonce: nonce, encrypting: true)
        try unsafe update(nil, context)
        var written = 0
        for index in unsafe pieces.indices {
            try unsafe update(base + written, pieces[index])
            written += unsafe pieces[index].count
        }
        var none: Int32 = 0
        guard unsafe EVP_CipherFinal_ex(cipher, base + written, &none) == 1,
            unsafe EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, Int32(Self.tagSize), base + written) == 1
        else { throw .library("\(total) bytes cannot be sealed") }
        return written + Self.tagSize
    }

    /// Checks and opens `sealed` (ciphertext, then tag) and writes the text to the start of `output`.
    ///
    /// - Parameters:
    ///   - nonce: the number it was sealed with.
    ///   - context: the bytes it was sealed with.
    ///   - output: room for `sealed` less the tag; it may be where `sealed` lies, else it must not overlap it.
    /// - Returns: bytes written. On failure that part of `output` is wiped, so that nothing unchecked can be used.
    /// - Throws: `authenticationFailed` for any difference, `invalidParameters` when `output` is too small or `sealed`
    ///   too long, else `libraryFailure`.
    package func open(
        nonce: UInt64, context: UnsafeRawBufferPointer, sealed: UnsafeRawBufferPointer,
        into output: UnsafeMutableRawBufferPointer
    ) throws(SealingError) -> Int {
        let count = sealed.count - Self.tagSize
        guard count >= 0 else {
            throw SealingError(.authenticationFailed, "\(count + Self.tagSize) bytes are too few to hold a tag")
        }
        try check(text: count, context: context.count, room: output.count)
        var tag: (UInt64, UInt64) = (0, 0)
        unsafe withUnsafeMutableBytes(of: &tag) {
            unsafe $0.copyMemory(from: UnsafeRawBufferPointer(rebasing: sealed[count...]))
        }
        do throws(SealingError) {
            try begin(nonce: nonce, encrypting: false)
            try unsafe update(nil, context)
            let base = unsafe output.baseAddress?.assumingMemoryBound(to: UInt8.self)
            if count > 0 { try unsafe update(base, UnsafeRawBufferPointer(rebasing: sealed[..<count])) }
            guard unsafe EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, Int32(Self.tagSize), &tag) == 1 else {
                throw .library("\(count) bytes cannot be opened")
            }
            // With nothing to write the library still wants an address.
            var none: Int32 = 0
            var nowhere: UInt8 = 0
            guard unsafe EVP_CipherFinal_ex(cipher, &nowhere, &none) == 1 else {
                throw .library(
                    "\(count) bytes do not match their tag: they were changed, or the key is another",
                    code: .authenticationFailed)
            }
            return count
        } catch {
            unsafe OPENSSL_cleanse(output.baseAddress, count)
            throw error
        }
    }

    /// `plaintext` sealed: ciphertext, then tag. See the other form.
    package func seal(nonce: UInt64, context: [UInt8], _ plaintext: [UInt8]) throws(SealingError) -> [UInt8] {
        var output = [UInt8](repeating: 0, count: plaintext.count + Self.tagSize)
        _ = try unsafe output.withUnsafeMutableBufferPointer { output throws(SealingError) in
            try unsafe withMemory(context, plaintext) { context, plaintext throws(SealingError) in
                try unsafe seal(
                    nonce: nonce, context: context, pieces: [plaintext], into: UnsafeMutableRawBufferPointer(output))
            }
        }
        return output
    }

    /// The text of `sealed`. See the other form.
    package func open(nonce: UInt64, context: [UInt8], _ sealed: [UInt8]) throws(SealingError) -> [UInt8] {
        var output = [UInt8](repeating: 0, count: max(sealed.count - Self.tagSize, 0))
        _ = try unsafe output.withUnsafeMutableBufferPointer { output throws(SealingError) in
            try unsafe withMemory(context, sealed) { context, sealed throws(SealingError) in
                try unsafe open(
                    nonce: nonce, context: context, sealed: sealed, into: UnsafeMutableRawBufferPointer(output))
            }
        }
        return output
    }

    private func withMemory<R>(
        _ first: [UInt8], _ second: [UInt8],
        _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) throws(SealingError) -> R
    ) throws(SealingError) -> R {
        try unsafe first.withUnsafeBufferPointer { first throws(SealingError) in
            try unsafe second.withUnsafeBufferPointer { second throws(SealingError) in
                try unsafe body(UnsafeRawBufferPointer(first), UnsafeRawBufferPointer(second))
            }
        }
    }

    private func check(text: Int, context: Int, room: Int) throws(SealingError) {
        guard text <= Self.maximumSize, context <= Self.maximumSize else {
            throw SealingError(
                .invalidParameters, "\(text) bytes with \(context) of context; at most \(Self.maximumSize) each")
        }
        guard room >= text else {
            throw SealingError(.invalidParameters, "\(text) bytes do not fit where there is room for \(max(room, 0))")
        }
    }

    /// Sets the IV for `nonce` and the direction; the key schedule stays.
    private func begin(nonce: UInt64, encrypting: Bool) throws(SealingError) {
        var iv = (
            UInt32(0), UInt32(truncatingIfNeeded: nonce >> 32).bigEndian, UInt32(truncatingIfNeeded: nonce).bigEndian
        )
        let done = unsafe withUnsafeBytes(of: &iv) { raw in
            let bytes = unsafe raw.baseAddress?.assumingMemoryBound(to: UInt8.self)
            return unsafe EVP_CipherInit_ex(cipher, nil, nil, nil, bytes, encrypting ? 1 : 0)
        }
        guard done == 1 else { throw .library("AES-256-GCM cannot be begun") }
    }

    /// Takes `bytes` as text, or as context when there is no place for the result.
    private func update(_ place: UnsafeMutablePointer<UInt8>?, _ bytes: UnsafeRawBufferPointer) throws(SealingError) {
        guard let start = unsafe bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), unsafe !bytes.isEmpty else {
            return
        }
        var count: Int32 = 0
        guard unsafe EVP_CipherUpdate(cipher, place, &count, start, Int32(bytes.count)) == 1 else {
            throw .library("\(bytes.count) bytes cannot be taken")
        }
    }
}
