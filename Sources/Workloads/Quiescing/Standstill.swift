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
            else {
                // A Job of a CronJob that has ended may be deleted for it; that pods run again is seen below.
                if target.uid != entry.uid, target.kind.kind == BatchJob().kind.kind { continue }
                return "\(target.label) was deleted or replaced"
            }
            guard let held = try HeldFields(of: object, annotation: BecalmAnnotation.quiesced) else {
                return "somebody let \(target.label) go"
            }
            for field in held.fields {
                guard let path = field.path.resolve(in: object), object[path] == field.set else {
                    let manager = field.path.resolve(in: object).flatMap { Self.manager(of: $0, in: object) }
                    return "\(manager ?? "somebody") changed \(field.path) of \(target.label)"
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

    /// Who wrote a field last, by what the server keeps of it (`managedFields`); nil where that does not tell.
    private static func manager(of path: JSONPath, in object: KubernetesObject) -> String? {
        var way: [JSONPath.Element] = ["fieldsV1"]
        for element in path.elements {
            // Elements of lists are named by their members there.
            guard case .key(let key) = element else { return nil }
            way.append(.key("f:\(key)"))
        }
        let field = JSONPath(way)
        var newest: (time: String, manager: String)?
        for entry in object["metadata", "managedFields"]?.array ?? [] {
            guard entry[field] != nil, let manager = entry["manager"]?.string else { continue }
            let time = entry["time"]?.string ?? ""
            if newest == nil || newest?.time ?? "" < time { newest = (time, manager) }
        }
        return newest?.manager
    }
}
