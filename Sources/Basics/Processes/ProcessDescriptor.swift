internal import CProcessShims
package import SystemPackage

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// A descriptor of a process (pidfd_open(2)): what is done through it goes to that process and to no other that gets its
/// number. Any thread may use it; it is closed with the last reference.
package final class ProcessDescriptor: Sendable {
    /// Readable (poll) once the process has ended; open as long as this.
    package let rawValue: CInt

    /// Of the process that has this number now. Throws the system's error: `.noSuchProcess`, `.noFunction` before Linux 5.3.
    package init(pid: Int32) throws(Errno) {
        let descriptor = ps_open(pid)
        guard descriptor >= 0 else { throw Errno(rawValue: -descriptor) }
        rawValue = descriptor
    }

    deinit { close(rawValue) }

    /// Sends a signal; 0 only asks whether one may. Throws the system's error, `.noSuchProcess` when it has ended.
    package func send(_ signal: Int32) throws(Errno) {
        let code = ps_signal(rawValue, signal)
        guard code == 0 else { throw Errno(rawValue: -code) }
    }
}
