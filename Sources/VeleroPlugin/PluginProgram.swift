internal import Basics
internal import Logging
internal import Orchestration
internal import PluginHost
internal import Velero

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// `velero-plugin-becalm` from its arguments to its exit status.
package enum PluginProgram {
    /// What the executable is called where it is installed.
    private static let name = "velero-plugin-becalm"

    /// Runs the process and answers the status to exit with. Call it on the main thread, once.
    package static func main() -> CInt {
        let arguments = Array(CommandLine.arguments.dropFirst())
        switch arguments.first {
        case "--version":
            say("\(name) \(Version.number)", to: STDOUT_FILENO)
            return 0
        case "--help", "-h":
            say(help, to: STDOUT_FILENO)
            return 0
        case "--install": return install(arguments)
        default: break
        }
        let variables = environment()
        guard let launch = LaunchEnvironment(variables: variables, arguments: arguments) else {
            say(
                "\(name): this is a plugin that Velero runs, not a command: install it with 'velero plugin add IMAGE', or see --help"
            )
            return 1
        }
        EndingSignals.block()
        let output = PluginOutput()
        let logger = Logger(label: name) { _ in HclogHandler(level: launch.logLevel, write: output.writeLog) }
        let environment = PluginEnvironment(variables: variables, logger: logger)
        let server = PluginServer(
            launch: launch, command: ownPath(), registry: PluginRegistry(environment), output: output, logger: logger)
        return BlockingBridge.run { await server.run() }
    }

    private static let help = """
        \(name) \(Version.number): Becalm's plugins for Velero

        Velero's server runs it; by hand it does this:
          --install DIRECTORY   copy itself there, as the image does when Velero runs it as an init container
          --version             say which version it is
          --help                say this

        Example: \(name) --install /target
        """

    private static func install(_ arguments: [String]) -> CInt {
        guard arguments.count == 2, !arguments[1].isEmpty else {
            say("\(name): --install takes one directory: \(name) --install /target")
            return 64
        }
        do {
            let executable = SelfInstaller.ownExecutable(called: CommandLine.arguments.first ?? name)
            let path = try SelfInstaller.install(executable: executable, as: name, into: arguments[1])
            say("installed \(path)", to: STDOUT_FILENO)
            return 0
        } catch {
            say("\(name): \(error): mount a writable directory there, as Velero does with its 'plugins' volume")
            return 1
        }
    }

    private static func say(_ line: String, to descriptor: CInt = STDERR_FILENO) {
        let line = Array("\(line)\n".utf8)
        _ = write(descriptor, line, line.count)
    }

    private static func environment() -> [String: String] {
        var variables: [String: String] = [:]
        var variable = environ
        while let text = variable.pointee {
            let parts = String(cString: text).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2 { variables[String(parts[0])] = String(parts[1]) }
            variable += 1
        }
        return variables
    }

    /// Absolute path of the executable: what Velero runs later. As it was called where that is absolute, for a file system
    /// that `/proc` names otherwise.
    private static func ownPath() -> String {
        let called = CommandLine.arguments.first ?? ""
        if called.hasPrefix("/") { return called }
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &buffer, buffer.count)
        return count > 0 ? String(decoding: buffer.prefix(count).map(UInt8.init(bitPattern:)), as: UTF8.self) : called
    }
}
