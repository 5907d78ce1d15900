#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

extension UnsafeRawBufferPointer {
    /// Whether all bytes are zero; ends at the first part that is not.
    var isZero: Bool {
        guard let base = baseAddress, !isEmpty else { return true }
        // Equal to themselves one byte on, and the first is zero: so are all. The C library compares 32 bytes a cycle.
        return base.load(as: UInt8.self) == 0 && memcmp(base, base + 1, count - 1) == 0
    }
}
