internal import COpenSSL

/// Random bytes good for keys, from the library's generator (seeded by the kernel, safe after fork).
package enum SecureRandom {
    /// So many random bytes. Throws `libraryFailure` when the generator cannot be seeded.
    package static func bytes(_ count: Int) throws(SealingError) -> [UInt8] {
        guard count >= 0, let size = Int32(exactly: count) else {
            throw SealingError(.invalidParameters, "\(count) random bytes asked for; at most \(Int32.max) at a time")
        }
        var bytes = [UInt8](repeating: 0, count: count)
        guard unsafe RAND_bytes(&bytes, size) == 1 else { throw .library("random bytes cannot be had") }
        return bytes
    }

    /// A random number. The process ends when the machine has no randomness.
    package static func uint64() -> UInt64 {
        var value: UInt64 = 0
        unsafe withUnsafeMutableBytes(of: &value) { unsafe fill($0) }
        return value
    }

    /// Fills `bytes`, at most 2 GiB of them, or ends the process: nothing secret may come from less.
    static func fill(_ bytes: UnsafeMutableRawBufferPointer) {
        let done = unsafe RAND_bytes(bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), Int32(bytes.count))
        precondition(done == 1, "the random generator failed: \(SealingError.library("random bytes cannot be had"))")
    }
}
