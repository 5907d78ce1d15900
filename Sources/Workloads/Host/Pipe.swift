internal import CProcessShims

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// A pipe: who waits at its reading end is woken by `wake`, and sees the end of the process that has the other end. Any
/// thread may use it; its ends are closed with it, and no program that is begun has them unless it is given one.
final class Pipe: Sendable {
    let reader: Int32
    private let writer: Int32

    init() throws(HostFile.Failure) {
        var ends: [Int32] = [-1, -1]
        let code = ps_pipe(&ends)
        guard code == 0 else { throw HostFile.Failure(-code) }
        (reader, writer) = (ends[0], ends[1])
    }

    deinit {
        close(reader)
        close(writer)
    }

    /// Makes its reading end readable.
    func wake() {
        var byte: UInt8 = 0
        _ = write(writer, &byte, 1)
    }
}
