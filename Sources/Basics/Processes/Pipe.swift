internal import CProcessShims
internal import Synchronization
package import SystemPackage

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// A pipe: who waits at its reading end is woken by `wake`, and sees the end of whoever has the other end. Any thread may
/// use it. Its ends are closed with it, and no program has one unless it is given it, however many threads begin programs.
package final class Pipe: Sendable {
    /// The descriptor of the end to read from, open as long as the pipe or until it is handed over.
    package let reader: CInt
    /// That of the other end; -1 once it is closed.
    private let writer: Mutex<CInt>
    private let isReaderOpen = Mutex(true)

    /// Throws the system's error where there are no descriptors left.
    package init() throws(Errno) {
        var ends: [CInt] = [-1, -1]
        let code = ps_pipe(&ends)
        guard code == 0 else { throw Errno(rawValue: -code) }
        reader = ends[0]
        writer = Mutex(ends[1])
    }

    deinit {
        closeWriter()
        closeReader()
    }

    /// Makes its reading end readable. Nothing happens once the other end is closed.
    package func wake() {
        var byte: UInt8 = 0
        _ = writer.withLock { write($0, &byte, 1) }
    }

    /// Runs `body` with the end to write to, and closes that here: from then on only what `body` gave it to has it.
    package func handingOverWriter<R, E: Error>(_ body: (CInt) throws(E) -> R) throws(E) -> R {
        defer { closeWriter() }
        return try body(writer.withLock { $0 })
    }

    /// All that comes until the end, of which nothing is kept beyond `maximumBytes`: whoever writes is never kept waiting.
    /// Throws the system's error. Blocks.
    package func readToEnd(keeping maximumBytes: Int = .max) throws(Errno) -> [UInt8] {
        var content: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            let count = read(reader, &block, block.count)
            if count == 0 { return content }
            guard count > 0 else {
                if errno == EINTR { continue }
                throw Errno(rawValue: errno)
            }
            content += block.prefix(min(count, maximumBytes - content.count))
        }
    }

    /// Runs `body` with the end to read from, and closes that here: who writes then learns that nobody reads any more.
    package func handingOverReader<R, E: Error>(_ body: (CInt) throws(E) -> R) throws(E) -> R {
        defer { closeReader() }
        return try body(reader)
    }

    private func closeReader() {
        isReaderOpen.withLock { isOpen in
            if isOpen { close(reader) }
            isOpen = false
        }
    }

    /// Closes the end to write to, so that a reader comes to the end.
    package func closeWriter() {
        writer.withLock { descriptor in
            if descriptor >= 0 { close(descriptor) }
            descriptor = -1
        }
    }
}
