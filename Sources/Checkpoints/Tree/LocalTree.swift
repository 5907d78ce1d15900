package import TensorFiles

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// A directory on this machine.
package struct LocalTree: StateTree {
    package let location: String?
    private let root: String

    /// A call of the system that failed.
    package struct Failure: Error, CustomStringConvertible {
        var call: String
        var path: String
        /// The system's number: `ENOENT`, say.
        package var code: Int32

        init(_ call: String, _ path: String) {
            self.call = call
            self.path = path
            code = errno
        }

        package var description: String { "\(call) \(path): \(String(cString: strerror(code)))" }
    }

    /// The tree at `path`, which may be a symbolic link itself. Throws `Failure` when it is no directory that can be
    /// opened.
    package init(_ path: String) throws {
        guard let resolved = realpath(path, nil) else { throw Failure("resolve", path) }
        defer { free(resolved) }
        root = String(cString: resolved)
        location = root
        guard let stream = opendir(root) else { throw Failure("open", path) }
        closedir(stream)
    }

    private func full(_ path: String) -> String { path.isEmpty ? root : root == "/" ? "/\(path)" : "\(root)/\(path)" }

    package func list(_ directory: String, _ body: (TreeEntry) throws -> Bool) throws {
        let place = full(directory)
        let descriptor = openat(AT_FDCWD, place, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure("list", place) }
        guard let stream = fdopendir(descriptor) else {
            close(descriptor)
            throw Failure("list", place)
        }
        defer { closedir(stream) }
        while true {
            errno = 0
            guard let record = readdir(stream) else {
                guard errno == 0 else { throw Failure("list", place) }
                return
            }
            let name = withUnsafePointer(to: &record.pointee.d_name) { field in
                field.withMemoryRebound(to: CChar.self, capacity: 256) { String(validatingCString: $0) }
            }
            guard let name, name != ".", name != ".." else { continue }
            // What vanishes between the two calls was never there.
            guard let entry = try look(dirfd(stream), name, place: "\(place)/\(name)", name: name) else { continue }
            guard try body(entry) else { return }
        }
    }

    package func entry(_ path: String) throws -> TreeEntry? {
        let place = full(path)
        return try look(AT_FDCWD, place, place: place, name: TreePath.name(path))
    }

    private func look(_ directory: Int32, _ path: String, place: String, name: String) throws -> TreeEntry? {
        var facts = stat()
        guard fstatat(directory, path, &facts, AT_SYMLINK_NOFOLLOW) == 0 else {
            guard errno == ENOENT || errno == ENOTDIR else { throw Failure("look at", place) }
            return nil
        }
        let modified = Int64(facts.st_mtim.tv_sec) &* 1_000_000_000 &+ Int64(facts.st_mtim.tv_nsec)
        switch facts.st_mode & S_IFMT {
        case S_IFREG:
            return TreeEntry(name: name, kind: .file, size: UInt64(max(facts.st_size, 0)), modified: modified)
        case S_IFDIR: return TreeEntry(name: name, kind: .directory, modified: modified)
        case S_IFLNK:
            var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
            let count = readlinkat(directory, path, &buffer, buffer.count)
            guard count >= 0 else {
                guard errno == ENOENT else { throw Failure("read the link", place) }
                return nil
            }
            // Where a target that is not UTF-8 leads cannot be said.
            let target = String(validating: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
            return TreeEntry(
                name: name, kind: target.map { .symlink(target: $0) } ?? .other, modified: modified)
        default: return TreeEntry(name: name, kind: .other, modified: modified)
        }
    }

    package func open(_ path: String) throws -> any TensorByteSource { try LocalFile(full(path)) }
}

/// A file on this machine, open until the last reference goes.
final class LocalFile: TensorByteSource {
    let size: UInt64
    private let descriptor: Int32
    private let path: String

    /// Throws `LocalTree.Failure`; for what is no regular file too.
    init(_ path: String) throws {
        // Without O_NONBLOCK a pipe put in the file's place would make this wait.
        descriptor = openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        self.path = path
        guard descriptor >= 0 else {
            size = 0
            throw LocalTree.Failure("open", path)
        }
        var facts = stat()
        let isKnown = fstat(descriptor, &facts) == 0
        size = UInt64(max(facts.st_size, 0))
        guard isKnown else { throw LocalTree.Failure("look at", path) }
        guard facts.st_mode & S_IFMT == S_IFREG else {
            errno = EINVAL
            throw LocalTree.Failure("open", path)
        }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        while true {
            let count = pread(descriptor, buffer.baseAddress, buffer.count, off_t(offset))
            if count >= 0 { return count }
            guard errno == EINTR else { throw LocalTree.Failure("read", path) }
        }
    }
}
