package import Kubernetes

/// Finds workloads in a cluster by the names that people give them.
package struct WorkloadFinder: Sendable {
    package let client: KubernetesClient
    private let catalog: WorkloadCatalog

    package init(_ client: KubernetesClient, catalog: WorkloadCatalog = .standard) {
        self.client = client
        self.catalog = catalog
    }

    /// The workload of that name. Throws `WorkloadError` for a kind that is none or is not served, and `.notFound`.
    package func find(_ reference: WorkloadReference) async throws -> LiveWorkload {
        let (resource, adapter) = try await served(reference)
        let object = try await client.get(resource, namespace: reference.namespace, name: reference.name)
        return try await live(object, resource, adapter)
    }

    /// The name that means the same everywhere, with the kind's resource and group: `train/jobs.batch/run42`. Throws
    /// `WorkloadError` for a kind that is none or is not served.
    package func canonical(_ reference: WorkloadReference) async throws -> WorkloadReference {
        var reference = reference
        reference.kind = "\(try await served(reference).resource)"
        return reference
    }

    /// The workload that an object of a cluster is; nil when it is none.
    package func live(_ object: KubernetesObject) async throws -> LiveWorkload? {
        guard let adapter = catalog.adapter(group: object.group, kind: object.kind) else { return nil }
        return try await live(object, try await client.resource(of: object), adapter)
    }

    /// Levels of owners that are followed at most.
    private static let mostLevels = 16

    /// The outermost workload that an object belongs to: itself, or what manages it over any number of levels. Nil where
    /// none of them is one, and where what managed it is gone: then it goes, too. What may not be read counts as the end.
    package func root(of object: KubernetesObject) async throws -> LiveWorkload? {
        var found = catalog.adapter(group: object.group, kind: object.kind) == nil ? nil : object
        var current = object
        follow: for _ in 0..<Self.mostLevels {
            guard let owner = current.controller else { break }
            switch try await manager(owner, of: current) {
            case .found(let manager):
                if catalog.adapter(group: manager.group, kind: manager.kind) != nil { found = manager }
                current = manager
            case .gone where catalog.kind(of: owner) != nil: return nil
            case .gone, .unknown: break follow
            }
        }
        guard let found else { return nil }
        return try await live(found)
    }

    /// What manages an object.
    private enum Manager {
        case found(KubernetesObject)
        case gone
        /// Its kind is not served, or it may not be read.
        case unknown
    }

    private func manager(
        _ owner: OwnerReference, of object: KubernetesObject
    ) async throws(KubernetesError) -> Manager {
        let kind = GroupVersionKind(apiVersion: owner.apiVersion, kind: owner.kind)
        do throws(KubernetesError) {
            guard let resource = try await client.resource(group: kind.group, kind: kind.kind) else { return .unknown }
            let manager = try await client.find(
                resource, namespace: resource.isNamespaced ? object.namespace : "", name: owner.name)
            return manager.flatMap { $0.uid == owner.uid ? .found($0) : nil } ?? .gone
        } catch {
            guard error.code == .forbidden else { throw error }
            return .unknown
        }
    }

    private func served(
        _ reference: WorkloadReference
    ) async throws -> (resource: APIResource, adapter: any WorkloadAdapter) {
        if let (resource, adapter) = try await kind(reference.kind) { return (resource, adapter) }
        throw WorkloadError(
            "\(reference): the server has no kind of workload called `\(reference.kind)`; 'kubectl api-resources' lists "
                + "what it has")
    }

    private func live(
        _ object: KubernetesObject, _ resource: APIResource, _ adapter: any WorkloadAdapter
    ) async throws -> LiveWorkload {
        var adapter = adapter
        if adapter.kind == BatchJob().kind, try await !servesSuspend(object) {
            adapter = BatchJob(servesSuspend: false)
        }
        return LiveWorkload(client: client, resource: resource, workload: Workload(object, adapter))
    }

    /// A kind that people name, among those that we can stop: `job` means Kubernetes' own, wherever Volcano's is served.
    private func kind(_ name: String) async throws(KubernetesError) -> (APIResource, any WorkloadAdapter)? {
        if let resource = try await client.resource(named: name),
            let adapter = catalog.adapter(group: resource.group, kind: resource.kind)
        {
            return (resource, adapter)
        }
        let word = name.lowercased()
        for adapter in catalog.adapters where adapter.kind.kind.lowercased() == word || adapter.kind.resource == word {
            let kind = adapter.kind
            if let resource = try await client.resource(group: kind.group, kind: kind.kind) {
                return (resource, adapter)
            }
        }
        return nil
    }

    /// Whether the server keeps `spec.suspend` of Jobs: always from 1.24 on, by feature gate from 1.21 on, and dropped
    /// without a word before. A dry run tells.
    private func servesSuspend(_ job: KubernetesObject) async throws(KubernetesError) -> Bool {
        let version = try await client.serverVersion()
        if version >= ServerVersion(major: 1, minor: 24) { return true }
        if version < ServerVersion(major: 1, minor: 21) { return false }
        let answer = try await client.patch(
            .jobs, namespace: job.namespace, name: job.name, .merge(["spec": ["suspend": true]]),
            WriteOptions(isDryRun: true))
        return answer["spec", "suspend"]?.bool == true
    }
}
