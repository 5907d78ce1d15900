internal import Kubernetes

/// Which claims must be bound together before movers fill them one by one: a class that waits for a claim's first consumer
/// (`volumeBindingMode: WaitForFirstConsumer`) has the volume made where that can run, and movers of their own would have
/// the volumes of one pod made in different zones, or on different nodes, where no pod can have both.
struct ClaimBinding: Sendable {
    let client: KubernetesClient

    /// The claims of each user that has several, one of which at least waits to be bound; those that no other user has
    /// come first. `claims` are as they were stored.
    func groups(of users: ClaimUsers, among claims: [KubernetesObject]) async throws -> [[String]] {
        var waiting: Set<String> = []
        var modes: [String: Bool] = [:]
        for claim in claims where (claim["spec", "volumeName"]?.string ?? "").isEmpty {
            guard let name = claim["spec", "storageClassName"]?.string, !name.isEmpty else { continue }
            if modes[name] == nil { modes[name] = try await waits(name) }
            if modes[name] == true { waiting.insert(claim.name) }
        }
        let known = Set(claims.map(\.name))
        var groups: [[String]] = []
        for user in users.users {
            // Last is what a controller made for this pod alone.
            let group = user.claims.reversed().filter { known.contains($0) }
            guard group.count > 1, group.contains(where: { waiting.contains($0) }), !groups.contains(group) else {
                continue
            }
            groups.append(group)
        }
        return groups
    }

    /// Whether volumes of the class are made when a pod wants them. Classes are the cluster's: where one may not be read it
    /// is taken for such, which does no harm.
    private func waits(_ name: String) async throws -> Bool {
        guard let resource = try await client.resource(group: "storage.k8s.io", kind: "StorageClass") else {
            return false
        }
        do throws(KubernetesError) {
            return try await client.find(resource, name: name)?["volumeBindingMode"] == "WaitForFirstConsumer"
        } catch {
            guard error.code == .forbidden else { throw error }
            return true
        }
    }
}
