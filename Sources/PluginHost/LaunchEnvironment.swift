/// What a go-plugin host tells a plugin when it launches it, and how the plugin answers.
///
/// Velero sets four variables: its cookie, a range of TCP ports that we have no use for, and the protocol versions it
/// speaks. The arguments are those of Velero's own server since 1.15, so all but two are ignored.
package struct LaunchEnvironment: Sendable {
    /// Directory for the socket.
    package var socketDirectory: String
    package var logLevel: HclogLevel

    /// Velero's handshake: a plugin that is run by hand lacks it.
    package static let cookieName = "VELERO_PLUGIN"
    /// What the cookie has to be.
    package static let cookieValue = "hello"

    /// From the process's variables and arguments (without the program's name). Nil without Velero's cookie, or when the
    /// host does not speak protocol version 2, which all versions of Velero do.
    package init?(variables: [String: String], arguments: [String]) {
        guard variables[Self.cookieName] == Self.cookieValue else { return nil }
        // "Unset" is a host of the first generation, which speaks what the cookie implies.
        if let versions = variables["PLUGIN_PROTOCOL_VERSIONS"], !versions.isEmpty {
            guard versions.split(separator: ",").contains("2") else { return nil }
        }
        func directory(_ name: String) -> String? { variables[name].flatMap { $0.isEmpty ? nil : $0 } }
        socketDirectory = directory("PLUGIN_UNIX_SOCKET_DIR") ?? directory("TMPDIR") ?? "/tmp"
        logLevel = Self.option("--log-level", in: arguments).flatMap(HclogLevel.init(argument:)) ?? .info
    }

    /// The last value of an option, written `--name=value` or `--name value`; what nobody knows stands between.
    static func option(_ name: String, in arguments: [String]) -> String? {
        var value: String?
        for (index, argument) in arguments.enumerated() {
            if argument.hasPrefix(name + "=") {
                value = String(argument.dropFirst(name.utf8.count + 1))
            } else if argument == name, index + 1 < arguments.count {
                value = arguments[index + 1]
            }
        }
        return value
    }

    /// The first and only line on standard output: core protocol 1, application protocol 2, a unix socket, gRPC.
    ///
    /// Everything else there would be taken for a broken handshake (go-plugin, `Client.Start`).
    package static func handshakeLine(socket: String) -> String { "1|2|unix|\(socket)|grpc\n" }
}
