internal import SystemPackage

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// Runs a system call again while signals interrupt it; -1 becomes the error that `errno` names.
@discardableResult
func systemCall<T: SignedInteger>(_ body: () -> T) throws(Errno) -> T {
    while true {
        let result = body()
        if result != -1 { return result }
        let code = errno
        if code != EINTR { throw Errno(rawValue: code) }
    }
}

/// A file descriptor that closes itself.
struct OpenFile: ~Copyable {
    let descriptor: CInt

    /// Opens `path` relative to the directory `directory`; always close-on-exec. New files are for their owner alone.
    init(at directory: CInt, _ path: String, _ flags: CInt) throws(Errno) {
        descriptor = try systemCall { openat(directory, path, flags | O_CLOEXEC, 0o600) }
    }

    // What must be safe on disk has been synchronised before: nothing that `close` reports is news.
    deinit { close(descriptor) }
}

/// What `stat` says of a file, as far as stores ask.
struct FileStatus: Equatable {
    let device: UInt64
    let inode: UInt64
    let size: UInt64
    /// Modification time, nanoseconds since 1970.
    let modified: Int64
    let isRegular: Bool
    let isDirectory: Bool
    /// Names that the file has; 0 for a directory that was removed.
    let links: UInt64

    /// The status of an open file.
    init(of descriptor: CInt) throws(Errno) {
        var status = stat()
        try systemCall { fstat(descriptor, &status) }
        self.init(status)
    }

    /// The status of `path` relative to `directory`; symbolic links are followed.
    init(at directory: CInt, _ path: String) throws(Errno) {
        var status = stat()
        try systemCall { fstatat(directory, path, &status, 0) }
        self.init(status)
    }

    private init(_ status: stat) {
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        size = UInt64(max(0, status.st_size))
        modified = Int64(status.st_mtim.tv_sec) * 1_000_000_000 + Int64(status.st_mtim.tv_nsec)
        isRegular = status.st_mode & S_IFMT == S_IFREG
        isDirectory = status.st_mode & S_IFMT == S_IFDIR
        links = UInt64(status.st_nlink)
    }

    /// Whether both are the same file.
    func isSameFile(as other: FileStatus) -> Bool { device == other.device && inode == other.inode }

    /// Changes with every `put`: each writes a new inode, and an inode that is used again has another time, for the
    /// store sets its nanoseconds at random.
    var tag: String { "\(String(inode, radix: 16))-\(String(modified, radix: 16))-\(String(size, radix: 16))" }
}

extension RequestContext {
    /// What a failed system call means. `step` tells which one of several failed, as in "flushing it to the disk".
    func error(
        _ errno: Errno, _ step: String? = nil, isAmbiguous: Bool = false, fileID: String = #fileID, line: UInt32 = #line
    ) -> ObjectStorageError {
        let (code, hint) = Self.meaning(of: errno)
        let why = [step, "\(errno)"].compactMap { $0 }.joined(separator: ": ")
        let text = hint.isEmpty ? why : "\(why); \(hint)"
        return error(code, text, cause: errno, isAmbiguous: isAmbiguous, fileID: fileID, line: line)
    }

    private static func meaning(of errno: Errno) -> (ObjectStorageError.Code, String) {
        switch errno {
        case .noSuchFileOrDirectory: (.notFound, "")
        case .permissionDenied, .notPermitted: (.accessDenied, "check the owner and the mode of the directory")
        case .readOnlyFileSystem: (.accessDenied, "the filesystem is mounted read-only")
        case .noSpace: (.noSpace, "free some space on the file system that the store is on")
        case .diskQuotaExceeded:
            (.noSpace, "raise the quota, or free some space on the file system that the store is on")
        case .fileTooLarge: (.tooLarge, "the filesystem or a limit of the process takes no file of that size")
        case .ioError: (.failed, "the disk may be failing; look at the kernel's log")
        case .staleNFSFileHandle: (.unavailable, "the network filesystem has lost it; it may need to be mounted again")
        case .timedOut: (.timedOut, "the network filesystem does not answer")
        case .noRouteToHost, .hostIsDown, .connectionRefused, .socketNotConnected, .networkUnreachable,
            .connectionReset:
            (.unreachable, "the network filesystem cannot be reached")
        case .tooManyOpenFiles, .tooManyOpenFilesInSystem, .noMemory, .resourceTemporarilyUnavailable:
            (.unavailable, "the machine is short of it at the moment")
        case .fileNameTooLong: (.invalidArgument, "the filesystem takes no name of that length")
        case .notDirectory, .isDirectory:
            (.invalidArgument, "in a directory an object cannot have a name that others begin with as a folder")
        case .notSupported, .noFunction, .noLocks: (.unsupported, "the filesystem cannot do that")
        default: (.failed, "")
        }
    }
}
