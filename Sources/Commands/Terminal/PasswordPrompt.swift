internal import Orchestration
internal import SystemPackage

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// Asks for a password on the terminal, without showing it. Blocks.
struct PasswordPrompt: Sendable {
    let interruption: Interruption
    /// The option and the variable that give the password where there is no terminal.
    let option: String
    let variable: String

    /// The line typed after `question`. Throws a usage error when there is no terminal, or nothing was typed.
    func ask(_ question: String) throws(JourneyError) -> [UInt8] {
        let terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY)
        guard terminal >= 0 else { throw noTerminal }
        defer { close(terminal) }
        var settings = termios()
        guard tcgetattr(terminal, &settings) == 0 else { throw noTerminal }
        let before = settings
        settings.c_lflag &= ~tcflag_t(ECHO)
        settings.c_lflag |= tcflag_t(ECHONL)
        let silent = settings
        let restore: @Sendable () -> Void = {
            var settings = before
            _ = tcsetattr(terminal, TCSAFLUSH, &settings)
            _ = SystemFiles.writeAll([0x0a], to: terminal)
        }
        let result = interruption.endingAtOnce(restore: restore) { () -> Result<[UInt8], JourneyError> in
            var settings = silent
            guard tcsetattr(terminal, TCSAFLUSH, &settings) == 0 else { return .failure(noTerminal) }
            defer {
                settings = before
                _ = tcsetattr(terminal, TCSAFLUSH, &settings)
            }
            _ = SystemFiles.writeAll(Array(question.utf8), to: terminal)
            return Self.readLine(terminal)
        }
        let line = try result.get()
        guard !line.isEmpty else { throw .usage("no password was typed") }
        return line
    }

    /// Asks twice and compares.
    func askTwice(_ question: String) throws(JourneyError) -> [UInt8] {
        let first = try ask("\(question): ")
        guard try ask("\(question), once more: ") == first else {
            throw .usage("the two passwords differ: nothing was changed, run again")
        }
        return first
    }

    private static func readLine(_ terminal: CInt) -> Result<[UInt8], JourneyError> {
        var line: [UInt8] = []
        while line.count < 4096 {
            var byte: UInt8 = 0
            let count = read(terminal, &byte, 1)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else {
                return .failure(
                    .usage("cannot read a password from the terminal: \(Errno(rawValue: errno))"))
            }
            if count == 0 || byte == 0x0a { break }
            line.append(byte)
        }
        return .success(line)
    }

    private var noTerminal: JourneyError {
        JourneyError(
            .usage, kind: "no_password",
            "no password was given and there is no terminal to ask on: use \(option), \(variable), \(variable)_FILE or \(variable)_COMMAND"
        )
    }
}
