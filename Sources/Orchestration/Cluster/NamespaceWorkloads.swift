internal import Kubernetes
internal import Workloads

/// The workloads that are in a namespace, of every kind that is known.
struct NamespaceWorkloads: Sendable {
    let client: KubernetesClient
    /// Whether a kind that cannot be listed for now, such as one whose conversion webhook is away, is passed over, too.
    var passesOverFailures = false

    /// All of them, with the resource that each is read by, kind after kind in the order of the catalog. Kinds that the
    /// server does not serve, or does not let us list, are passed over. Throws `KubernetesError`.
    func all(in namespace: String) async throws(KubernetesError) -> [(resource: APIResource, workload: Workload)] {
        var found: [(resource: APIResource, workload: Workload)] = []
        for adapter in WorkloadCatalog.standard.adapters where adapter.kind.isNamespaced {
            do throws(KubernetesError) {
                let resource = try await client.resource(group: adapter.kind.group, kind: adapter.kind.kind)
                guard let resource else { continue }
                found += try await client.list(resource, namespace: namespace).items.map {
                    (resource, Workload($0, adapter))
                }
            } catch {
                guard error.code == .forbidden || passesOverFailures else { throw error }
            }
        }
        return found
    }
}
