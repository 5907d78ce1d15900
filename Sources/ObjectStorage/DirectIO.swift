internal import Basics

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// Reading and writing past the page cache (open(2), O_DIRECT).
///
/// A pack is written once and read again long after, if ever. Through the cache each of its bytes is copied once more
/// into memory that has to be found and cleared first, and what the machine works with is pushed out for it.
enum DirectIO {
    /// What memory, file offsets and lengths are multiples of: the largest block that disks have.
    static let alignment = Int(ObjectBlock.size)
    /// Bytes from which on it pays: below, the disk's answer takes longer than the copy.
    static let minimumBytes = 256 << 10

    /// `O_DIRECT`, which Swift's C library overlay lacks; from the kernel's <asm/fcntl.h>.
    #if arch(arm64)
        private static let flag: CInt = 0o200_000
    #else
        private static let flag: CInt = 0o40_000
    #endif

    /// Turns it on or off for an open file; false where the filesystem knows nothing of it.
    static func set(_ isOn: Bool, for file: borrowing OpenFile) -> Bool {
        let flags = fcntl(file.descriptor, F_GETFL)
        guard flags >= 0 else { return false }
        return fcntl(file.descriptor, F_SETFL, isOn ? flags | flag : flags & ~flag) == 0
    }

    /// How many bytes of the body, from its start, can be written this way: whole blocks of its first piece.
    static func prefix(of body: ObjectBody) -> Int {
        guard let first = body.pieces.first, first.count >= minimumBytes,
            Int(bitPattern: first.bytes.baseAddress) % alignment == 0
        else { return 0 }
        return first.count / alignment * alignment
    }
}
