package import Kubernetes

/// What the actions ask of a cluster: as little as they need. Nothing is asked before a call of Velero's needs it.
package protocol ClusterSource: Sendable {
    /// The ConfigMaps of a namespace with these labels. Throws `unavailable` or `accessDenied` with what was asked for.
    func configMaps(
        namespace: String, matching selector: LabelSelector
    ) async throws(VeleroError) -> [KubernetesObject]

    /// One object; nil when there is none. Throws as above.
    func object(_ identifier: ResourceIdentifier) async throws(VeleroError) -> KubernetesObject?

    /// What Jobs are begun and followed with; nil where there is no cluster. Throws for a configuration that makes no sense.
    func client() async throws(VeleroError) -> KubernetesClient?
}
