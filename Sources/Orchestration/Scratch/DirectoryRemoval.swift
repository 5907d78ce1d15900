internal import SystemPackage

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// Removes a directory with all in it, however deep it is, with two descriptors. Follows no link, crosses no mount point.
///
/// A directory inside the one at hand that is not empty is moved up to the top and waits there for its turn, so that
/// nothing ever lies deeper than one level below what is being removed. An interrupted removal can be run again.
enum DirectoryRemoval {
    /// Removes `name`; nothing happens when it is not there. Blocks.
    static func remove(_ name: String, in parent: CInt) throws(Errno) {
        let bytes = name.utf8CString.map { $0 }
        guard let top = try open(bytes, in: parent) else { return }
        defer { close(top) }
        var moved: UInt64 = 0
        while true {
            let names = try names(in: top)
            if names.isEmpty { break }
            for name in names { try removeEntry(name, in: top, &moved) }
        }
        try removed(unlinkat(parent, bytes, AT_REMOVEDIR))
    }

    /// The names in an open directory, raw, each with a zero at its end, without `.` and `..`.
    static func names(in directory: CInt) throws(Errno) -> [[CChar]] {
        // One of its own, for it is closed with the stream, and shares no position with another.
        let descriptor = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Errno(rawValue: errno) }
        guard let stream = fdopendir(descriptor) else {
            close(descriptor)
            throw Errno(rawValue: errno)
        }
        defer { closedir(stream) }
        var names: [[CChar]] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                guard errno == 0 else { throw Errno(rawValue: errno) }
                return names
            }
            guard let offset = MemoryLayout<dirent>.offset(of: \.d_name) else { return names }
            let text = (UnsafeRawPointer(entry) + offset).assumingMemoryBound(to: CChar.self)
            let name = Array(UnsafeBufferPointer(start: text, count: strlen(text) + 1))
            if strcmp(name, ".") != 0, strcmp(name, "..") != 0 { names.append(name) }
        }
    }

    /// Removes an entry of the top, or all of it but the directories inside, which it moves up.
    private static func removeEntry(_ name: [CChar], in top: CInt, _ moved: inout UInt64) throws(Errno) {
        guard try isDirectory(name, in: top) else { return try removed(unlinkat(top, name, 0)) }
        guard let directory = try open(name, in: top) else { return }
        defer { close(directory) }
        // What somebody has mounted here is not ours.
        guard try device(of: directory) == device(of: top) else { throw Errno.resourceBusy }
        for child in try names(in: directory) {
            guard try isDirectory(child, in: directory) else {
                try removed(unlinkat(directory, child, 0))
                continue
            }
            if unlinkat(directory, child, AT_REMOVEDIR) == 0 { continue }
            guard errno == ENOTEMPTY || errno == EEXIST else { throw Errno(rawValue: errno) }
            // A directory that moves to another gets a new "..": it must be writable itself.
            if let inside = try open(child, in: directory) { close(inside) }
            try moveUp(child, from: directory, to: top, &moved)
        }
        try removed(unlinkat(top, name, AT_REMOVEDIR))
    }

    private static func moveUp(
        _ name: [CChar], from directory: CInt, to top: CInt, _ moved: inout UInt64
    ) throws(Errno) {
        while true {
            moved += 1
            if renameat(directory, name, top, "\(moved)") == 0 { return }
            // The name is taken by something of the tree itself.
            guard [ENOTEMPTY, EEXIST, ENOTDIR].contains(errno) else { throw Errno(rawValue: errno) }
        }
    }

    private static func device(of directory: CInt) throws(Errno) -> dev_t {
        var facts = stat()
        guard fstat(directory, &facts) == 0 else { throw Errno(rawValue: errno) }
        return facts.st_dev
    }

    private static func isDirectory(_ name: [CChar], in directory: CInt) throws(Errno) -> Bool {
        var facts = stat()
        guard fstatat(directory, name, &facts, AT_SYMLINK_NOFOLLOW) == 0 else {
            guard errno == ENOENT else { throw Errno(rawValue: errno) }
            return false
        }
        return facts.st_mode & S_IFMT == S_IFDIR
    }

    /// Opens a directory whose entries may then be removed, whatever its mode was; nil when it is gone.
    private static func open(_ name: [CChar], in parent: CInt) throws(Errno) -> CInt? {
        let flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW
        var descriptor = openat(parent, name, flags)
        if descriptor < 0, errno == EACCES, fchmodat(parent, name, 0o700, 0) == 0 {
            descriptor = openat(parent, name, flags)
        }
        guard descriptor >= 0 else {
            guard errno == ENOENT else { throw Errno(rawValue: errno) }
            return nil
        }
        var facts = stat()
        if fstat(descriptor, &facts) == 0, facts.st_mode & 0o700 != 0o700 { fchmod(descriptor, 0o700) }
        return descriptor
    }

    private static func removed(_ result: CInt) throws(Errno) {
        guard result == 0 || errno == ENOENT else { throw Errno(rawValue: errno) }
    }
}
