internal import Kubernetes

/// Entries of Secrets in Velero's namespace, read through a client of the cluster.
struct ClusterSecrets: SecretSource {
    let client: KubernetesClient
    let namespace: String

    func value(ofSecret name: String, key: String) async throws(VeleroError) -> [UInt8] {
        let secret: KubernetesObject
        do throws(KubernetesError) {
            secret = try await client.get(.secrets, namespace: namespace, name: name)
        } catch {
            throw VeleroError(error)
        }
        guard let text = secret["data", .key(key)]?.string else {
            throw VeleroError(.notFound, "the Secret \(namespace)/\(name) has no entry \(key); add it, or name another")
        }
        guard let bytes = Base64.decode(text) else {
            throw VeleroError(.failed, "the entry \(key) of the Secret \(namespace)/\(name) is not in base 64")
        }
        return bytes
    }
}
