package import SystemPackage

extension SnapshotError {
    /// Which end of the work a system call was for: it decides what an errno means to the user.
    package enum Side: Sendable {
        /// What is backed up.
        case source
        /// Where a restore writes.
        case target
    }

    /// The error for a system call that failed with `errno` while trying to `operation` (as in "cannot `operation`
    /// PATH") the file at `path`.
    package static func system(
        _ errno: Errno, _ operation: String, _ path: [UInt8], side: Side, fileID: String = #fileID,
        line: UInt32 = #line
    ) -> SnapshotError {
        let (code, remedy) = verdict(errno, side)
        let tail = remedy.isEmpty ? "" : "; \(remedy)"
        return SnapshotError(
            code, "cannot \(operation) \(PathText.display(path)): \(errno)\(tail)", path: path, cause: errno,
            fileID: fileID, line: line)
    }

    private static func verdict(_ errno: Errno, _ side: Side) -> (Code, String) {
        switch errno {
        case .noSuchFileOrDirectory:
            side == .source
                ? (.sourceMissing, "it was removed meanwhile, or the path is wrong")
                : (.targetMissing, "it was removed meanwhile, or its directory is not there")
        case .permissionDenied, .notPermitted:
            (.permissionDenied, "run as root or as the owner")
        case .readOnlyFileSystem:
            (.permissionDenied, "the file system is mounted read-only; choose another target or remount it")
        case .notDirectory:
            (.notADirectory, "name a directory")
        case .tooManySymbolicLinkLevels:
            (.refusedPath, "symbolic links are not followed here")
        case .fileNameTooLong:
            (.refusedPath, "the file system takes no name that long")
        case .noSpace, Errno(rawValue: diskQuotaExceeded):
            side == .source
                ? (.noSpace, "free some space or raise the quota, then run again")
                : (.noSpace, "free some space or raise the quota, then run again with --resume")
        case .tooManyOpenFiles, .tooManyOpenFilesInSystem:
            (.tooManyOpenFiles, "raise the limit of open files (ulimit -n)")
        case .directoryNotEmpty:
            (.targetNotEmpty, "choose an empty directory")
        case .fileExists:
            (.alreadyExists, "")
        case .fileTooLarge:
            (.targetUnwritable, "the file system or a limit (ulimit -f) allows no file that large")
        case .ioError, .staleNFSFileHandle, .noSuchAddressOrDevice:
            side == .source
                ? (.sourceUnreadable, "check the disk and the kernel's log")
                : (.targetUnwritable, "check the disk and the kernel's log")
        case .canceled:
            (.cancelled, "")
        default:
            (side == .source ? .sourceUnreadable : .failed, "")
        }
    }

    /// EDQUOT of Linux (asm-generic/errno.h), on every C library.
    private static var diskQuotaExceeded: CInt { 122 }
}
