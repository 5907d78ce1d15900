internal import COpenSSL

/// scrypt (RFC 7914): a key from a passphrase, dear in memory and time on purpose.
package enum Scrypt {
    /// Most memory one derivation may take. n, r and p are read from a key slot, which a stranger may have written.
    package static let maximumMemory: UInt64 = 1 << 30

    /// Derives `count` bytes with cost `n`, block size `r` and parallelisation `p`; takes 128 · n · r bytes of memory.
    ///
    /// Blocks for as long as the parameters ask: not for the cooperative pool. What is strong enough is the caller's to say.
    ///
    /// - Throws: `invalidParameters` unless `n` is a power of two from 2 to 2^20, `r` is 1 to 32, `p` is 1 to 16, the
    ///   memory is at most `maximumMemory` and `n` is below 2^(16 r) (the RFC's rule); `libraryFailure` without memory.
    package static func derive(
        passphrase: [UInt8], salt: [UInt8], n: UInt64, r: UInt64, p: UInt64, count: Int
    ) throws(SealingError) -> [UInt8] {
        guard n >= 2, n <= 1 << 20, n.nonzeroBitCount == 1, (1...32).contains(r), (1...16).contains(p),
            128 * n * r <= maximumMemory, n < 1 << (16 * min(r, 3)), count > 0, count <= 1 << 20
        else {
            throw SealingError(
                .invalidParameters,
                "scrypt with n = \(n), r = \(r), p = \(p) for \(count) bytes is outside of what is allowed")
        }
        // The library's own limit is 32 MiB; it counts the table, p blocks and a little more.
        let memory = 128 * r * (n + p + 2) + (1 << 20)
        var derived = [UInt8](repeating: 0, count: count)
        let done = unsafe passphrase.withUnsafeBytes { passphrase in
            let text = unsafe passphrase.baseAddress?.assumingMemoryBound(to: CChar.self)
            return unsafe EVP_PBE_scrypt(text, passphrase.count, salt, salt.count, n, r, p, memory, &derived, count)
        }
        guard done == 1 else { throw .library("scrypt with n = \(n), r = \(r), p = \(p) failed") }
        return derived
    }
}
