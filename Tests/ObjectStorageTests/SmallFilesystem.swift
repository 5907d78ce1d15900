import ObjectStorageTesting
import SystemPackage

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// A filesystem in memory of a few bytes, where the process may mount one.
final class SmallFilesystem: Sendable {
    private let directory: TemporaryDirectory
    var path: FilePath { directory.path }

    /// Whether mounting is allowed here.
    static let isAvailable: Bool = {
        do {
            _ = try SmallFilesystem(bytes: 1 << 16)
            return true
        } catch {
            return false
        }
    }()

    init(bytes: Int) throws {
        directory = try TemporaryDirectory()
        guard mount("tmpfs", directory.path.string, "tmpfs", 0, "size=\(bytes)") == 0 else {
            throw Errno(rawValue: errno)
        }
    }

    deinit { umount2(directory.path.string, Int32(MNT_DETACH)) }

    func makeReadOnly() throws {
        let flags = UInt(MS_REMOUNT | MS_RDONLY)
        guard mount("tmpfs", directory.path.string, "tmpfs", flags, nil) == 0 else { throw Errno(rawValue: errno) }
    }
}
