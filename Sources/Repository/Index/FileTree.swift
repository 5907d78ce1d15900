internal import SystemPackage

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// The few calls on local files that the cache needs and `SystemPackage` lacks.
enum FileTree {
    /// Makes `path` and its parents, readable by their owner alone.
    static func makeDirectories(_ path: FilePath) throws(Errno) {
        if path.string.isEmpty || mkdir(path.string, 0o700) == 0 { return }
        switch errno {
        case EEXIST: return
        case ENOENT:
            try makeDirectories(path.removingLastComponent())
            guard mkdir(path.string, 0o700) == 0 || errno == EEXIST else { throw Errno(rawValue: errno) }
        default: throw Errno(rawValue: errno)
        }
    }

    static func rename(_ from: FilePath, to: FilePath) throws(Errno) {
        guard Self.systemRename(from.string, to.string) == 0 else { throw Errno(rawValue: errno) }
    }

    private static func systemRename(_ from: String, _ to: String) -> Int32 {
        #if canImport(Glibc)
            Glibc.rename(from, to)
        #else
            Musl.rename(from, to)
        #endif
    }

    /// Names in a directory; none when it cannot be read.
    static func names(in path: FilePath) -> [String] {
        guard let stream = opendir(path.string) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names
    }

    /// Removes a file; one that is gone already is fine.
    static func remove(_ path: FilePath) { unlink(path.string) }
}
