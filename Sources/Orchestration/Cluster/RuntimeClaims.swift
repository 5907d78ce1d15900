package import Kubernetes
package import Workloads

/// The claims that a workload's pods have by what it is made from alone: a TrainJob's runtime.
package struct RuntimeClaims: Sendable {
    /// What was seen.
    package struct Look: Sendable {
        package var names: [String] = []
        /// Why there may be others, on one line; nil where there are none.
        package var obstacle: String?
    }

    private let client: KubernetesClient

    package init(_ client: KubernetesClient) { self.client = client }

    /// Their names, in `namespace`, where the workload is or is to be. Throws `.cancelled` alone: a runtime that is not there, or
    /// cannot be read, is an obstacle.
    package func look(at workload: Workload, namespace: String) async throws(KubernetesError) -> Look {
        var look = Look()
        for reference in workload.references() where reference.role == .runtime {
            let label = "\(reference.kind.kind) \(reference.name)"
            do throws(KubernetesError) {
                guard
                    let resource = try await client.resource(group: reference.kind.group, kind: reference.kind.kind),
                    let runtime = try await client.find(
                        resource, namespace: resource.isNamespaced ? namespace : "", name: reference.name)
                else {
                    look.obstacle = "\(label) is not there"
                    continue
                }
                look.names += TrainJob.podTemplates(ofRuntime: runtime).flatMap(\.claimNames)
            } catch {
                guard error.code != .cancelled else { throw error }
                look.obstacle = "\(label) cannot be read: \(error.message)"
            }
        }
        return look
    }
}
