internal import Basics
internal import ObjectStorage
internal import SystemPackage

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// Runs a profile's `credential_process` and reads the credentials that it prints.
enum CredentialProcess {
    /// Bytes of output that are taken.
    private static let maximumBytes = 64 << 10

    /// The credentials that `command` prints. It runs by the shell on a thread of its own, with our error output, and
    /// is killed after `timeoutSeconds`. Throws `.expiredCredentials`; no message holds the command or its output.
    static func run(
        _ command: String, profile: String, environment: [String: String], clock: any WallClock,
        timeoutSeconds: Int = 60
    ) async throws(ObjectStorageError) -> AWSCredentials {
        let output: [UInt8]
        do {
            output = try await BlockingBridge.offload(name: "credentials") {
                Result { try execute(command, environment, timeoutSeconds) }
            }
        } catch {
            throw ObjectStorageError(
                .expiredCredentials,
                "the credential_process of profile \(profile) failed: \(error); run it by hand to see why",
                cause: error)
        }
        return try CredentialDocument.parse(output, from: "the credential_process of profile \(profile)")
    }

    private struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    private static func execute(_ command: String, _ environment: [String: String], _ seconds: Int) throws -> [UInt8] {
        let (reader, writer) = try FileDescriptor.pipe()
        defer { closeQuietly(reader) }
        let process: pid_t
        do {
            defer { closeQuietly(writer) }
            process = try spawn(command, environment, output: writer, unused: reader)
        }
        do {
            let output = try collect(reader, seconds)
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
        _ command: String, _ environment: [String: String], output: FileDescriptor, unused: FileDescriptor
    ) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output.rawValue, 1)
        posix_spawn_file_actions_addclose(&actions, output.rawValue)
        posix_spawn_file_actions_addclose(&actions, unused.rawValue)
        let words: [String] = ["sh", "-c", command]
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        var variables: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in arguments + variables { free(text) } }
        var process: pid_t = 0
        let code = posix_spawn(&process, "/bin/sh", &actions, nil, &arguments, &variables)
        guard code == 0 else { throw Errno(rawValue: code) }
        return process
    }

    /// All output until its end.
    private static func collect(_ reader: FileDescriptor, _ seconds: Int) throws -> [UInt8] {
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
            guard output.count <= maximumBytes else { throw Failure(description: "it printed more than 64 KiB") }
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
