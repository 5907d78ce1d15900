internal import SystemPackage

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
        let (reader, writer) = try FileDescriptor.pipe()
        defer { closeQuietly(reader) }
        let process: pid_t
        do {
            defer { closeQuietly(writer) }
            process = try spawn([command] + arguments, environment, output: writer, unused: reader)
        }
        do {
            let output = try collect(reader, seconds, maximumBytes)
            let status = try wait(process)
            guard status == 0 else { throw Failure(description: "it ended with \(words(status))") }
            return output
        } catch {
            kill(process, SIGKILL)
            _ = try? wait(process)  // What went wrong is told already.
            throw error
        }
    }

    private static func closeQuietly(_ file: FileDescriptor) {
        // A pipe end holds no data of ours: nothing can be lost by a failed close.
        try? file.close()
    }

    private static func words(_ status: Int32) -> String {
        let signal = status & 0x7f
        return signal == 0 ? "exit status \(status >> 8 & 0xff)" : "signal \(signal)"
    }

    private static func spawn(
        _ words: [String], _ environment: [String: String], output: FileDescriptor, unused: FileDescriptor
    ) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output.rawValue, 1)
        posix_spawn_file_actions_addclose(&actions, output.rawValue)
        posix_spawn_file_actions_addclose(&actions, unused.rawValue)
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        var variables: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in arguments + variables { free(text) } }
        var process: pid_t = 0
        let code = posix_spawnp(&process, words[0], &actions, nil, &arguments, &variables)
        guard code == 0 else { throw Errno(rawValue: code) }
        return process
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

    private static func wait(_ process: pid_t) throws -> Int32 {
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0 {
            guard errno == EINTR else { throw Errno(rawValue: errno) }
        }
        return status
    }
}
