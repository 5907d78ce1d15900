package import SystemPackage

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// A directory of a test's own, removed with everything in it when the last reference goes.
package final class TemporaryDirectory: Sendable {
    /// Where it is.
    package let path: FilePath

    /// Makes the directory below `TMPDIR`, or `/tmp`.
    package init() throws {
        let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array((parent + "/becalm-test-XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { throw Errno(rawValue: errno) }
        path = FilePath(platformString: template)
    }

    deinit { Self.removeAll(path.string) }

    /// Removes a file, or a directory and what is in it; symbolic links are not followed.
    private static func removeAll(_ path: String) {
        if unlink(path) == 0 || rmdir(path) == 0 { return }
        // A test may have taken the permission away.
        chmod(path, 0o700)
        guard let stream = opendir(path) else { return }
        var names: [String] = []
        while let entry = readdir(stream) {
            guard let offset = MemoryLayout<dirent>.offset(of: \.d_name) else { continue }
            names.append(String(cString: (UnsafeRawPointer(entry) + offset).assumingMemoryBound(to: CChar.self)))
        }
        closedir(stream)
        for name in names where name != "." && name != ".." { removeAll(path + "/" + name) }
        rmdir(path)
    }
}
