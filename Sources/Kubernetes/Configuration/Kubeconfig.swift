internal import FoundationEssentials

/// Kubeconfig files, merged as kubectl merges them: of each cluster, user and context, and for the current context, the
/// first file that has it counts; relative paths in it begin at that file's directory.
struct Kubeconfig {
    /// An entry, with the file that it came from.
    private struct Entry {
        let fields: JSONValue
        let file: String
    }

    private var clusters: [String: Entry] = [:]
    private var users: [String: Entry] = [:]
    private var contexts: [String: Entry] = [:]
    private var currentContext = ""
    private let files: String

    /// The files that are there; a file that is not is passed over unless it is the only one named. Throws
    /// `.configuration`.
    static func load(
        _ paths: [String], _ environment: [String: String]
    ) async throws(KubernetesError) -> Kubeconfig {
        var kubeconfig = Kubeconfig(files: paths.joined(separator: ":"))
        var isAnyThere = false
        for path in paths {
            guard let bytes = try await SmallFile.readIfPresent(path) else { continue }
            isAnyThere = true
            let document: JSONValue
            do throws(YAMLError) {
                document = try JSONValue(yaml: String(decoding: bytes, as: UTF8.self))
            } catch {
                throw KubernetesError(.configuration, "the kubeconfig \(path) is malformed: \(error)")
            }
            try kubeconfig.merge(document, path)
        }
        guard isAnyThere else {
            throw KubernetesError(
                .configuration, "there is no kubeconfig \(paths.joined(separator: " nor ")); correct its path")
        }
        return kubeconfig
    }

    private init(files: String) { self.files = files }

    private mutating func merge(_ document: JSONValue, _ file: String) throws(KubernetesError) {
        if document.isNull { return }
        guard document.object != nil else {
            throw KubernetesError(
                .configuration, "the kubeconfig \(file) holds \(document.kindName), not a configuration")
        }
        if currentContext.isEmpty { currentContext = document["current-context"]?.string ?? "" }
        Self.gather(document["clusters"], "cluster", file, &clusters)
        Self.gather(document["users"], "user", file, &users)
        Self.gather(document["contexts"], "context", file, &contexts)
    }

    private static func gather(_ list: JSONValue?, _ kind: String, _ file: String, _ into: inout [String: Entry]) {
        for element in list?.array ?? [] {
            guard let name = text(element["name"]), into[name] == nil else { continue }
            into[name] = Entry(fields: element[.key(kind)] ?? [:], file: file)
        }
    }

    /// Text, also when it looks like a number.
    private static func text(_ value: JSONValue?) -> String? {
        let text = value?.string ?? value?.number?.text
        return text.flatMap { $0.isEmpty ? nil : $0 }
    }

    // MARK: A context

    /// What the named context, or the current one, says. Throws `.configuration` when something is missing.
    func configuration(
        _ name: String?, _ environment: [String: String]
    ) throws(KubernetesError) -> KubernetesConfiguration {
        let name = name ?? currentContext
        guard !name.isEmpty else {
            throw KubernetesError(
                .configuration, "the kubeconfig \(files) has no current context; name one of \(known(contexts))")
        }
        guard let context = contexts[name] else {
            throw KubernetesError(
                .configuration, "the kubeconfig \(files) has no context \(name); it has \(known(contexts))")
        }
        let source = "the context \(name) of \(context.file)"
        let clusterName = Self.text(context.fields["cluster"]) ?? ""
        guard let cluster = clusters[clusterName], let server = Self.text(cluster.fields["server"]) else {
            throw KubernetesError(.configuration, "\(source) names the cluster \(clusterName), which has no server")
        }
        guard server.hasPrefix("https://") || server.hasPrefix("http://") else {
            throw KubernetesError(
                .configuration, "\(source) names the server \(server), which is no http or https address")
        }
        var configuration = KubernetesConfiguration(server: server, source: source)
        configuration.namespace = Self.text(context.fields["namespace"]) ?? "default"
        configuration.authority = try material(cluster, "certificate-authority", source)
        configuration.skipsVerification = cluster.fields["insecure-skip-tls-verify"]?.bool ?? false
        configuration.serverName = Self.text(cluster.fields["tls-server-name"])
        configuration.proxy = Self.text(cluster.fields["proxy-url"])
        if configuration.skipsVerification, configuration.authority != nil {
            throw KubernetesError(
                .configuration, "\(source) has both a certificate authority and insecure-skip-tls-verify; remove one")
        }
        if let userName = Self.text(context.fields["user"]) {
            guard let user = users[userName] else {
                throw KubernetesError(.configuration, "\(source) names the user \(userName), who is not in \(files)")
            }
            try apply(user, to: &configuration, Self.execExtension(cluster.fields), environment)
        }
        return configuration
    }

    /// What a cluster's entry says to credential plugins.
    private static func execExtension(_ cluster: JSONValue) -> JSONValue? {
        let extensions = cluster["extensions"]?.array ?? []
        return extensions.first { $0["name"] == "client.authentication.k8s.io/exec" }?["extension"]
    }

    private func known(_ entries: [String: Entry]) -> String {
        entries.isEmpty ? "none" : entries.keys.sorted().prefix(20).joined(separator: ", ")
    }

    private func apply(
        _ user: Entry, to configuration: inout KubernetesConfiguration, _ clusterConfiguration: JSONValue?,
        _ environment: [String: String]
    ) throws(KubernetesError) {
        let fields = user.fields
        let source = configuration.source
        configuration.clientCertificate = try material(user, "client-certificate", source)
        configuration.clientKey = try material(user, "client-key", source)
        guard (configuration.clientCertificate == nil) == (configuration.clientKey == nil) else {
            throw KubernetesError(.configuration, "\(source) has a client certificate without its key, or the reverse")
        }
        configuration.impersonatedUser = Self.text(fields["as"]) ?? ""
        configuration.impersonatedUID = Self.text(fields["as-uid"]) ?? ""
        configuration.impersonatedGroups = (fields["as-groups"]?.array ?? []).compactMap { Self.text($0) }
        for member in fields["as-user-extra"]?.object?.members ?? [] {
            configuration.impersonatedExtra[member.key] = (member.value.array ?? []).compactMap { Self.text($0) }
        }
        // As client-go has it: the server would take such a request for one without impersonation, or refuse it.
        guard
            !configuration.impersonatedUser.isEmpty
                || configuration.impersonatedUID.isEmpty && configuration.impersonatedGroups.isEmpty
                    && configuration.impersonatedExtra.isEmpty
        else {
            throw KubernetesError(
                .configuration, "\(source) has as-uid, as-groups or as-user-extra without `as`; name the user")
        }
        if let exec = fields["exec"], exec.object != nil {
            var plugin = try plugin(exec, user.file, source, environment)
            plugin.clusterConfiguration = clusterConfiguration
            configuration.authentication = .exec(plugin)
        } else if let file = Self.text(fields["tokenFile"]) {
            configuration.authentication = .tokenFile(Self.resolve(file, user.file))
        } else if let token = Self.text(fields["token"]) {
            configuration.authentication = .token(token)
        } else if let name = Self.text(fields["username"]) {
            configuration.authentication = .basic(user: name, password: Self.text(fields["password"]) ?? "")
        } else if fields["auth-provider"] != nil {
            throw KubernetesError(
                .configuration,
                "\(source) uses an auth-provider, which Kubernetes has given up; use an exec credential plugin")
        }
    }

    /// The data of a field, else its file.
    private func material(
        _ entry: Entry, _ field: String, _ source: String
    ) throws(KubernetesError) -> KubernetesConfiguration.Material? {
        if let text = Self.text(entry.fields[.key("\(field)-data")]) {
            guard let data = Data(base64Encoded: text.filter { !$0.isWhitespace }) else {
                throw KubernetesError(.configuration, "\(source) has a \(field)-data that is no base 64")
            }
            return .bytes([UInt8](data))
        }
        return Self.text(entry.fields[.key(field)]).map { .file(Self.resolve($0, entry.file)) }
    }

    private func plugin(
        _ exec: JSONValue, _ file: String, _ source: String, _ environment: [String: String]
    ) throws(KubernetesError) -> KubernetesConfiguration.ExecPlugin {
        guard let command = Self.text(exec["command"]) else {
            throw KubernetesError(.configuration, "\(source) has an exec plugin without a command")
        }
        let apiVersion = Self.text(exec["apiVersion"]) ?? ""
        guard ExecCredential.versions.contains(apiVersion) else {
            throw KubernetesError(
                .configuration,
                "\(source) has an exec plugin of version `\(apiVersion)`; known are "
                    + ExecCredential.versions.joined(separator: " and "))
        }
        if Self.text(exec["interactiveMode"]) == "Always" {
            throw KubernetesError(
                .configuration, "\(source) has an exec plugin that must ask a person; log in by other means")
        }
        var variables: [String: String] = [:]
        for variable in exec["env"]?.array ?? [] {
            if let name = Self.text(variable["name"]) { variables[name] = Self.text(variable["value"]) ?? "" }
        }
        return KubernetesConfiguration.ExecPlugin(
            // A name alone is looked for on PATH; a path with a slash begins at the file's directory.
            command: command.contains("/") ? Self.resolve(command, file) : command,
            arguments: (exec["args"]?.array ?? []).map { Self.text($0) ?? "" }, environment: variables,
            apiVersion: apiVersion, installHint: Self.text(exec["installHint"]) ?? "",
            getsClusterInfo: exec["provideClusterInfo"]?.bool ?? false, inherited: environment)
    }

    private static func resolve(_ path: String, _ file: String) -> String {
        if path.hasPrefix("/") { return path }
        guard let slash = file.lastIndex(of: "/") else { return path }
        return "\(file[...slash])\(path)"
    }
}
