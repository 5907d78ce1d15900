internal import Basics
internal import HTTPTransport
internal import Kubernetes

/// Secrets through the API server, with the service account of the pod that we run in ("Accessing the Kubernetes API from a
/// Pod", Kubernetes documentation). One connection per Secret: it is read when a plugin starts, and not again.
package struct InClusterSecrets: SecretSource {
    private let environment: PluginEnvironment
    private let directory: String

    /// Bytes of an answer: a Secret has at most 1 MiB, a third more in base 64.
    private static let maximumAnswerBytes = 4 << 20
    private static let totalMilliseconds = 15_000

    /// For the pod of `environment`, whose account's files lie in `directory`.
    package init(
        _ environment: PluginEnvironment, directory: String = "/var/run/secrets/kubernetes.io/serviceaccount"
    ) {
        self.environment = environment
        self.directory = directory
    }

    package func value(ofSecret name: String, key: String) async throws(VeleroError) -> [UInt8] {
        let what = "the Secret \(environment.namespace)/\(name)"
        let (response, body) = try await get(name, what)
        guard response.isSuccess else { throw refusal(response, what) }
        let data: JSONValue?
        do {
            data = try JSONValue(parsing: body).object?["data"]?.object?[key]
        } catch {
            throw VeleroError(
                .failed, "\(what) cannot be read: the API server's answer is no JSON (\(error))", cause: error)
        }
        guard let text = data?.string else {
            throw VeleroError(.notFound, "\(what) has no entry \(key); add it, or correct the location's config")
        }
        guard let bytes = Base64.decode(text) else {
            throw VeleroError(.failed, "\(what) cannot be read: its entry \(key) is not in base 64")
        }
        return bytes
    }

    private func get(_ name: String, _ what: String) async throws(VeleroError) -> (
        response: HTTPResponse, body: [UInt8]
    ) {
        guard let host = environment.variable("KUBERNETES_SERVICE_HOST"),
            let port = environment.variable("KUBERNETES_SERVICE_PORT")
        else {
            throw VeleroError(
                .unavailable,
                "\(what) cannot be read: KUBERNETES_SERVICE_HOST and _PORT are not set, so this is no pod; name a file instead"
            )
        }
        let token = try await KeyFile.read("\(directory)/token", "\(what) cannot be read: the service account's token")
        let authorities = try await KeyFile.read(
            "\(directory)/ca.crt", "\(what) cannot be read: the cluster's certificate", maximumBytes: 1 << 20)
        let address = host.contains(":") ? "[\(host)]" : host
        var request = HTTPRequest(
            .get, "https://\(address):\(port)/api/v1/namespaces/\(environment.namespace)/secrets/\(name)")
        let words = String(decoding: token, as: UTF8.self).split(whereSeparator: \.isWhitespace)
        request.headers.add("Authorization", "Bearer \(words.first ?? "")")
        request.headers.add("Accept", "application/json")
        request.totalMilliseconds = Self.totalMilliseconds
        do throws(HTTPTransportError) {
            let transport = try CurlTransport(
                CurlTransportConfiguration(authorities: .pem(authorities), maximumConnections: 1))
            return try await transport.perform(request, maximumBytes: Self.maximumAnswerBytes)
        } catch {
            throw VeleroError(.unavailable, "\(what) cannot be read: \(error.message)", cause: error)
        }
    }

    private func refusal(_ response: HTTPResponse, _ what: String) -> VeleroError {
        switch response.status {
        case 404: VeleroError(.notFound, "\(what) does not exist; create it, or correct the location's config")
        case 401, 403:
            VeleroError(
                .accessDenied, "\(what) may not be read by Velero's service account: give it 'get' on Secrets there")
        default: VeleroError(.unavailable, "\(what) cannot be read: the API server answers HTTP \(response.status)")
        }
    }
}
