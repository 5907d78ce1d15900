internal import Kubernetes
internal import Workloads

/// What the pods of a workload that is about to be restored need, and its namespace does not have: secrets that were left
/// out of the backup, and all else that somebody else is to make. Told of while the data is still on its way, when there is
/// time to make it; a pod that lacks something only waits, so nothing of this keeps anything from being restored.
struct MissingReferents: Sendable {
    private let client: KubernetesClient

    init(_ client: KubernetesClient) { self.client = client }

    /// A sentence for each. The workload is as it is to be created, and what it is made from is there if the cluster can have
    /// it: a runtime is looked through for what its own pods need. What may not be read is told of where it is a Secret, and
    /// taken for there otherwise: servers refuse that to many who may restore. What cannot be looked for now is told of, too.
    /// Throws `.cancelled` alone.
    func remarks(for workload: Workload) async throws(KubernetesError) -> [String] {
        let namespace = workload.object.namespace
        var remarks: [String] = []
        var left = workload.references().filter { isAwaited($0, of: workload) }
        var seen: Set<[String]> = []
        while !left.isEmpty {
            let reference = left.removeFirst()
            guard seen.insert([reference.kind.groupResource, reference.namespace, reference.name]).inserted
            else { continue }
            let place = reference.namespace.isEmpty ? "" : "\(reference.namespace)/"
            let label = "\(reference.kind.kind) \(place)\(reference.name)"
            do throws(KubernetesError) {
                guard let resource = try await client.resource(group: reference.kind.group, kind: reference.kind.kind)
                else { continue }
                let found = try await client.find(resource, namespace: reference.namespace, name: reference.name)
                if let found, reference.role == .runtime {
                    left += TrainJob.podTemplates(ofRuntime: found).flatMap { $0.references(namespace: namespace) }
                } else if found == nil {
                    remarks.append(Self.absence(of: label, reference, workload))
                }
            } catch {
                guard error.code != .cancelled else { throw error }
                guard error.code != .forbidden || reference.kind == .secret, !reference.isOptional else { continue }
                remarks.append(
                    "whether \(label), which \(workload.object.label) needs, is there is not known: see that it is, its pods do not start without (\(error.message))"
                )
            }
        }
        return remarks
    }

    /// Whether it must be there before the workload is: its controller makes its children and templated claims, and owners
    /// are not restored.
    private func isAwaited(_ reference: ObjectReference, of workload: Workload) -> Bool {
        switch reference.role {
        case .child, .owner: false
        case .claim: workload.claims.contains { $0.name == reference.name && $0.origin == .named }
        case .configuration, .secret, .account, .runtime, .queue, .device: true
        }
    }

    private static func absence(of label: String, _ reference: ObjectReference, _ workload: Workload) -> String {
        let user = workload.object.label
        return switch (reference.role, reference.isOptional) {
        case (.runtime, _): "\(label) is not there, and \(user) is made from it: it makes no pods before you create it"
        case (.queue, _): "\(label) is not there, and it is to admit \(user), which waits for it: create it"
        case (.secret, true):
            "\(label) is not there: \(user) starts without it, unless it is what its images are pulled with; create it if it is needed"
        case (_, true): "\(label) is not there: \(user) starts without it; create it if it is needed"
        default: "\(label) is not there, and \(user) needs it: its pods do not start before you create it"
        }
    }
}
