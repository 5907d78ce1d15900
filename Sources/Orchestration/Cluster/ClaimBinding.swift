package import Kubernetes
internal import Workloads

/// Which claims must be bound together before movers fill them one by one: a class that waits for a claim's first consumer
/// (`volumeBindingMode: WaitForFirstConsumer`) has the volume made where that can run, and movers of their own would have
/// the volumes of one pod made in different zones, or on different nodes, where no pod can have both.
package struct ClaimBinding: Sendable {
    private let client: KubernetesClient

    package init(_ client: KubernetesClient) { self.client = client }

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

    /// Whether the volume of a claim, as it is to be created, may be made only when a pod wants it: its class says so, or is
    /// not named yet. Throws `KubernetesError`.
    package func mayWait(_ claim: KubernetesObject) async throws -> Bool {
        guard (claim["spec", "volumeName"]?.string ?? "").isEmpty else { return false }
        guard let name = claim["spec", "storageClassName"]?.string else { return true }
        return name.isEmpty ? false : try await waits(name)
    }

    /// Where a mover runs that is the first to want a claim of its namespace: where the pods can run that have it, scheduled
    /// with those of their other claims that wait as well. Anywhere, for a claim that no workload names. Throws
    /// `KubernetesError`.
    package func placement(ofFirstUserOf claim: String, namespace: String) async throws -> MoverPlacement {
        let workloads = try await NamespaceWorkloads(client: client).all(in: namespace)
        let users = workloads.flatMap { ClaimUsers($0.workload).users }
        guard let user = users.first(where: { $0.claims.contains(claim) }) else { return MoverPlacement() }
        var placement = MoverPlacement(like: user.template)
        let claims = try await client.list(.persistentVolumeClaims, namespace: namespace).items
        for other in claims where other.name != claim && user.claims.contains(other.name) {
            if try await mayWait(other) { placement.companions.append(other.name) }
        }
        return placement
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
