internal import Orchestration
internal import SystemPackage

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// Runs a command of the user's by `/bin/sh -c` and takes what it prints. Blocks.
enum ShellCommand {
    /// Bytes of output taken at the most.
    private static let maximumBytes = 64 << 10

    /// Standard output of `command`. `what` names it in errors, which repeat neither the command nor its output, for
    /// either may hold a secret. It has our standard input and error, and no signal blocked.
    static func output(of command: String, what: String, environment: [String: String]) throws(JourneyError) -> [UInt8]
    {
        guard let (readEnd, writeEnd) = SystemFiles.pipe() else { throw failure(what, Errno(rawValue: errno)) }
        defer { close(readEnd) }
        let (code, child) = spawn(command, output: writeEnd, environment)
        close(writeEnd)
        guard code == 0 else { throw failure(what, Errno(rawValue: code)) }
        let content = drain(readEnd)
        var status: CInt = 0
        while waitpid(child, &status, 0) < 0 {
            guard errno == EINTR else { throw failure(what, Errno(rawValue: errno)) }
        }
        // <sys/wait.h>: the low seven bits name a signal, the next byte is the exit code.
        guard status & 0x7f == 0 else {
            throw JourneyError(.failed, kind: "command_failed", "\(what) was ended by signal \(status & 0x7f)")
        }
        guard status >> 8 & 0xff == 0 else {
            throw JourneyError(
                .failed, kind: "command_failed", "\(what) failed with exit code \(status >> 8 & 0xff): run it by itself"
            )
        }
        guard content.count <= maximumBytes else {
            throw JourneyError(.failed, kind: "command_failed", "\(what) printed more than \(maximumBytes) bytes")
        }
        return content
    }

    private static func failure(_ what: String, _ errno: Errno) -> JourneyError {
        JourneyError(.failed, kind: "command_failed", "\(what) cannot be run: \(errno)", cause: errno)
    }

    private static func drain(_ end: CInt) -> [UInt8] {
        var content: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(end, &piece, piece.count)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return content }
            // The rest is read and dropped, so that the command can end.
            if content.count <= maximumBytes { content += piece.prefix(count) }
        }
    }

    private static func spawn(
        _ command: String, output: CInt, _ environment: [String: String]
    ) -> (code: CInt, child: pid_t) {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = SignalWatch.set([])
        posix_spawnattr_setsigmask(&attributes, &none)
        var defaults = SignalWatch.set([SIGPIPE])
        posix_spawnattr_setsigdefault(&attributes, &defaults)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        let arguments = copies(["sh", "-c", command])
        let variables = copies(environment.map { "\($0.key)=\($0.value)" })
        defer { (arguments + variables).forEach { free($0) } }
        var child: pid_t = 0
        let code = posix_spawn(&child, "/bin/sh", &actions, &attributes, arguments, variables)
        return (code, child)
    }

    /// C strings that the caller frees, and the null that ends them.
    private static func copies(_ texts: [String]) -> [UnsafeMutablePointer<CChar>?] {
        texts.map { text in strdup(text) } + [nil]
    }
}
