/// Where an API server is, whom to believe there, and who asks.
///
/// Files are named here and read again while it is in use (`Credentials`), so certificates and tokens that are renewed
/// on disk are taken up.
package struct KubernetesConfiguration: Sendable, CustomStringConvertible, CustomReflectable {
    /// Bytes that a configuration holds or names the file of. The file counts when both are there, but for `data` of
    /// certificates, as in client-go.
    package enum Material: Hashable, Sendable, CustomStringConvertible, CustomReflectable {
        case bytes([UInt8])
        case file(String)

        /// Says nothing of the bytes.
        package var description: String { if case .file(let path) = self { path } else { "bytes" } }
        /// Says nothing of the bytes.
        package var customMirror: Mirror { Mirror(self, children: []) }
    }

    /// How the client says who it is.
    package enum Authentication: Sendable, CustomStringConvertible, CustomReflectable {
        /// By its certificate, or not at all.
        case none
        case token(String)
        /// A token that is read again from its file.
        case tokenFile(String)
        case basic(user: String, password: String)
        /// A command that gives out tokens or certificates.
        case exec(ExecPlugin)

        /// Says nothing of tokens and passwords.
        package var description: String {
            switch self {
            case .none: "no authentication"
            case .token: "a token"
            case .tokenFile(let path): "the token file \(path)"
            case .basic(let user, _): "the password of \(user)"
            case .exec(let plugin): "the plugin \(plugin.command)"
            }
        }
        /// Says nothing of tokens and passwords.
        package var customMirror: Mirror { Mirror(self, children: []) }
    }

    /// A client-go credential plugin (client.authentication.k8s.io, v1 and v1beta1).
    package struct ExecPlugin: Equatable, Sendable {
        /// A path, or a name to be looked for on `PATH`.
        package var command: String
        package var arguments: [String]
        /// Added to the environment.
        package var environment: [String: String]
        package var apiVersion: String
        /// What to tell when the command is missing.
        package var installHint: String
        /// Whether it is told about the cluster, in `KUBERNETES_EXEC_INFO`.
        package var getsClusterInfo: Bool
        /// What the cluster's extension `client.authentication.k8s.io/exec` says to it; told with the cluster.
        package var clusterConfiguration: JSONValue?
        /// The environment that it runs in.
        package var inherited: [String: String]
        /// Seconds that it may take.
        package var seconds: Int

        package init(
            command: String, arguments: [String] = [], environment: [String: String] = [:],
            apiVersion: String = "client.authentication.k8s.io/v1", installHint: String = "",
            getsClusterInfo: Bool = false, clusterConfiguration: JSONValue? = nil, inherited: [String: String] = [:],
            seconds: Int = 60
        ) {
            self.command = command
            self.arguments = arguments
            self.environment = environment
            self.apiVersion = apiVersion
            self.installHint = installHint
            self.getsClusterInfo = getsClusterInfo
            self.clusterConfiguration = clusterConfiguration
            self.inherited = inherited
            self.seconds = seconds
        }
    }

    /// `https://HOST[:PORT][/PATH]`, without a slash at its end.
    package var server: String
    /// The namespace that is meant where none is named.
    package var namespace: String
    /// Certificates to believe; nil means the system's.
    package var authority: Material?
    /// Believes whoever answers; only where a user's configuration demands it.
    package var skipsVerification: Bool
    /// The name in the server's certificate, when it is not the address's host.
    package var serverName: String?
    /// A proxy for this server alone.
    package var proxy: String?
    /// The client's certificate and key, PEM.
    package var clientCertificate: Material?
    package var clientKey: Material?
    package var authentication: Authentication
    /// Whom to act as (user impersonation); empty for oneself.
    package var impersonatedUser: String
    package var impersonatedUID: String
    package var impersonatedGroups: [String]
    /// What else is said of whom to act as, by key.
    package var impersonatedExtra: [String: [String]]
    /// Where it came from, for messages: `the context prod of /home/me/.kube/config`.
    package var source: String

    /// Says nothing of tokens and keys.
    package var description: String { "\(source): \(server)" }
    /// Says nothing of tokens and keys.
    package var customMirror: Mirror { Mirror(self, children: ["server": server, "source": source]) }

    /// Everything but the address at its default.
    package init(server: String, source: String = "the given configuration") {
        self.server = server.hasSuffix("/") ? String(server.dropLast()) : server
        namespace = "default"
        skipsVerification = false
        authentication = .none
        impersonatedUser = ""
        impersonatedUID = ""
        impersonatedGroups = []
        impersonatedExtra = [:]
        self.source = source
    }

    /// The configuration for this process, in the order of controller-runtime: the file that is named, `KUBECONFIG`
    /// (several files, merged), the service account of the pod that it runs in, `~/.kube/config`. `context` names
    /// another context than the current one, and only files have contexts. Throws `.configuration` with what was looked
    /// for.
    package static func load(
        path: String? = nil, context: String? = nil, environment: [String: String],
        serviceAccount: String = InClusterConfiguration.directory
    ) async throws(KubernetesError) -> KubernetesConfiguration {
        if let path { return try await Kubeconfig.load([path], environment).configuration(context, environment) }
        let named = (environment["KUBECONFIG"] ?? "").split(separator: ":").map(String.init)
        if !named.isEmpty { return try await Kubeconfig.load(named, environment).configuration(context, environment) }
        if context == nil, let inside = try await InClusterConfiguration.load(environment, directory: serviceAccount) {
            return inside
        }
        let home = (environment["HOME"] ?? "") + "/.kube/config"
        guard environment["HOME"] != nil, try await SmallFile.readIfPresent(home) != nil else {
            throw KubernetesError(
                .configuration,
                "no cluster is configured: KUBECONFIG is not set, this is no pod with a service account, and there is no "
                    + "\(home); name a kubeconfig file")
        }
        return try await Kubeconfig.load([home], environment).configuration(context, environment)
    }
}
