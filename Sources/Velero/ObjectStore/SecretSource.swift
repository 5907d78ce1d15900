/// Where entries of Secrets are read: the Kubernetes API of the cluster that Velero runs in.
package protocol SecretSource: Sendable {
    /// The bytes of an entry of a Secret in Velero's namespace. Throws `notFound`, `accessDenied` or `unavailable`.
    func value(ofSecret name: String, key: String) async throws(VeleroError) -> [UInt8]
}
