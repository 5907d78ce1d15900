internal import Synchronization
package import SystemPackage

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// The process's standard output and error as a go-plugin host wants them.
///
/// Standard output carries the handshake and nothing else, and the host waits for the end of both pipes before it believes
/// that the process has ended: so the real standard output moves to a descriptor that no child inherits, and what libraries
/// print goes nowhere.
package final class PluginOutput: Sendable {
    /// The host's pipe; `HostWatch` looks at it. No child inherits it.
    package let handshakeDescriptor: CInt
    private let lock = Mutex<Void>(())

    /// Takes over standard output: call it once, in the first lines of `main`. A write to a pipe without a reader fails from
    /// then on instead of ending the process.
    package init() {
        signal(SIGPIPE, SIG_IGN)
        let copy = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
        handshakeDescriptor = copy
        var ends: [CInt] = [-1, -1]
        // A pipe without a reader rather than /dev/null, which a container need not have.
        if copy >= 0, pipe(&ends) == 0 {
            close(ends[0])
            dup2(ends[1], STDOUT_FILENO)
            close(ends[1])
        }
    }

    /// Writes the handshake to the host. Throws the system's error where it cannot be written.
    package func writeHandshake(_ line: String) throws(Errno) {
        try Self.write(Array(line.utf8), to: handshakeDescriptor)
    }

    /// Writes a line of the log to standard error, whole, on whichever thread it is called; waits for a host that is slow to
    /// read. A host that is gone reads no log, so an error is none.
    package func writeLog(_ line: [UInt8]) {
        lock.withLock { _ in
            do throws(Errno) { try Self.write(line, to: STDERR_FILENO) } catch { return }
        }
    }

    private static func write(_ bytes: [UInt8], to descriptor: CInt) throws(Errno) {
        do {
            try FileDescriptor(rawValue: descriptor).writeAll(bytes)
        } catch {
            throw error as? Errno ?? .ioError
        }
    }
}
