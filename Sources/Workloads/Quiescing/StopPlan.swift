internal import Basics
internal import Kubernetes

/// Which objects must be changed to stop a workload, found before any of them is.
struct StopPlan: Sendable {
    private let client: KubernetesClient
    private let finder: WorkloadFinder

    init(_ client: KubernetesClient) {
        self.client = client
        finder = WorkloadFinder(client)
    }

    /// The objects, each with the workload that it is by itself. Throws `.refused` for what cannot be stopped.
    func targets(of live: LiveWorkload) async throws -> [StopTarget] {
        var targets: [StopTarget] = []
        // Its counters do not wait for pods that end, and it does not name them.
        if KueueQueue.all.contains(where: { $0.kind == live.workload.kind }) {
            throw QuiesceError(
                .refused,
                "\(live.object.label) is a queue, which does not tell when the pods of its jobs have ended: name the jobs one by one"
            )
        }
        switch live.workload.stop {
        case .fields: targets.append(StopTarget(live.object, .fields))
        case .command: targets.append(StopTarget(live.object, .command))
        case .throughKueue: targets.append(StopTarget(try await kueueWorkload(of: live), .fields))
        case .objects(let references):
            for child in try await children(of: live) { targets += try await self.targets(of: child) }
            guard !targets.isEmpty else {
                let names = references.map { "\($0.kind.kind) \($0.name)" }.joined(separator: ", ")
                throw QuiesceError(
                    .refused,
                    "\(live.object.label) is stopped by its \(names), which is not there: is its operator running?"
                )
            }
        case .impossible(let reason):
            throw QuiesceError(.refused, "\(live.object.label) cannot be stopped: \(reason)")
        }
        // A CronJob that is suspended starts no more Jobs; those that run are stopped one by one.
        if live.workload.kind == CronJob().kind {
            for child in try await children(of: live) { targets += try await self.targets(of: child) }
        }
        return targets.map { target in
            var target = target
            target.isPart = target.uid != live.object.uid
            return target
        }
    }

    /// The workloads that are stopped with one, or in its place, over any number of levels. Empty for what is stopped by itself.
    func parts(of live: LiveWorkload) async throws -> [LiveWorkload] {
        var parts: [LiveWorkload] = []
        for child in try await children(of: live) { parts += [child] + (try await self.parts(of: child)) }
        return parts
    }

    private func children(of live: LiveWorkload) async throws -> [LiveWorkload] {
        var children: [LiveWorkload] = []
        if case .objects(let references) = live.workload.stop {
            for reference in references {
                let kind = reference.kind
                guard let resource = try await client.resource(group: kind.group, kind: kind.kind),
                    let object = try await client.find(resource, namespace: reference.namespace, name: reference.name),
                    let child = try await finder.live(object)
                else { continue }
                children.append(child)
            }
        }
        if live.workload.kind == CronJob().kind {
            for job in try await live.descendants() {
                guard let child = try await finder.live(job), child.workload.completion == nil else { continue }
                children.append(child)
            }
        }
        return children
    }

    /// The Kueue Workload that admits a job: the one that the job owns.
    private func kueueWorkload(of live: LiveWorkload) async throws -> KubernetesObject {
        let kind = KueueWorkload().kind
        guard let resource = try await client.resource(group: kind.group, kind: kind.kind) else {
            throw QuiesceError(
                .refused,
                "\(live.object.label) names a queue of Kueue, and the server serves no Workloads: install Kueue, or remove "
                    + "the label kueue.x-k8s.io/queue-name")
        }
        let workloads = try await client.list(resource, namespace: live.namespace).items
        let owned = workloads.filter { $0.ownerReferences.contains { $0.uid == live.object.uid } }
        guard
            let newest = owned.max(by: { ($0.creationTimestamp?.seconds ?? 0) < ($1.creationTimestamp?.seconds ?? 0) })
        else {
            throw QuiesceError(
                .refused,
                "\(live.object.label) names a queue of Kueue but has no Workload: is Kueue running, and is the queue there?"
            )
        }
        return newest
    }
}
