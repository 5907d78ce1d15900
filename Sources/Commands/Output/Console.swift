package import Orchestration
internal import Snapshots
internal import Synchronization

/// Standard error: errors, logs, and on a terminal a line of progress that the others push down.
package final class Console: Sendable {
    private struct State {
        /// The progress line as it stands on the screen; empty for none.
        var line = ""
    }

    /// Whether somebody looks at it live.
    package let isTerminal: Bool
    private let write: @Sendable ([UInt8]) -> Void
    private let state = Mutex(State())
    /// Erases the line (ECMA-48, EL).
    private static let erase = "\r\u{1b}[K"

    package init(isTerminal: Bool, write: @escaping @Sendable ([UInt8]) -> Void) {
        self.isTerminal = isTerminal
        self.write = write
    }

    /// Writes a line of its own.
    package func say(_ text: String) {
        state.withLock { state in
            let (before, after) = state.line.isEmpty ? ("", "") : (Self.erase, state.line)
            write(Array("\(before)\(text)\n\(after)".utf8))
        }
    }

    /// Shows `line` in place of the progress line before; nothing happens where there is no terminal.
    package func showProgress(_ line: String) {
        guard isTerminal else { return }
        state.withLock { state in
            guard line != state.line else { return }
            state.line = line
            write(Array("\(Self.erase)\(line)".utf8))
        }
    }

    /// Takes the progress line away.
    package func endProgress() {
        state.withLock { state in
            guard !state.line.isEmpty else { return }
            state.line = ""
            write(Array(Self.erase.utf8))
        }
    }

    /// Tells an error: one line, or under `--json` one object.
    package func report(_ error: JourneyError, status: ExitStatus, json: Bool) {
        if json {
            let object = JSONValue.object([
                .init("type", .string("error")), .init("code", .integer(Int64(status.rawValue))),
                .init("kind", .string(error.kind)), .init("message", .string(Self.oneLine(error.message))),
            ])
            say(String(decoding: object.text, as: UTF8.self))
        } else {
            say("becalm: \(Self.oneLine(error.message))")
        }
    }

    /// Nothing from outside may begin a line of its own or move the cursor.
    static func oneLine(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            if scalar == "\n" || scalar == "\r" || scalar == "\t" {
                result += " "
            } else if scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value) {
                result += "\\u{\(String(scalar.value, radix: 16))}"
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
