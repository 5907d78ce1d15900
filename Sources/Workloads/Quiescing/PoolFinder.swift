package import Kubernetes

/// Finds the pools that pods belong to, and the routes that lead to them.
package struct PoolFinder: Sendable {
    private let client: KubernetesClient

    package init(_ client: KubernetesClient) { self.client = client }

    /// What was found, as far as it may be read.
    package struct Found: Sendable {
        package var objects: [KubernetesObject] = []
        /// What may not be read, each on one line with the permission that is missing.
        package var refusals: [String] = []
    }

    /// The pools of a namespace, of both groups.
    package func pools(namespace: String) async throws(KubernetesError) -> Found {
        var found = Found()
        for kind in InferencePool.kinds {
            guard let resource = try await client.resource(group: kind.group, kind: kind.kind) else { continue }
            do throws(KubernetesError) {
                found.objects += try await client.list(resource, namespace: namespace).items
            } catch {
                guard error.code == .forbidden else { throw error }
                found.refusals.append(error.message)
            }
        }
        return found
    }

    /// The routes that name any of `pools`, whatever weight it has there: of all namespaces where they may be listed, for a route
    /// may name a pool of another one; else of those of the pools.
    package func routes(to pools: Set<PoolReference>) async throws(KubernetesError) -> Found {
        let kind = ResourceKind.httpRoute
        guard !pools.isEmpty, let resource = try await client.resource(group: kind.group, kind: kind.kind) else {
            return Found()
        }
        var found = Found()
        do throws(KubernetesError) {
            found.objects = try await client.list(resource).items
        } catch {
            guard error.code == .forbidden else { throw error }
            for namespace in Set(pools.map(\.namespace)).sorted() {
                do throws(KubernetesError) {
                    found.objects += try await client.list(resource, namespace: namespace).items
                } catch {
                    guard error.code == .forbidden else { throw error }
                    found.refusals.append(error.message)
                }
            }
        }
        found.objects = found.objects.filter { !RouteDrain.pools(of: $0).isDisjoint(with: pools) }
        return found
    }

    /// The routes whose weights are 0 for a workload, as far as they may be listed.
    func routes(
        drainedFor holder: WorkloadReference
    ) async throws(KubernetesError) -> [KubernetesObject] {
        let kind = ResourceKind.httpRoute
        guard let resource = try await client.resource(group: kind.group, kind: kind.kind) else { return [] }
        for namespace in ["", holder.namespace] {
            do throws(KubernetesError) {
                let routes = try await client.list(resource, namespace: namespace).items
                // What an annotation says that cannot be read is nobody's.
                return routes.filter { (try? RouteDrain(of: $0))?.holders.contains("\(holder)") ?? false }
            } catch {
                guard error.code == .forbidden else { throw error }
            }
        }
        return []
    }

    /// The pools and the routes of a workload, for a backup to have with it: pools that its pods or templates belong to, and
    /// the routes that name those.
    package func surroundings(of live: LiveWorkload) async throws -> (pools: Found, routes: Found) {
        var pools = try await pools(namespace: live.namespace)
        guard !pools.objects.isEmpty else { return (pools, Found()) }
        var labels = try await live.pods().map(\.labels)
        for template in live.workload.podTemplates {
            let members = template.json["metadata", "labels"]?.object?.members ?? []
            labels.append(
                Dictionary(members.map { ($0.key, $0.value.string ?? "") }, uniquingKeysWith: { first, _ in first }))
        }
        // Controllers put labels on pods that no template has, and pods that are stopped have none.
        let drained = try await routes(drainedFor: live.reference).compactMap { try RouteDrain(of: $0)?.pools }
        let known = Set(drained.flatMap { $0 })
        pools.objects = pools.objects.filter { object in
            let pool = InferencePool(object)
            return known.contains(pool.reference) || labels.contains(where: pool.selects)
        }
        return (pools, try await routes(to: Set(pools.objects.map { InferencePool($0).reference })))
    }
}
