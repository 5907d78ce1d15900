internal import Basics
internal import FoundationEssentials

/// Asks a credential plugin (https://kubernetes.io/docs/reference/access-authn-authz/authentication, "client-go
/// credential plugins").
enum ExecCredential {
    /// The versions of the protocol that are spoken.
    static let versions = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"]

    /// Bytes that a plugin may print.
    private static let maximumBytes = 1 << 20

    /// What a plugin gives.
    struct Status: Sendable {
        var token: String?
        var identity: (certificate: [UInt8], key: [UInt8])?
        /// When it ends; nil when the plugin does not say.
        var expiration: Timestamp?
    }

    /// Runs the plugin on a thread of its own. Throws `.unauthorized`; no message holds what it printed.
    static func ask(
        _ plugin: KubernetesConfiguration.ExecPlugin, _ configuration: KubernetesConfiguration
    ) async throws(KubernetesError) -> Status {
        var environment = plugin.inherited
        for (name, value) in plugin.environment { environment[name] = value }
        environment["KUBERNETES_EXEC_INFO"] = String(
            decoding: try await info(plugin, configuration).serialized(), as: UTF8.self)
        let output: [UInt8]
        do {
            let variables = environment
            output = try await BlockingBridge.offload(name: "credentials") {
                Result {
                    try ChildProcess.output(
                        of: plugin.command, plugin.arguments, environment: variables, seconds: plugin.seconds,
                        maximumBytes: maximumBytes)
                }
            }
        } catch {
            let hint = plugin.installHint.split(whereSeparator: \.isNewline).joined(separator: " ")
            throw KubernetesError(
                .unauthorized,
                "the credential plugin \(plugin.command) of \(configuration.source) failed: \(error); "
                    + (hint.isEmpty ? "run it by hand to see why" : hint), cause: error)
        }
        return try parse(output, plugin)
    }

    private static func info(
        _ plugin: KubernetesConfiguration.ExecPlugin, _ configuration: KubernetesConfiguration
    ) async throws(KubernetesError) -> JSONValue {
        var spec = JSONObject()
        if plugin.getsClusterInfo {
            var cluster = JSONObject()
            cluster["server"] = .string(configuration.server)
            if let name = configuration.serverName { cluster["tls-server-name"] = .string(name) }
            if let proxy = configuration.proxy { cluster["proxy-url"] = .string(proxy) }
            if configuration.skipsVerification { cluster["insecure-skip-tls-verify"] = true }
            switch configuration.authority {
            case .bytes(let bytes):
                cluster["certificate-authority-data"] = .string(Data(bytes).base64EncodedString())
            case .file(let path):
                let bytes = try await SmallFile.read(path, "the certificate authority of \(configuration.source)")
                cluster["certificate-authority-data"] = .string(Data(bytes).base64EncodedString())
            case nil: break
            }
            if let configuration = plugin.clusterConfiguration { cluster["config"] = configuration }
            spec["cluster"] = .object(cluster)
        }
        spec["interactive"] = false
        return ["apiVersion": .string(plugin.apiVersion), "kind": "ExecCredential", "spec": .object(spec)]
    }

    private static func parse(
        _ output: [UInt8], _ plugin: KubernetesConfiguration.ExecPlugin
    ) throws(KubernetesError) -> Status {
        func fault(_ what: String) -> KubernetesError {
            KubernetesError(.unauthorized, "the credential plugin \(plugin.command) \(what); run it by hand to see why")
        }
        guard let json = try? JSONValue(parsing: output), json["kind"]?.string == "ExecCredential" else {
            throw fault("prints no ExecCredential in JSON")
        }
        guard json["apiVersion"]?.string == plugin.apiVersion else {
            throw fault("answers in another version than \(plugin.apiVersion)")
        }
        var status = Status()
        status.token = json["status", "token"]?.string
        if let certificate = json["status", "clientCertificateData"]?.string,
            let key = json["status", "clientKeyData"]?.string
        {
            status.identity = (Array(certificate.utf8), Array(key.utf8))
        }
        guard status.token != nil || status.identity != nil else { throw fault("gives neither token nor certificate") }
        if let text = json["status", "expirationTimestamp"]?.string {
            guard let time = CalendarTime.parse(rfc3339: text) else { throw fault("names a malformed time of expiry") }
            status.expiration = time
        }
        return status
    }
}
