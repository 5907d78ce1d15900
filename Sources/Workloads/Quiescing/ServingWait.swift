internal import Kubernetes

/// Waits until a workload that was let go serves again, so that routes lead to pods that answer.
struct ServingWait: Sendable {
    let client: KubernetesClient
    let reference: WorkloadReference
    /// The workload's uid.
    let uid: String
    /// The pools that its pods are awaited in.
    let pools: Set<PoolReference>
    /// So many pods served when it was drained; none are awaited where none did.
    let pods: Int64

    /// Seconds for which all pods that are there must be Ready where they are fewer than before: somebody has scaled it.
    private static let settledSeconds = 10.0

    /// How it stands.
    enum Standing: Sendable {
        case serves
        /// With what is awaited, in words.
        case starts(String)
        /// It does not start again: it was deleted, is done, somebody stopped it, or none of its pods served before.
        case gone
    }

    /// Looks once. `settled` tells since when all pods that are there are Ready.
    func look(_ settled: inout ContinuousClock.Instant?) async throws -> Standing {
        guard pods > 0 else { return .gone }
        let live: LiveWorkload
        do throws(any Error) {
            live = try await WorkloadFinder(client).find(reference)
        } catch let error as KubernetesError where error.code == .notFound {
            return .gone
        } catch is WorkloadError {
            // Its kind is not served any more.
            return .gone
        }
        guard live.object.uid == uid, live.workload.completion == nil else { return .gone }
        let found = try await PoolFinder(client).pools(namespace: reference.namespace).objects
            .map(InferencePool.init).filter { pools.contains($0.reference) }
        let own = try await live.pods().filter { pod in
            pod.mayServe && (found.isEmpty || found.contains { $0.selects(pod.labels) })
        }
        // Its operator may not have seen yet that it is let go.
        if own.isEmpty, live.workload.standing == .stopped, live.workload.asksToStop { return .gone }
        let ready = own.filter { $0.isTrue("Ready") }
        if ready.count >= pods { return .serves }
        guard !own.isEmpty, ready.count == own.count else {
            settled = nil
            return .starts("\(ready.count) of \(max(Int64(own.count), pods)) pods of \(reference) are Ready")
        }
        let clock = ContinuousClock()
        let since = settled ?? clock.now
        settled = since
        return since.duration(to: clock.now) >= .seconds(Self.settledSeconds)
            ? .serves : .starts("\(ready.count) of \(pods) pods of \(reference) are Ready")
    }

    /// Waits until `end` at most, and tells first that `routes` are waited for; `check` is called at each look, and may
    /// end it by throwing.
    func wait(
        until end: ContinuousClock.Instant, report: (String) -> Void, for routes: String,
        check: @escaping @Sendable () async throws -> Void
    ) async throws -> Standing {
        var settled: ContinuousClock.Instant?
        var standing = try await look(&settled)
        guard case .starts(let words) = standing, ContinuousClock().now < end else { return standing }
        report("\(words): \(routes) gets its weight back when all are")
        let look = RepeatedLook([client.watch(.pods, namespace: reference.namespace)])
        _ = try await look.lasts(until: end) {
            try await check()
            standing = try await self.look(&settled)
            if case .starts = standing { return false }
            return true
        }
        return standing
    }
}
