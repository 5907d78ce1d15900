#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// The few things that are done with files of this machine here. Everything blocks, shortly.
enum HostFile {
    /// Why the system did not do it.
    struct Failure: Error, CustomStringConvertible {
        /// `errno`'s value.
        var code: Int32

        init(_ code: Int32 = errno) { self.code = code }

        var description: String { strerror(code).map { String(cString: $0) } ?? "error \(code)" }
    }

    /// What stat(2) says, as far as anybody here asks.
    struct Facts {
        var owner: UInt32
        var mode: UInt32
        /// Nanoseconds since 1970.
        var modified: Int64

        init(_ status: stat) {
            owner = status.st_uid
            mode = status.st_mode
            modified = Int64(status.st_mtim.tv_sec) * 1_000_000_000 + Int64(status.st_mtim.tv_nsec)
        }

        /// Whether others than its owner may write to it.
        var isOpenToOthers: Bool { mode & 0o022 != 0 }
        var isDirectory: Bool { mode & UInt32(S_IFMT) == UInt32(S_IFDIR) }
    }

    /// Facts of what is at `path`, links followed.
    static func facts(_ path: String) throws(Failure) -> Facts {
        var status = stat()
        guard stat(path, &status) == 0 else { throw Failure() }
        return Facts(status)
    }

    /// The content of a file of at most `maximumBytes`, and facts of that very file. A FIFO is not waited for.
    static func read(_ path: String, maximumBytes: Int = 1 << 20) throws(Failure) -> (content: [UInt8], facts: Facts) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw Failure() }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw Failure() }
        var content: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            let count = systemRead(descriptor, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Failure() }
            if count == 0 { return (content, Facts(status)) }
            content += piece.prefix(count)
            guard content.count <= maximumBytes else { throw Failure(EFBIG) }
        }
    }

    /// Writes to a file that is there: one of the kernel's.
    static func write(_ text: String, to path: String) throws(Failure) {
        let descriptor = open(path, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure() }
        defer { close(descriptor) }
        try write(Array(text.utf8), descriptor)
    }

    /// Puts `bytes` in the place of the file at `path`, for its owner alone. After a crash at any moment the old content is
    /// there or the new one, and after the return the new one is on the disk.
    static func replace(_ path: String, _ bytes: [UInt8]) throws(Failure) {
        let draft = path + ".new"
        let descriptor = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw Failure() }
        do throws(Failure) {
            defer { close(descriptor) }
            try write(bytes, descriptor)
            guard fsync(descriptor) == 0 else { throw Failure() }
        } catch {
            unlink(draft)
            throw error
        }
        guard systemRename(draft, path) == 0 else { throw Failure() }
        try synchronize(parent: path)
    }

    /// Removes a file for good; one that is gone is fine.
    static func remove(_ path: String) throws(Failure) {
        guard unlink(path) == 0 || errno == ENOENT else { throw Failure() }
        try synchronize(parent: path)
    }

    /// Makes the file that is to be seen, or gives it the present time.
    static func touch(_ path: String) throws(Failure) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW, 0o666)
        guard descriptor >= 0 else { throw Failure() }
        defer { close(descriptor) }
        guard futimens(descriptor, nil) == 0 else { throw Failure() }
    }

    /// The names in a directory, in order.
    static func names(in path: String) throws(Failure) -> [String] {
        guard let stream = opendir(path) else { throw Failure() }
        defer { closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                guard errno == 0 else { throw Failure() }
                return names.sorted()
            }
            guard let offset = MemoryLayout<dirent>.offset(of: \.d_name) else { return names }
            let name = String(cString: (UnsafeRawPointer(entry) + offset).assumingMemoryBound(to: CChar.self))
            if name != ".", name != ".." { names.append(name) }
        }
    }

    /// Makes a directory and what is above it, for its owner alone.
    static func makeDirectories(_ path: String) throws(Failure) {
        var made = ""
        for component in path.split(separator: "/") {
            made += "/\(component)"
            guard mkdir(made, 0o700) == 0 || errno == EEXIST else { throw Failure() }
        }
    }

    private static func write(_ bytes: [UInt8], _ descriptor: Int32) throws(Failure) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { systemWrite(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Failure(count < 0 ? errno : EIO) }
            rest = rest.dropFirst(count)
        }
    }

    private static func synchronize(parent path: String) throws(Failure) {
        let parent = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        let descriptor = open(parent.isEmpty ? "/" : parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure() }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw Failure() }
    }
}

/// A lock that goes with the process that has it (flock(2)).
final class HostLock: Sendable {
    private let descriptor: Int32

    /// Takes it, waiting for it if `waits`; nil when somebody else has it.
    init?(_ path: String, waits: Bool) throws(HostFile.Failure) {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw HostFile.Failure() }
        while flock(descriptor, LOCK_EX | (waits ? 0 : LOCK_NB)) != 0 {
            let code = errno
            if code == EINTR { continue }
            close(descriptor)
            if code == EWOULDBLOCK { return nil }
            throw HostFile.Failure(code)
        }
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }
}

// Under names of their own: those of the C library are hidden by the members above.
private func systemRead(_ descriptor: Int32, _ bytes: UnsafeMutableRawPointer, _ count: Int) -> Int {
    read(descriptor, bytes, count)
}

private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
    write(descriptor, bytes, count)
}

private func systemRename(_ from: String, _ to: String) -> Int32 { rename(from, to) }
