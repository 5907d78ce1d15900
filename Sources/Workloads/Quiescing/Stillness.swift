internal import Kubernetes

/// Whether a workload stands still: not by its conditions, which say that a stop was asked for, but by what is left of it.
struct Stillness: Sendable {
    let client: KubernetesClient
    let live: LiveWorkload
    let targets: [StopTarget]
    /// What told its pods when it was stopped: controllers delete what is between them and the workload, and forget its
    /// name, while the pods still end.
    let known: PodOwnership
    /// Throws when there is nothing to wait for any more, for somebody else has let it go.
    let check: @Sendable () async throws -> Void

    /// Seconds after which it is looked again, whatever the server told meanwhile.
    private static let lookAgainSeconds = 5.0
    /// Seconds between two looks at least: pods that end one by one are looked at together.
    private static let restSeconds = 0.2

    /// Waits until nothing of it runs. Throws `.notInTime` with what is left after `seconds`.
    func wait(seconds: Double) async throws {
        let clock = ContinuousClock()
        let end = clock.now.advanced(by: .seconds(seconds))
        let (changes, signal) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask { await Self.follow(client.watch(.pods, namespace: live.namespace), signal) }
            group.addTask {
                let options = ListOptions(fields: "metadata.name=\(live.object.name)")
                await Self.follow(client.watch(live.resource, namespace: live.namespace, options), signal)
            }
            group.addTask {
                while !Task.isCancelled {
                    try await Task.sleep(for: .seconds(Self.lookAgainSeconds))
                    signal.yield()
                }
            }
            // The end of the time is awaited as another change is.
            group.addTask {
                try await Task.sleep(until: end, clock: clock)
                signal.yield()
            }
            var iterator = changes.makeAsyncIterator()
            var known = known
            while true {
                try await check()
                let left = try await obstacles(&known)
                if left.isEmpty { return }
                guard clock.now < end else {
                    throw QuiesceError(
                        .notInTime,
                        "\(live.object.label) does not stand still after \(Int(seconds)) s: \(Self.words(left)); give it more time with --stop-timeout, or see why it does not end"
                    )
                }
                try await Task.sleep(for: .seconds(Self.restSeconds))
                _ = await iterator.next()
                try Task.checkCancellation()
            }
        }
    }

    /// Tells of every event; a watch that cannot go on is made up for by looking again.
    private static func follow(_ watch: ObjectWatch, _ signal: AsyncStream<Void>.Continuation) async {
        do {
            for try await _ in watch { signal.yield() }
        } catch {
            signal.yield()
        }
    }

    private static func words(_ left: [String]) -> String {
        let shown = left.prefix(3).joined(separator: "; ")
        return left.count > 3 ? "\(shown); and \(left.count - 3) more" : shown
    }

    /// What keeps it from standing still, in words; empty when nothing does.
    func obstacles(_ known: inout PodOwnership) async throws -> [String] {
        var left: [String] = []
        var live = live
        // Pods of one that was deleted still end.
        if try await live.refresh(), let standing = standing(live.workload) {
            left.append("\(live.object.label): \(standing)")
        }
        known.add(try await live.ownership())
        let finder = WorkloadFinder(client)
        for target in targets where target.uid != live.object.uid {
            guard let resource = try await client.resource(target.kind),
                let object = try await client.find(resource, namespace: target.namespace, name: target.name),
                object.uid == target.uid, let child = try await finder.live(object),
                let standing = standing(child.workload)
            else { continue }
            left.append("\(target.label): \(standing)")
        }
        let pods = try await client.list(.pods, namespace: live.namespace).items
        for pod in known.pods(of: pods) where pod.mayRun {
            let node = pod.text("spec", "nodeName").map { " on \($0)" } ?? ""
            left.append(pod.isBeingDeleted ? "\(pod.label)\(node) is ending" : "\(pod.label)\(node) runs")
        }
        return left
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
