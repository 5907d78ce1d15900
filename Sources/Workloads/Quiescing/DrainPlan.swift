internal import Kubernetes

/// What has to be drained before a workload's pods are stopped: routes, and the servers that answer what they have begun.
struct DrainPlan: Sendable {
    /// A pod that answers requests.
    struct Server: Sendable {
        var name: String
        /// Where it tells of its metrics.
        var ports: [Int]
        /// What the kubelet grants it after SIGTERM.
        var graceSeconds: Int64
    }

    /// The routes, none of them changed yet.
    var targets: [StopTarget] = []
    var servers: [Server] = []
    /// What users should know.
    var remarks: [String] = []
    /// What may not be read, so that there may be more to drain.
    var refusals: [String] = []

    // MARK: Making one

    /// Looks what leads to a workload's pods. A pool that keeps pods of others stays open: its endpoint picker leaves out
    /// those that end. The journal of the workload must be open by now: of two that are to be stopped at once, one at least
    /// sees the other's, and drains.
    static func make(_ client: KubernetesClient, for live: LiveWorkload) async throws -> DrainPlan {
        var plan = DrainPlan()
        let finder = PoolFinder(client)
        let listed = try await finder.pools(namespace: live.namespace)
        plan.refusals = listed.refusals
        guard !listed.objects.isEmpty else { return plan }
        let all = try await client.list(.pods, namespace: live.namespace).items
        let ownership = try await live.ownership()
        let own = ownership.pods(of: all).filter(\.mayServe)
        let pools = listed.objects.map(InferencePool.init).filter { pool in own.contains { pool.selects($0.labels) } }
        guard !pools.isEmpty else { return plan }
        let routes = try await finder.routes(to: Set(pools.map(\.reference)))
        plan.refusals += routes.refusals

        let others = try await pods(all, besides: own, thatStay: client, live)
        var drained: [InferencePool] = []
        for pool in pools {
            let staying = others.filter { pool.selects($0.labels) && $0.isTrue("Ready") }
            guard let first = staying.first else {
                drained.append(pool)
                continue
            }
            guard routes.objects.contains(where: { RouteDrain.openPools(of: $0).contains(pool.reference) }) else {
                continue
            }
            let ending = own.filter { pool.selects($0.labels) }
            let grace = ending.map { Self.grace(of: $0) }.max() ?? 30
            plan.remarks.append(
                "\(pool.reference) keeps \(staying.count) other \(staying.count == 1 ? "pod" : "pods") (\(first.name)), so its routes stay as they are: its endpoint picker sends nothing more to pods that end, and these have their termination grace of \(grace) s to answer what they have begun"
            )
        }
        plan.add(drained, routes.objects, own)
        return plan
    }

    private mutating func add(_ pools: [InferencePool], _ routes: [KubernetesObject], _ own: [KubernetesObject]) {
        let references = Set(pools.map(\.reference))
        for route in routes {
            // One that is drained for somebody else already is held by this workload, too.
            let noted = (try? RouteDrain(of: route))?.pools ?? []
            let meant = RouteDrain.openPools(of: route).union(noted).intersection(references)
            guard !meant.isEmpty else { continue }
            var target = StopTarget(route, .drain)
            target.pools = meant.sorted { "\($0)" < "\($1)" }
            let serving = own.filter { pod in
                pod.isTrue("Ready") && pools.contains { meant.contains($0.reference) && $0.selects(pod.labels) }
            }
            target.servingPods = Int64(serving.count)
            targets.append(target)
            if RouteDrain.leavesRuleEmpty(route, without: references) {
                remarks.append(
                    "\(route.label) has rules with no other backend: the gateway answers their requests with an error (500 or 503) until the workload serves again"
                )
            }
        }
        guard !targets.isEmpty else { return }
        for pod in own where pod.isTrue("Ready") {
            let ports = Set(pools.filter { $0.selects(pod.labels) }.flatMap(\.ports))
            guard pools.contains(where: { $0.selects(pod.labels) }) else { continue }
            servers.append(Server(name: pod.name, ports: ports.sorted(), graceSeconds: Self.grace(of: pod)))
        }
    }

    private static func grace(of pod: KubernetesObject) -> Int64 {
        Pod().podTemplates(pod).first?.gracePeriodSeconds ?? 30
    }

    /// Pods that others own and that stay: not those of workloads that are being stopped, too.
    private static func pods(
        _ all: [KubernetesObject], besides own: [KubernetesObject], thatStay client: KubernetesClient,
        _ live: LiveWorkload
    ) async throws -> [KubernetesObject] {
        let ours = Set(own.map(\.uid))
        var others = all.filter { !ours.contains($0.uid) && $0.mayServe }
        guard !others.isEmpty else { return [] }
        let journals: [QuiesceJournal.Entry]
        do throws(KubernetesError) {
            journals = try await QuiesceJournal.list(client, namespace: live.namespace).entries.map(\.entry)
        } catch {
            // Who may not list them knows of none.
            guard error.code == .forbidden else { throw error }
            return others
        }
        for entry in journals
        where entry.workload != live.reference && entry.consistency != .checkpoint && entry.step != .resuming {
            do throws(any Error) {
                guard try await isStopping(entry, client) else { continue }
                let held = try await WorkloadFinder(client).find(entry.workload)
                let theirs = Set(try await held.ownership().pods(of: others).map(\.uid))
                others.removeAll { theirs.contains($0.uid) }
            } catch let error as KubernetesError where error.code == .notFound || error.code == .forbidden {
                // Which pods are its is not known, and a pool that has pods is not closed: they stay.
            } catch is WorkloadError {
                // The same: its kind is not served any more, or its journal cannot be read.
            }
        }
        return others
    }

    /// Whether a workload that was to be stopped is: one whose holder died before he changed anything runs on.
    private static func isStopping(_ listed: QuiesceJournal.Entry, _ client: KubernetesClient) async throws -> Bool {
        let (entry, now) = try await QuiesceJournal(client, of: listed.workload).read()
        guard let entry, entry.step != .resuming else { return false }
        guard entry.isOver(at: now) else { return true }
        for target in entry.targets where target.method != .drain {
            guard let resource = try await client.resourceInAnyVersion(of: target.kind),
                let object = try await client.find(resource, namespace: target.namespace, name: target.name),
                object.uid == target.uid
            else { continue }
            if object.annotations[BecalmAnnotation.quiesced] != nil { return true }
        }
        return false
    }
}

extension KubernetesObject {
    /// Whether a pod may get requests: it runs, and is not told to end.
    var mayServe: Bool { mayRun && !isBeingDeleted }
}
