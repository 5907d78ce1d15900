package import Kubernetes
internal import Workloads

/// Lets restored workloads go that were held until the data of their claims is there.
package struct GateLifter: Sendable {
    private let client: KubernetesClient

    package init(_ client: KubernetesClient) { self.client = client }

    /// Lets go every held workload that has `claim`, whose data is whole, and no other claim that is missing or still being
    /// restored. Answers which ones. Kinds that the server does not serve, or does not let us list, hold nothing of ours.
    package func lift(namespace: String, claim: String) async throws -> [String] {
        let claims = try await client.list(.persistentVolumeClaims, namespace: namespace).items
        let whole = Set(
            claims.filter { $0.annotations[RestoredObject.restoring] == nil || $0.name == claim }.map(\.name))
        let kueueIsServed =
            try await client.resource(group: KueueWorkload().kind.group, kind: KueueWorkload().kind.kind) != nil
        var lifted: [String] = []
        for adapter in WorkloadCatalog.standard.adapters where adapter.kind.isNamespaced {
            guard let resource = try await client.resource(group: adapter.kind.group, kind: adapter.kind.kind) else {
                continue
            }
            for object in try await listed(resource, namespace) {
                guard object.annotations[BecalmAnnotation.gated] != nil else { continue }
                let names = Workload(object, adapter).claims.map(\.name)
                guard names.contains(claim), names.allSatisfy(whole.contains) else { continue }
                _ = try await client.updating(resource, namespace: namespace, name: object.name) {
                    (object) throws(WorkloadError) in
                    var workload = Workload(object, adapter)
                    try workload.liftGate(kueueIsServed: kueueIsServed)
                    object = workload.object
                }
                lifted.append(object.label)
            }
        }
        return lifted
    }

    private func listed(_ resource: APIResource, _ namespace: String) async throws(KubernetesError)
        -> [KubernetesObject]
    {
        do throws(KubernetesError) {
            return try await client.list(resource, namespace: namespace).items
        } catch {
            guard error.code == .forbidden else { throw error }
            return []
        }
    }
}
