package import SystemPackage

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// Runs a command to its end and takes what it prints: for the small helpers that give out credentials.
package enum ChildProcess {
    /// Why a command gave no output.
    package struct Failure: Error, Sendable, CustomStringConvertible {
        package let description: String
    }

    /// What `command` prints on its standard output. It is looked for on `PATH` unless it holds a slash, gets an empty
    /// input and our error output, and is killed after `seconds`, or when it prints more than `maximumBytes`. Throws a
    /// `Failure` or an `Errno`. Blocks: call it on a thread of your own.
    package static func output(
        of command: String, _ arguments: [String], environment: [String: String], seconds: Int, maximumBytes: Int
    ) throws -> [UInt8] {
        let pipe = try Pipe()
        var launch = ProcessLaunch([command] + arguments, environment: environment)
        let process = try pipe.handingOverWriter { writer throws(Errno) in
            launch.output = .descriptor(writer)
            return try launch.start()
        }
        do {
            let output = try withExtendedLifetime(pipe) {
                try collect(FileDescriptor(rawValue: pipe.reader), seconds, maximumBytes)
            }
            let status = try end(of: process)
            guard status == 0 else { throw Failure(description: "it ended with \(words(status))") }
            return output
        } catch {
            kill(process, SIGKILL)
            _ = try? end(of: process)  // What went wrong is told already.
            throw error
        }
    }

    private static func words(_ status: Int32) -> String {
        let signal = status & 0x7f
        return signal == 0 ? "exit status \(status >> 8 & 0xff)" : "signal \(signal)"
    }

    /// All output until its end.
    private static func collect(_ reader: FileDescriptor, _ seconds: Int, _ maximumBytes: Int) throws -> [UInt8] {
        var output: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 4096)
        let clock = ContinuousClock()
        let deadline = clock.now.advanced(by: .seconds(seconds))
        while true {
            let rest = clock.now.duration(to: deadline).components
            let milliseconds = rest.seconds * 1000 + rest.attoseconds / 1_000_000_000_000_000
            var request = pollfd(fd: reader.rawValue, events: Int16(POLLIN), revents: 0)
            let ready = poll(&request, 1, Int32(max(0, milliseconds)))
            if ready < 0 {
                guard errno == EINTR else { throw Errno(rawValue: errno) }
                continue
            }
            guard ready > 0 else { throw Failure(description: "it took longer than \(seconds) s") }
            let count = try block.withUnsafeMutableBytes { try reader.read(into: $0) }
            if count == 0 { return output }
            output += block.prefix(count)
            guard output.count <= maximumBytes else {
                throw Failure(description: "it printed more than \(maximumBytes >> 10) KiB")
            }
        }
    }

    /// Waits until a process that we began has ended, and gives its number back: call it once. Answers wait(2)'s status: a
    /// signal in the low seven bits, the exit code in the next byte. Throws the system's error. Blocks.
    package static func end(of process: Int32) throws(Errno) -> Int32 {
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0 {
            guard errno == EINTR else { throw Errno(rawValue: errno) }
        }
        return status
    }
}
