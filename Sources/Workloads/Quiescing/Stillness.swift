internal import Kubernetes

/// Whether a workload stands still: not by its conditions, which say that a stop was asked for, but by what is left of it.
struct Stillness: Sendable {
    let client: KubernetesClient
    let live: LiveWorkload
    let targets: [StopTarget]
    /// What told its pods when it was stopped: controllers delete what is between them and the workload, and forget its
    /// name, while the pods still end.
    let known: PodOwnership
    /// Whether a status counts only once its controller has seen the object as it is now. Right after it was stopped it does: a status
    /// from before tells of no pods where it was let go a moment ago, and these come yet. Later, others may change the object.
    var awaitsControllers = false
    /// Throws when there is nothing to wait for any more, for somebody else has let it go.
    let check: @Sendable () async throws -> Void

    /// Waits until nothing of it runs. Throws `.notInTime` with what is left after `seconds`.
    func wait(seconds: Double) async throws {
        let options = ListOptions(fields: "metadata.name=\(live.object.name)")
        let look = RepeatedLook([
            client.watch(.pods, namespace: live.namespace),
            client.watch(live.resource, namespace: live.namespace, options),
        ])
        var known = known
        var left: [String] = []
        let isStill = try await look.lasts(until: ContinuousClock().now.advanced(by: .seconds(seconds))) {
            try await check()
            left = try await obstacles(&known)
            return left.isEmpty
        }
        guard !isStill else { return }
        throw QuiesceError(
            .notInTime,
            "\(live.object.label) does not stand still after \(Int(seconds)) s: \(Self.words(left)); give it more time with --stop-timeout, or see why it does not end"
        )
    }

    private static func words(_ left: [String]) -> String {
        let shown = left.prefix(3).joined(separator: "; ")
        return left.count > 3 ? "\(shown); and \(left.count - 3) more" : shown
    }

    /// What keeps it from standing still, in words; empty when nothing does.
    func obstacles(_ known: inout PodOwnership) async throws -> [String] {
        var left: [String] = []
        var live = live
        var objects: [KubernetesObject] = []
        // Pods of one that was deleted still end.
        if try await live.refresh() {
            objects.append(live.object)
            if let standing = standing(live.workload) { left.append("\(live.object.label): \(standing)") }
        }
        let descendants = try await live.descendants()
        objects += descendants
        known.add(try live.ownership(over: descendants))
        let finder = WorkloadFinder(client)
        for target in targets where target.uid != live.object.uid && target.method != .drain {
            guard let resource = try await client.resource(target.kind),
                let object = try await client.find(resource, namespace: target.namespace, name: target.name),
                object.uid == target.uid, let child = try await finder.live(object)
            else { continue }
            if !objects.contains(where: { $0.uid == object.uid }) { objects.append(object) }
            if let standing = standing(child.workload) { left.append("\(target.label): \(standing)") }
        }
        if awaitsControllers { left += objects.compactMap(Self.unseen) }
        // After the objects: what a controller has made before it wrote its status is among them.
        let pods = try await client.list(.pods, namespace: live.namespace).items
        for pod in known.pods(of: pods) where pod.mayRun {
            let node = pod.text("spec", "nodeName").map { " on \($0)" } ?? ""
            left.append(pod.isBeingDeleted ? "\(pod.label)\(node) is ending" : "\(pod.label)\(node) runs")
        }
        return left
    }

    /// Kinds whose controllers write `status.observedGeneration` after each change of the spec, whatever else has changed: those of
    /// Kubernetes' `apps` (1.9 to 1.37) and of LeaderWorkerSet 0.10. KubeRay writes it with other changes only, and the rest have none.
    private static let observed = [StatefulSet().kind, Deployment().kind, .replicaSet, LeaderWorkerSet().kind]

    /// What an object's controller has not seen yet, in words; nil when it has, or when its status does not say.
    private static func unseen(_ object: KubernetesObject) -> String? {
        guard observed.contains(where: { $0.group == object.group && $0.kind == object.kind }), !object.isBeingDeleted,
            let seen = object["status", "observedGeneration"]?.int64, seen < object.generation
        else { return nil }
        return
            "\(object.label): its controller has not taken it up yet (observedGeneration \(seen) of \(object.generation))"
    }

    /// What its own status says that is left; nil when nothing is, or when it has no counters.
    private func standing(_ workload: Workload) -> String? {
        // It counts Jobs that are suspended as active; they are targets themselves.
        if workload.kind == CronJob().kind { return nil }
        if workload.completion != nil { return nil }
        switch workload.standing {
        case .stopped, nil: return nil
        case .running: return "its controller has not stopped it yet"
        case .stopping(let what): return what
        }
    }
}
