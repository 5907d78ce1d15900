package import Kubernetes

/// Whether a workload that was brought to a standstill stands still yet, as far as a look can tell: others may have let it
/// go, or started it again, whatever its journal says.
package struct Standstill: Sendable {
    private let client: KubernetesClient
    private let entry: QuiesceJournal.Entry

    /// That of the workload of a journal whose step is `stopped` or a later one.
    package init(_ client: KubernetesClient, _ entry: QuiesceJournal.Entry) {
        self.client = client
        self.entry = entry
    }

    /// What has ended it, on one line; nil while it stands still. Throws what the cluster refuses.
    package func disturbance() async throws -> String? {
        for target in entry.targets where target.method == .fields {
            guard let resource = try await client.resourceInAnyVersion(of: target.kind),
                let object = try await client.find(resource, namespace: target.namespace, name: target.name),
                object.uid == target.uid
            else { return "\(target.label) was deleted or replaced" }
            guard let held = try HeldFields(of: object, annotation: BecalmAnnotation.quiesced) else {
                return "somebody let \(target.label) go"
            }
            for field in held.fields {
                guard let path = field.path.resolve(in: object), object[path] == field.set else {
                    return "somebody changed \(field.path) of \(target.label)"
                }
            }
        }
        let finder = WorkloadFinder(client)
        let live: LiveWorkload
        do throws(any Error) {
            live = try await finder.find(entry.workload)
        } catch let error as KubernetesError where error.code == .notFound {
            return "\(entry.workload) was deleted"
        }
        var known = try await live.ownership()
        let stillness = Stillness(client: client, live: live, targets: entry.targets, known: known) {}
        return try await stillness.obstacles(&known).first
    }
}
