import Kubernetes
import KubernetesTesting
import Synchronization
import Testing
import Workloads

/// What may go wrong between closing a route and opening it: permissions that are missing, others at work, processes that die.
@Suite("Draining when something goes wrong", .timeLimit(.minutes(5)))
struct DrainFailureTests {
    /// A cluster with a second route to the same pool.
    private static func twoRoutes() throws -> FakeCluster {
        let cluster = try ModelServers.cluster()
        cluster.put(try Fixtures.object(ModelServers.route.replacing("chat", with: "files")))
        return cluster
    }

    /// Says of pods whether they are Ready.
    private static func setReady(_ isReady: Bool, _ role: String, _ cluster: FakeCluster) throws {
        for var pod in cluster.all("Pod") where pod.name.hasPrefix(role) {
            try pod.set(
                .array([["type": "Ready", "status": isReady ? "True" : "False"]]), at: ["status", "conditions"])
            pod.setAnnotation("looks", nil)
            cluster.put(pod)
        }
    }

    private static func step(_ cluster: FakeCluster) -> String? {
        cluster.all("Lease").first?.annotations["becalm.io/step"]
    }

    /// Refuses a method on one object: `GET chat`.
    private static func forbid(_ request: String, _ cluster: FakeCluster) {
        let words = request.split(separator: " ").map(String.init)
        cluster.refuse { asked in
            asked.method == words[0] && asked.path.split(separator: "/").last.map(String.init) == words[1] ? 403 : nil
        }
    }

    // MARK: Permissions

    @Test("A route that may be listed and not read or changed is left alone, and nobody has to open it")
    func refused() async throws {
        for request in ["GET chat", "PUT chat"] {
            let cluster = try Self.twoRoutes()
            Self.forbid(request, cluster)
            let record = try await ModelServers.quiesce(cluster)
            #expect(record.remarks.contains { $0.contains("HTTPRoute ml/chat still sends") }, "\(record.remarks)")
            #expect(ModelServers.weights(cluster) == [3, 1, nil, 0])
            #expect(ModelServers.weights(cluster, "files") == [0, 1, 0, 0])
            let targets = try #require(cluster.all("Lease").first?.annotations["becalm.io/targets"])
            #expect(targets.contains(#""files""#) && !targets.contains(#""chat""#))
            let resumption = try await ModelServers.resume(cluster)
            #expect(resumption.notices.isEmpty)
            #expect(ModelServers.weights(cluster, "files") == [3, 1, nil, 0])
            #expect(cluster.all("Lease").isEmpty)
        }
    }

    @Test(
        "A route that may not be read any more is told of; one that may not be changed keeps the journal, and no other route"
    )
    func refusedLater() async throws {
        let unread = try Self.twoRoutes()
        _ = try await ModelServers.quiesce(unread)
        Self.forbid("GET chat", unread)
        let resumption = try await ModelServers.resume(unread)
        #expect(resumption.remarks.isEmpty)
        #expect(resumption.notices.contains { $0.contains("HTTPRoute ml/chat") && $0.contains("cannot be seen") })
        #expect(ModelServers.weights(unread, "files") == [3, 1, nil, 0])
        #expect(unread.all("Lease").isEmpty)

        let unchanged = try Self.twoRoutes()
        _ = try await ModelServers.quiesce(unchanged)
        Self.forbid("PUT chat", unchanged)
        let error = await #expect(throws: KubernetesError.self) { try await ModelServers.resume(unchanged) }
        #expect(error?.code == .forbidden)
        #expect(ModelServers.weights(unchanged, "files") == [3, 1, nil, 0])
        #expect(ModelServers.weights(unchanged) == [0, 1, 0, 0])
        #expect(Self.step(unchanged) == "resuming")
    }

    @Test("What another journal holds and may not be read keeps nobody from being stopped, and counts as running")
    func othersUnreadable() async throws {
        for drain in [QuiescePolicy.Drain.auto, .off] {
            let cluster = try ModelServers.cluster(["decode", "prefill", "router"])
            _ = try await ModelServers.quiesce(cluster, ModelServers.prefill)
            Self.forbid("GET prefill", cluster)
            let record = try await ModelServers.quiesce(
                cluster, ModelServers.decode, ModelServers.options(drain: drain))
            #expect(record.remarks.contains { $0.contains("keeps 2 other pods (router-0)") } == (drain == .auto))
            #expect(ModelServers.weights(cluster) == [3, 1, nil, 0])
        }
    }

    @Test("Where routes or pools are served no more, a workload is let go all the same, and another one is stopped")
    func servedNoMore() async throws {
        for kind in ["HTTPRoute", "InferencePool"] {
            let cluster = try ModelServers.cluster(["decode", "prefill"])
            _ = try await ModelServers.quiesce(cluster)
            cluster.change { $0.kinds.removeAll { $0.kind == kind } }
            let other = try await ModelServers.quiesce(cluster, ModelServers.prefill)
            #expect(other.times[.stopped] != nil, "\(other)")
            let resumption = try await ModelServers.resume(cluster)
            #expect(cluster.get("Deployment", "decode")?["spec", "replicas"] == 2)
            // Routes went with their kind; a pool's may be there still.
            if kind == "InferencePool" { #expect(ModelServers.weights(cluster) == [3, 1, nil, 0], "\(resumption)") }
            #expect(cluster.all("Lease").map(\.name) == ["becalm-deployments.apps-prefill"])
        }
    }

    // MARK: While pods start

    @Test(
        "A deadline that passes while pods start makes nobody take over, and what was taken is kept whatever routes do")
    func deadlineWhileStarting() async throws {
        for isRefused in [false, true] {
            let cluster = try ModelServers.cluster()
            let client = cluster.client
            var options = ModelServers.options()
            options.isManual = false
            options.deadlineSeconds = 30
            let quiescer = Quiescer(client, options: options)
            let live = try await WorkloadFinder(client).find(ModelServers.decode)
            let backup = Task {
                try await quiescer.holding(live) { _ in
                    cluster.playDeployments(readyAfterLooks: 1_000_000)
                    return 7
                }
            }
            while cluster.all("Lease").first?.annotations["becalm.io/let-go"]?.isEmpty ?? true {
                try await Task.sleep(for: .milliseconds(5))
            }
            cluster.revive(secondsLater: 40)
            let sweep = try await Resumer(client, holder: "sweep").resumeExpired(namespace: "")
            #expect(sweep.resumed.isEmpty && sweep.failed.isEmpty && sweep.left.count == 1)
            if isRefused { Self.forbid("PUT chat", cluster) }
            try Self.setReady(true, "decode", cluster)
            let (result, record) = try await backup.value
            #expect(result == 7 && (record.pauseSeconds ?? 0) > 0)
            #expect(record.remarks.contains { $0.contains("becalm resume --expired") } == isRefused)
            #expect(cluster.all("Lease").isEmpty == !isRefused)
            #expect(ModelServers.weights(cluster) == (isRefused ? [0, 1, 0, 0] : [3, 1, nil, 0]))
        }
    }

    @Test("Who dies before the fields are back is undone at the deadline, though his lease lasts longer")
    func deadlineOfTheDead() async throws {
        for writes in 1...3 {
            let cluster = try ModelServers.cluster()
            _ = try await ModelServers.quiesce(cluster)
            cluster.revive(secondsLater: 60)
            cluster.die(afterWrites: writes, afterDoing: false)
            await #expect(throws: (any Error).self) { try await ModelServers.resume(cluster) }
            #expect(cluster.isDead, "\(writes)")
            cluster.revive(secondsLater: 45)
            let sweep = try await Resumer(cluster.client, holder: "sweep").resumeExpired(namespace: "")
            #expect(sweep.resumed.count == 1 && sweep.left.isEmpty && sweep.failed.isEmpty, "\(writes)")
            #expect(cluster.all("Lease").isEmpty && ModelServers.weights(cluster) == [3, 1, nil, 0])
        }
    }

    @Test("The sweep waits for no pods: it says what it leaves, comes again, and opens after ten minutes in any case")
    func sweep() async throws {
        let cluster = try ModelServers.cluster()
        _ = try await ModelServers.quiesce(cluster)
        cluster.playDeployments(readyAfterLooks: 1_000_000)
        cluster.revive(secondsLater: 101)
        for number in 1...2 {
            let told = Mutex<[String]>([])
            let resumer = Resumer(cluster.client, holder: "\(number)") { line in told.withLock { $0.append(line) } }
            let sweep = try await resumer.resumeExpired(namespace: "")
            #expect(sweep.resumed.isEmpty && sweep.failed.isEmpty && sweep.left.count == 1)
            #expect(told.withLock { $0 }.contains { $0.contains("waits for its pods to be Ready") }, "\(number)")
            #expect(cluster.get("Deployment", "decode")?["spec", "replicas"]?.int64 == 2)
            #expect(ModelServers.weights(cluster) == [0, 1, 0, 0])
            cluster.revive(secondsLater: 5)
        }
        cluster.revive(secondsLater: 600)
        let last = try await Resumer(cluster.client, holder: "3").resumeExpired(namespace: "")
        #expect(last.resumed.first?.notices.contains { $0.contains("0 of 2 pods") } == true)
        #expect(last.resumed.first.map { $0.pauseSeconds > 100 && $0.pauseSeconds < 200 } == true)
        #expect(ModelServers.weights(cluster) == [3, 1, nil, 0] && cluster.all("Lease").isEmpty)
    }

    @Test("What somebody changed while it was stopped is told by whoever opens the routes, too")
    func remarksAreKept() async throws {
        let cluster = try ModelServers.cluster()
        _ = try await ModelServers.quiesce(cluster)
        cluster.playDeployments(readyAfterLooks: 1_000_000)
        var object = try #require(cluster.get("Deployment", "decode"))
        try object.set(3, at: ["spec", "replicas"])
        cluster.put(object)
        let early = await #expect(throws: QuiesceError.self) {
            try await Resumer(cluster.client, holder: "x", waitSeconds: 0).resume(ModelServers.decode)
        }
        #expect(early?.code == .notServing && early?.remarks.count == 1)
        try Self.setReady(true, "decode", cluster)
        cluster.revive(secondsLater: 5)
        let resumption = try await ModelServers.resume(cluster)
        #expect(resumption.remarks.count == 1 && resumption.remarks == early?.remarks)
    }

    @Test("One of whose pods none served takes its own hold off a route, and does not open it for others")
    func idleHolder() async throws {
        for isUnreadable in [false, true] {
            let cluster = try ModelServers.cluster(["decode", "prefill"])
            try Self.setReady(false, "prefill", cluster)
            _ = try await ModelServers.quiesce(cluster)
            _ = try await ModelServers.quiesce(cluster, ModelServers.prefill)
            #expect(ModelServers.weights(cluster) == [0, 1, 0, 0])
            if isUnreadable { Self.forbid("GET becalm-deployments.apps-decode", cluster) }
            _ = try await ModelServers.resume(cluster, ModelServers.prefill)
            #expect(ModelServers.weights(cluster) == [0, 1, 0, 0])
            guard !isUnreadable else { continue }
            _ = try await ModelServers.resume(cluster)
            #expect(ModelServers.weights(cluster) == [3, 1, nil, 0])
            #expect(cluster.get("HTTPRoute", "chat")?.annotations.isEmpty == true)
        }
    }

    // MARK: Others at work

    @Test("A route whose weights somebody puts back while servers are awaited is not drained, and that is said")
    func reverted() async throws {
        for drain in [QuiescePolicy.Drain.auto, .required] {
            let cluster = try ModelServers.cluster()
            cluster.answerPods { _ in (200, ModelServers.metrics(running: 1)) }
            let quiescing = Task {
                try await ModelServers.quiesce(cluster, ModelServers.decode, ModelServers.options(drain: drain))
            }
            while cluster.asked.isEmpty { try await Task.sleep(for: .milliseconds(5)) }
            var route = try #require(cluster.get("HTTPRoute", "chat"))
            try route.set(3, at: ["spec", "rules", 0, "backendRefs", 0, "weight"])
            cluster.put(route)
            if drain == .auto {
                let record = try await quiescing.value
                #expect(record.remarks.contains { $0.contains("sends requests") && $0.contains("again") })
                continue
            }
            let refused = await #expect(throws: QuiesceError.self) { try await quiescing.value }
            #expect(refused?.code == .refused)
            #expect(ModelServers.weights(cluster) == [3, 1, nil, 0])
            #expect(cluster.get("Deployment", "decode")?["spec", "replicas"]?.int64 == 2)
            #expect(cluster.all("Lease").isEmpty)
        }
    }

    @Test("A workload whose holder died before it changed anything runs on, and keeps the pool open")
    func deadHolder() async throws {
        let cluster = try ModelServers.cluster(["decode", "prefill"])
        cluster.die(afterWrites: 1, afterDoing: false)
        await #expect(throws: (any Error).self) { try await ModelServers.quiesce(cluster, ModelServers.prefill) }
        cluster.revive(secondsLater: 101)
        #expect(cluster.all("Lease").count == 1)
        let record = try await ModelServers.quiesce(cluster)
        #expect(record.remarks.contains { $0.contains("keeps 2 other pods (prefill-0)") }, "\(record.remarks)")
        #expect(ModelServers.weights(cluster) == [3, 1, nil, 0])
    }

    @Test("Who takes over a route that a dead holder closed closes it to pools that have come meanwhile, too")
    func takenOver() async throws {
        let cluster = try ModelServers.cluster()
        // The journal, its target, its step and the route.
        cluster.die(afterWrites: 4, afterDoing: false)
        await #expect(throws: (any Error).self) { try await ModelServers.quiesce(cluster) }
        cluster.revive(secondsLater: 101)
        #expect(ModelServers.weights(cluster) == [0, 1, 0, 0])
        cluster.put(
            try Fixtures.object(ModelServers.pool.replacing("pool,", with: "pool2,").replacing("u-pool", with: "u-2")))
        var route = try #require(cluster.get("HTTPRoute", "chat"))
        let backend: JSONValue = [
            "group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "pool2", "weight": 5,
        ]
        var backends = route["spec", "rules", 0, "backendRefs"]?.array ?? []
        backends.append(backend)
        try route.set(.array(backends), at: ["spec", "rules", 0, "backendRefs"])
        cluster.put(route)
        _ = try await ModelServers.quiesce(cluster, ModelServers.decode, ModelServers.options("next"))
        #expect(ModelServers.weights(cluster) == [0, 1, 0, 0, 0])
        _ = try await ModelServers.resume(cluster)
        #expect(ModelServers.weights(cluster) == [3, 1, 5, nil, 0])
    }
}
