import PluginHost
import Testing

@Suite struct LaunchEnvironmentTests {
    private static let cookie = ["VELERO_PLUGIN": "hello"]

    @Test(arguments: [
        [:], ["VELERO_PLUGIN": ""], ["VELERO_PLUGIN": "hallo"],
        ["VELERO_PLUGIN": "hello", "PLUGIN_PROTOCOL_VERSIONS": "3"],
    ])
    func withoutVelerosHandshakeNothingStarts(_ variables: [String: String]) {
        #expect(LaunchEnvironment(variables: variables, arguments: []) == nil)
    }

    /// Since Velero 1.15 a plugin gets the flags of the server.
    @Test(arguments: [
        ([], HclogLevel.info),
        (["--features=EnableCSI", "--log-level=debug", "--uploader-type", "kopia", "--unheard-of"], .debug),
        (["--log-level", "warning", "--features", ""], .warn),
        (["--log-level", "error", "--log-level=trace"], .trace),
        (["--log-level=loud"], .info),
        (["--log-level"], .info),
    ])
    func unknownFlagsAreIgnoredAndTheLastLogLevelCounts(_ arguments: [String], _ level: HclogLevel) {
        #expect(LaunchEnvironment(variables: Self.cookie, arguments: arguments)?.logLevel == level)
    }

    @Test func theSocketsDirectoryIsTheHostsElseTheUsersElseTmp() {
        var variables = Self.cookie
        #expect(LaunchEnvironment(variables: variables, arguments: [])?.socketDirectory == "/tmp")
        variables["TMPDIR"] = "/scratch"
        #expect(LaunchEnvironment(variables: variables, arguments: [])?.socketDirectory == "/scratch")
        variables["PLUGIN_UNIX_SOCKET_DIR"] = "/run/plugins"
        #expect(LaunchEnvironment(variables: variables, arguments: [])?.socketDirectory == "/run/plugins")
    }

    @Test func aSocketsPathFitsItsAddress() {
        let short = SocketPath(directory: "/run")
        #expect(short.path.hasPrefix("/run/plugin"))
        let long = SocketPath(directory: "/" + String(repeating: "d", count: 100))
        #expect(long.path.hasPrefix("/tmp/plugin"))
        #expect(long.path.utf8.count <= SocketPath.mostBytes)
    }

    @Test func theHandshakeHasFiveFields() {
        #expect(LaunchEnvironment.handshakeLine(socket: "/tmp/plugin1") == "1|2|unix|/tmp/plugin1|grpc\n")
    }
}
