internal import Basics
internal import Synchronization
internal import SystemPackage

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// What time it is for the filesystem, which may be a file server's: measured now and then, carried on by the local
/// clock in between.
final class FileSystemClock: Sendable {
    /// Seconds after which the offset is measured anew.
    private static let period = 60.0

    private struct Offset {
        var nanoseconds: Int64
        var measured: Timestamp
    }

    private let clock: any WallClock
    private let offset = Mutex<Offset?>(nil)

    init(_ clock: any WallClock) { self.clock = clock }

    /// The local clock's time.
    var local: Timestamp { clock.now() }

    /// Touches `file` and reads the time that it got. Where the server has a clock of its own, "now" is the server's.
    func measure(_ file: borrowing OpenFile) throws(Errno) -> Timestamp {
        let before = clock.now()
        try systemCall { futimens(file.descriptor, nil) }
        let time = Timestamp(nanoseconds: try FileStatus(of: file.descriptor).modified)
        offset.withLock { $0 = Offset(nanoseconds: time.nanoseconds - before.nanoseconds, measured: before) }
        return time
    }

    /// The filesystem's time, measured not long ago or, with `fresh`, just now. Makes no file, so that reading leaves no
    /// trace: where nothing has ever been written, or may be, the local clock stands in.
    func now(_ tree: DirectoryTree, fresh: Bool = false) -> Timestamp {
        let local = clock.now()
        if !fresh, let offset = offset.withLock({ $0 }), abs(local - offset.measured) < Self.period {
            return Timestamp(nanoseconds: local.nanoseconds + offset.nanoseconds)
        }
        do throws(Errno) {
            return try measure(try OpenFile(at: tree.rootDescriptor, DirectoryTree.lockPath, O_RDWR))
        } catch {
            offset.withLock { $0 = Offset(nanoseconds: 0, measured: local) }
            return local
        }
    }
}
