package import Kubernetes
package import Workloads

/// The claims that a workload's pods have by what it is made from alone: a TrainJob's runtime.
package struct RuntimeClaims: Sendable {
    private let client: KubernetesClient

    package init(_ client: KubernetesClient) { self.client = client }

    /// Their names, in `namespace`, where the workload is or is to be. A runtime that is not there tells of none. Throws what
    /// the cluster refuses.
    package func names(of workload: Workload, namespace: String) async throws(KubernetesError) -> [String] {
        var names: [String] = []
        for reference in workload.references() where reference.role == .runtime {
            guard
                let resource = try await client.resource(group: reference.kind.group, kind: reference.kind.kind),
                let runtime = try await client.find(
                    resource, namespace: resource.isNamespaced ? namespace : "", name: reference.name)
            else { continue }
            names += TrainJob.podTemplates(ofRuntime: runtime).flatMap(\.claimNames)
        }
        return names
    }
}
