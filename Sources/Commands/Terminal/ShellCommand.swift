internal import Basics
internal import Orchestration
internal import SystemPackage

/// Runs a command of the user's by `/bin/sh -c` and takes what it prints. Blocks.
enum ShellCommand {
    /// Bytes of output taken at the most.
    private static let maximumBytes = 64 << 10

    /// Standard output of `command`. `what` names it in errors, which repeat neither the command nor its output, for
    /// either may hold a secret. It has our standard input and error, and no signal blocked.
    static func output(of command: String, what: String, environment: [String: String]) throws(JourneyError) -> [UInt8]
    {
        var launch = ProcessLaunch(["sh", "-c", command], environment: environment)
        launch.program = "/bin/sh"
        launch.input = .inherited
        let content: [UInt8]
        let status: Int32
        do throws(Errno) {
            let pipe = try Pipe()
            let child = try pipe.handingOverWriter { writer throws(Errno) in
                launch.output = .descriptor(writer)
                return try launch.start()
            }
            // One more than may be, so that more is noticed.
            let read: Result<[UInt8], Errno>
            do throws(Errno) {
                read = .success(try pipe.readToEnd(keeping: maximumBytes + 1))
            } catch {
                read = .failure(error)
            }
            status = try ChildProcess.end(of: child)
            content = try read.get()
        } catch {
            throw JourneyError(.failed, kind: "command_failed", "\(what) cannot be run: \(error)", cause: error)
        }
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
}
