internal import Kubernetes

/// What is between a workload and its pods: objects that its controller makes, which own others in turn.
enum Descendants {
    /// The kinds that objects of a kind own on the way to pods.
    private static func children(of kind: ResourceKind) -> [ResourceKind] {
        switch kind.kind {
        case "CronJob", "JobSet", "MPIJob": [BatchJob().kind]
        case "TrainJob": [JobSet().kind]
        case "RayJob": [RayCluster().kind, BatchJob().kind]
        case "RayService": [RayCluster().kind]
        case "LeaderWorkerSet": [StatefulSet().kind]
        case "DisaggregatedSet": [LeaderWorkerSet().kind]
        case "Deployment": [.replicaSet]
        case "InferenceSet": [KaitoWorkspace().kind]
        case "Workspace": [StatefulSet().kind, BatchJob().kind]
        case "RAGEngine": [Deployment().kind]
        default: []
        }
    }

    /// The objects below those given, of kinds that the server serves, as they are now.
    static func list(
        below roots: [(kind: ResourceKind, uid: String)], namespace: String, _ client: KubernetesClient
    ) async throws(KubernetesError) -> [KubernetesObject] {
        var found: [KubernetesObject] = []
        var level = roots
        while !level.isEmpty {
            var next: [(kind: ResourceKind, uid: String)] = []
            var uidsByChild: [ResourceKind: Set<String>] = [:]
            for (kind, uid) in level where !uid.isEmpty {
                for child in children(of: kind) { uidsByChild[child, default: []].insert(uid) }
            }
            for (child, uids) in uidsByChild {
                guard let resource = try await client.resource(group: child.group, kind: child.kind) else { continue }
                for object in try await client.list(resource, namespace: namespace).items
                where object.ownerReferences.contains(where: { uids.contains($0.uid) }) {
                    found.append(object)
                    next.append((child, object.uid))
                }
            }
            level = next
        }
        return found
    }
}
