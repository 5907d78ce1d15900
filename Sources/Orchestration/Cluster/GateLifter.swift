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
        for (resource, workload) in try await NamespaceWorkloads(client: client).all(in: namespace) {
            guard workload.object.annotations[BecalmAnnotation.gated] != nil else { continue }
            let names = workload.claims.map(\.name)
            guard names.contains(claim), names.allSatisfy(whole.contains) else { continue }
            let adapter = workload.adapter
            _ = try await client.updating(resource, namespace: namespace, name: workload.object.name) {
                (object) throws(WorkloadError) in
                var workload = Workload(object, adapter)
                try workload.liftGate(kueueIsServed: kueueIsServed)
                object = workload.object
            }
            lifted.append(workload.object.label)
        }
        return lifted
    }
}
