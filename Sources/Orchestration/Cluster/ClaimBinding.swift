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

    /// How the volume of a claim that is there comes to be, and where a mover of it runs.
    package struct Plan: Sendable, Equatable {
        /// Claims that one pod has and that are there, this one among them, in the order of their names; empty where it is
        /// alone.
        package var together: [String] = []
        /// Whether some of them wait for a pod.
        package var waits = false
        /// Where pods of the workload can run; beside the one that has the claim already. Anywhere, for a claim that no
        /// workload names.
        package var placement = MoverPlacement()

        package init() {}
    }

    /// Looks at the workloads of the claim's namespace, all of which are there by now. Kinds that cannot be listed are passed
    /// over. Throws `KubernetesError`.
    package func plan(for claim: KubernetesObject) async throws -> Plan {
        let namespace = claim.namespace
        var plan = Plan()
        let workloads = try await NamespaceWorkloads(client: client, passesOverFailures: true).all(in: namespace).map(
            \.workload)
        let user = workloads.first { workload in
            workload.object.labels[BecalmAnnotation.run] == nil && workload.claims.contains { $0.name == claim.name }
        }
        guard let user else { return plan }
        let users = ClaimUsers(user)
        plan.placement = users.placement(of: claim.name)
        let isBound = !(claim["spec", "volumeName"]?.string ?? "").isEmpty
        if isBound {
            let pods = try await client.list(.pods, namespace: namespace).items.filter {
                $0.labels[BecalmAnnotation.run] == nil
            }
            let beside = MoverPlacement(of: claim, pods: pods)
            if beside.node != nil { plan.placement = beside }
        }
        // Those that no template names, such as a JobSet makes for all of its pods, are every pod's.
        let inTemplates = Set(users.users.flatMap(\.claims))
        let mates =
            users.users.first { $0.claims.contains(claim.name) }?.claims
            ?? user.claims.map(\.name).filter { !inTemplates.contains($0) }
        guard mates.count > 1 else { return plan }
        let there = try await client.list(.persistentVolumeClaims, namespace: namespace).items
            .filter { mates.contains($0.name) }
        guard there.count > 1 else { return plan }
        for mate in there where !plan.waits { plan.waits = try await mayWait(mate) }
        plan.together = there.map(\.name).sorted()
        return plan
    }

    /// Whether volumes of the class are made when a pod wants them. Classes are the cluster's: where one may not be read, or is
    /// not there yet, it is taken for such, which does no harm.
    private func waits(_ name: String) async throws -> Bool {
        guard let resource = try await client.resource(group: "storage.k8s.io", kind: "StorageClass") else {
            return false
        }
        do throws(KubernetesError) {
            guard let found = try await client.find(resource, name: name) else { return true }
            return found["volumeBindingMode"] == "WaitForFirstConsumer"
        } catch {
            guard error.code == .forbidden else { throw error }
            return true
        }
    }
}
