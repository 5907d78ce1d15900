internal import SystemPackage

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// Where a plugin listens: a unix socket with a name that nobody guesses or has.
package struct SocketPath: Sendable {
    package let path: String

    /// Bytes of `sockaddr_un.sun_path` without the zero at its end (unix(7)).
    package static let mostBytes = 107

    /// A new name in `directory`; in `/tmp` where that would be too long.
    package init(directory: String) {
        let name = "plugin\(String(UInt64.random(in: .min ... .max), radix: 36))"
        let wanted = FilePath(directory).appending(name).string
        path = wanted.utf8.count <= Self.mostBytes ? wanted : "/tmp/\(name)"
    }

    /// Removes the socket, if it is there.
    package func remove() { _ = unlink(path) }
}
