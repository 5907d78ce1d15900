internal import COpenSSL

/// Thirty-two secret bytes, wiped when the last reference goes. It has no text form, so it cannot be logged by mistake.
///
/// `@unchecked Sendable`: the memory is written in the initialisers only.
@safe
package final class SecretKey: @unchecked Sendable {
    /// Bytes in a key.
    package static let size = 32

    private let storage: UnsafeMutableRawBufferPointer

    private init(uninitialised: Void) {
        unsafe storage = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.size, alignment: 16)
    }

    /// A new random key. The process ends when the machine has no randomness: no key may be made without.
    package convenience init() {
        self.init(uninitialised: ())
        unsafe SecureRandom.fill(storage)
    }

    /// The key of exactly 32 `bytes`. The caller's array is its own to wipe. Throws `invalidKey` for another length.
    package convenience init(bytes: [UInt8]) throws(SealingError) {
        guard bytes.count == Self.size else {
            throw SealingError(.invalidKey, "a secret key has \(Self.size) bytes, not \(bytes.count)")
        }
        self.init(uninitialised: ())
        unsafe storage.copyBytes(from: bytes)
    }

    deinit {
        unsafe OPENSSL_cleanse(storage.baseAddress, storage.count)
        unsafe storage.deallocate()
    }

    /// Calls `body` with the 32 bytes, good during the call only. Do not copy them to where they outlive it.
    package func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        try withExtendedLifetime(self) { unsafe try body(UnsafeRawBufferPointer(storage)) }
    }
}
