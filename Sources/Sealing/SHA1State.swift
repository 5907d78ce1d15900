internal import COpenSSL

/// SHA-1 (FIPS 180-4) over bytes that arrive in pieces: for names that others gave by it, as git does. It proves nothing
/// against somebody who means harm. A value: a copy goes its own way.
package struct SHA1State: Sendable {
    /// Bytes of a digest.
    package static let digestSize = 20

    private var context: SHA_CTX

    /// The state that has taken nothing.
    package init() {
        context = SHA_CTX()
        unsafe SHA1_Init(&context)
    }

    /// Takes `bytes`.
    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        guard unsafe !bytes.isEmpty else { return }
        unsafe SHA1_Update(&context, bytes.baseAddress, bytes.count)
    }

    /// The digest of all that was taken; the state begins anew.
    package mutating func finish() -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: Self.digestSize)
        unsafe SHA1_Final(&digest, &context)
        unsafe SHA1_Init(&context)
        return digest
    }
}
