/// The configuration that Kubernetes gives every pod with a service account.
package enum InClusterConfiguration {
    /// Where the service account's files are mounted.
    package static let directory = "/var/run/secrets/kubernetes.io/serviceaccount"

    /// The configuration of the pod that this process runs in; nil when it runs in none, or its pod mounts no token.
    static func load(
        _ environment: [String: String], directory: String
    ) async throws(KubernetesError) -> KubernetesConfiguration? {
        guard let host = environment["KUBERNETES_SERVICE_HOST"], !host.isEmpty,
            let port = environment["KUBERNETES_SERVICE_PORT"], !port.isEmpty,
            try await SmallFile.readIfPresent("\(directory)/token") != nil
        else { return nil }
        let authority = host.contains(":") ? "[\(host)]" : host
        var configuration = KubernetesConfiguration(
            server: "https://\(authority):\(port)", source: "the service account of this pod")
        configuration.authentication = .tokenFile("\(directory)/token")
        if try await SmallFile.readIfPresent("\(directory)/ca.crt") != nil {
            configuration.authority = .file("\(directory)/ca.crt")
        }
        if let bytes = try await SmallFile.readIfPresent("\(directory)/namespace") {
            let name = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace)
            if let name = name.first { configuration.namespace = String(name) }
        }
        return configuration
    }
}
