internal import COpenSSL

/// HMAC-SHA-256 (RFC 2104) under one key. Both keyed states are computed once, so that a MAC over a digest costs two
/// blocks and no allocation. Any thread may use it; the states are wiped when the last copy goes.
package struct HMACSHA256: Sendable {
    /// The states after the key's inner and outer blocks: as good as the key. Written in the initialiser only.
    @safe
    private final class KeyedStates: @unchecked Sendable {
        let states: UnsafeMutablePointer<SHA256State>
        var inner: SHA256State { unsafe states[0] }
        var outer: SHA256State { unsafe states[1] }

        init(key: UnsafeRawBufferPointer) {
            unsafe states = .allocate(capacity: 2)
            unsafe states.initialize(repeating: SHA256State(), count: 2)
            unsafe withUnsafeTemporaryAllocation(byteCount: SHA256State.blockSize, alignment: 8) { block in
                unsafe block.initializeMemory(as: UInt8.self, repeating: 0)
                if key.count > SHA256State.blockSize {
                    unsafe SHA256State.digest(of: key).withBytes { unsafe block.copyMemory(from: $0) }
                } else if unsafe !key.isEmpty {
                    unsafe block.copyMemory(from: key)
                }
                for index in 0..<block.count { unsafe block[index] ^= 0x36 }
                unsafe states[0].update(UnsafeRawBufferPointer(block))
                for index in 0..<block.count { unsafe block[index] ^= 0x36 ^ 0x5c }
                unsafe states[1].update(UnsafeRawBufferPointer(block))
                unsafe OPENSSL_cleanse(block.baseAddress, block.count)
            }
        }

        deinit {
            unsafe OPENSSL_cleanse(states, 2 * MemoryLayout<SHA256State>.stride)
            unsafe states.deallocate()
        }
    }

    private let keyed: KeyedStates

    /// For a key of any length; one over 64 bytes is hashed first, as the RFC says.
    package init(key: [UInt8]) {
        keyed = unsafe key.withUnsafeBytes { unsafe KeyedStates(key: $0) }
    }

    /// For a key of 32 bytes.
    package init(key: SecretKey) {
        keyed = unsafe key.withBytes { unsafe KeyedStates(key: $0) }
    }

    /// The MAC of `bytes`.
    package func authenticate(_ bytes: UnsafeRawBufferPointer) -> Digest {
        var inner = keyed.inner
        unsafe inner.update(bytes)
        return conclude(inner.conclude())
    }

    /// The MAC of `bytes`.
    package func authenticate(_ bytes: [UInt8]) -> Digest {
        unsafe bytes.withUnsafeBytes { unsafe authenticate($0) }
    }

    /// The MAC of the digest's 32 bytes.
    package func authenticate(_ digest: Digest) -> Digest {
        unsafe digest.withBytes { unsafe authenticate($0) }
    }

    private func conclude(_ digest: Digest) -> Digest {
        var outer = keyed.outer
        unsafe digest.withBytes { unsafe outer.update($0) }
        return outer.conclude()
    }

    /// Whether two MACs are equal, in a time that does not depend on where they differ.
    package static func equal(_ left: Digest, _ right: Digest) -> Bool {
        Digest.equalInConstantTime(left, right)
    }

    /// Whether two MACs are equal, in a time that depends on their lengths only.
    package static func equal(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        guard left.count == right.count else { return false }
        return unsafe CRYPTO_memcmp(left, right, left.count) == 0
    }
}
