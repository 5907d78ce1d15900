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
        let clock = ContinuousClock()
        let deadline = clock.now.advanced(by: .seconds(seconds))
        let output: [UInt8]
        do {
            output = try withExtendedLifetime(pipe) {
                try collect(FileDescriptor(rawValue: pipe.reader), deadline, seconds, maximumBytes)
            }
            // One that closes its output may run on.
            guard try hasEnded(process, by: deadline) else {
                throw Failure(description: "it took longer than \(seconds) s")
            }
        } catch {
            kill(process, SIGKILL)
            _ = try? end(of: process)  // What went wrong is told already.
            throw error
        }
        let status = try end(of: process)
        guard status == 0 else { throw Failure(description: "it ended with \(words(status))") }
        return output
    }

    private static func words(_ status: Int32) -> String {
        let signal = status & 0x7f
        return signal == 0 ? "exit status \(status >> 8 & 0xff)" : "signal \(signal)"
    }

    /// All output until its end.
    private static func collect(
        _ reader: FileDescriptor, _ deadline: ContinuousClock.Instant, _ seconds: Int, _ maximumBytes: Int
    ) throws -> [UInt8] {
        var output: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 4096)
        while true {
            guard try isReadable(reader.rawValue, by: deadline) else {
                throw Failure(description: "it took longer than \(seconds) s")
            }
            let count = try block.withUnsafeMutableBytes { try reader.read(into: $0) }
            if count == 0 { return output }
            output += block.prefix(count)
            guard output.count <= maximumBytes else {
                throw Failure(description: "it printed more than \(maximumBytes >> 10) KiB")
            }
        }
    }

    /// Whether a process that we began has ended by then; its number stays its own until `end`. Throws the system's error:
    /// `.noChildProcess` where somebody else has waited for it. Blocks.
    package static func hasEnded(_ process: Int32, by deadline: ContinuousClock.Instant) throws(Errno) -> Bool {
        if let handle = try? ProcessDescriptor(pid: process) {
            defer { withExtendedLifetime(handle) {} }
            return try isReadable(handle.rawValue, by: deadline)
        }
        // A kernel before 5.3, or a sandbox, that has no such descriptors: its end wakes nobody but by a signal.
        while true {
            var found = siginfo_t()
            guard waitid(P_PID, id_t(process), &found, WEXITED | WNOHANG | WNOWAIT) == 0 else {
                throw Errno(rawValue: errno)
            }
            if found.si_signo != 0 { return true }
            guard ContinuousClock().now < deadline else { return false }
            _ = poll(nil, 0, 20)
        }
    }

    /// Whether there is something to read, or the end, by then.
    private static func isReadable(_ descriptor: CInt, by deadline: ContinuousClock.Instant) throws(Errno) -> Bool {
        while true {
            let rest = ContinuousClock().now.duration(to: deadline) / .milliseconds(1)
            var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            // A day at a time: the argument has an end.
            let ready = poll(&request, 1, Int32(max(0, min(rest.rounded(.up), 86_400_000))))
            if ready > 0 { return true }
            if ready < 0 {
                guard errno == EINTR else { throw Errno(rawValue: errno) }
            } else if rest <= 0 {
                return false
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
