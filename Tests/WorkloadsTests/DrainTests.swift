import Kubernetes
import KubernetesTesting
import Synchronization
import Testing
import Workloads

/// Model servers behind an InferencePool: their routes close before they stop, and open when they serve again.
@Suite("Draining", .timeLimit(.minutes(5)))
struct DrainTests {
    /// Where a write to an object of that resource comes in what was done; the last one with `isLast`.
    private static func place(_ resource: String, in cluster: FakeCluster, isLast: Bool = false) -> Int? {
        let isMeant: (String) -> Bool = { $0.contains("/\(resource)/") }
        return isLast ? cluster.history.lastIndex(where: isMeant) : cluster.history.firstIndex(where: isMeant)
    }

    @Test("Routes get the weight 0 before the pods stop, and their own weights back, to the byte, when they are Ready")
    func order() async throws {
        let cluster = try ModelServers.cluster()
        let route = cluster.get("HTTPRoute", "chat")
        let record = try await ModelServers.quiesce(cluster)
        #expect(ModelServers.weights(cluster) == [0, 1, 0, 0])
        #expect(cluster.get("Deployment", "decode")?["spec", "replicas"]?.int64 == 0)
        #expect(record.times[.draining] != nil)
        #expect(record.remarks.contains { $0.contains("no other backend") && $0.contains("HTTPRoute ml/chat") })
        let (closed, stopped) = (Self.place("httproutes", in: cluster), Self.place("deployments", in: cluster))
        #expect(try #require(closed) < #require(stopped))
        let lease = try #require(cluster.all("Lease").first)
        #expect(lease.annotations["becalm.io/journal-version"] == "2")
        // Pods that need five looks to be Ready: the route waits for them.
        cluster.playDeployments(readyAfterLooks: 5)
        let told = Mutex<[String]>([])
        let resumption = try await Resumer(cluster.client, holder: "x") { line in told.withLock { $0.append(line) } }
            .resume(ModelServers.decode)
        #expect(resumption.remarks.isEmpty && resumption.notices.isEmpty)
        #expect(told.withLock { $0 }.contains { $0.contains("0 of 2 pods") && $0.contains("HTTPRoute ml/chat") })
        let (started, opened) = (
            Self.place("deployments", in: cluster, isLast: true), Self.place("httproutes", in: cluster, isLast: true)
        )
        #expect(try #require(started) < #require(opened))
        var after = try #require(cluster.get("HTTPRoute", "chat"))
        after.resourceVersion = route?.resourceVersion ?? ""
        #expect(after.serialized() == route?.serialized())
        #expect(cluster.all("Lease").isEmpty)
    }

    @Test("A route is not opened before its pods are Ready: a call that may not wait says so, and the next one goes on")
    func notReady() async throws {
        let cluster = try ModelServers.cluster()
        _ = try await ModelServers.quiesce(cluster)
        cluster.playDeployments(readyAfterLooks: 1000)
        let resumer = Resumer(cluster.client, holder: "x", waitSeconds: 0)
        let early = await #expect(throws: QuiesceError.self) { try await resumer.resume(ModelServers.decode) }
        #expect(early?.code == .notServing)
        #expect(cluster.get("Deployment", "decode")?["spec", "replicas"]?.int64 == 2)
        #expect(ModelServers.weights(cluster) == [0, 1, 0, 0])
        #expect(cluster.all("Lease").first?.annotations["becalm.io/step"] == "resuming")
        // Ten minutes later it is opened whatever they do.
        cluster.revive(secondsLater: 601)
        let resumption = try await resumer.resume(ModelServers.decode, force: true)
        #expect(resumption.notices.contains { $0.contains("0 of 2 pods") && $0.contains("HTTPRoute ml/chat") })
        #expect(resumption.pauseSeconds < 100)
        #expect(ModelServers.weights(cluster) == [3, 1, nil, 0])
        #expect(cluster.all("Lease").isEmpty)
    }

    @Test("Servers are waited for until they have answered what they have begun")
    func busy() async throws {
        let cluster = try ModelServers.cluster()
        let looks = Mutex(0)
        cluster.answerPods { _ in
            let count = looks.withLock { looks in
                looks += 1
                return looks
            }
            return (200, ModelServers.metrics(running: count > 4 ? 0 : 2, waiting: 1 - min(1, count / 3)))
        }
        let record = try await ModelServers.quiesce(cluster)
        #expect(looks.withLock { $0 } >= 5)
        // Nobody is asked before the route is closed, and nothing is stopped before all are idle.
        let history = cluster.history
        let asked = history.indices.filter { history[$0].hasSuffix("%3A8000/proxy/metrics") }
        #expect(try #require(asked.first) > #require(Self.place("httproutes", in: cluster)))
        #expect(try #require(asked.last) < #require(Self.place("deployments", in: cluster)))
        #expect(!record.remarks.contains { $0.contains("not idle") })
    }

    @Test(
        "Servers that are not idle in time are stopped all the same, with a warning; not where the policy demands a drain"
    )
    func notIdle() async throws {
        for drain in [QuiescePolicy.Drain.auto, .required] {
            let cluster = try ModelServers.cluster()
            cluster.answerPods { _ in (200, ModelServers.metrics(running: 7)) }
            var options = ModelServers.options(drain: drain)
            options.policy.drainTimeout = GoDuration(nanoseconds: 300_000_000)
            if drain == .auto {
                let record = try await ModelServers.quiesce(cluster, ModelServers.decode, options)
                #expect(record.remarks.contains { $0.contains("not idle") && $0.contains("has 7 under way") })
                #expect(cluster.get("Deployment", "decode")?["spec", "replicas"]?.int64 == 0)
                continue
            }
            let late = await #expect(throws: QuiesceError.self) {
                try await ModelServers.quiesce(cluster, ModelServers.decode, options)
            }
            #expect(late?.code == .notInTime && late?.message.contains(BecalmAnnotation.drainTimeout) == true)
            #expect(ModelServers.weights(cluster) == [3, 1, nil, 0])
            #expect(cluster.get("Deployment", "decode")?["spec", "replicas"]?.int64 == 2)
            #expect(cluster.all("Lease").isEmpty)
        }
    }

    @Test(
        "Servers that do not tell are given their termination grace, and it is said which and why",
        arguments: ["404", "other metrics", "forbidden"])
    func silent(_ how: String) async throws {
        let cluster = try ModelServers.cluster()
        if how == "forbidden" { cluster.forbid("get pods/proxy") }
        cluster.answerPods { _ in how == "404" ? (404, "") : (200, "up 1\n") }
        let start = ContinuousClock().now
        let record = try await ModelServers.quiesce(cluster)
        #expect(start.duration(to: .now) >= .seconds(1))
        let words = ["404": "answered 404", "other metrics": "neither vLLM's nor SGLang's", "forbidden": "pods/proxy"]
        #expect(
            record.remarks.contains { $0.contains("Pod ml/decode-0") && $0.contains(words[how] ?? "?") },
            "\(record.remarks)")
        #expect(cluster.get("Deployment", "decode")?["spec", "replicas"]?.int64 == 0)
    }

    @Test("A gateway that has not taken up the route yet is waited for")
    func gateway() async throws {
        let cluster = try ModelServers.cluster()
        var route = try #require(cluster.get("HTTPRoute", "chat"))
        try route.set(2, at: ["metadata", "generation"])
        try route.set(
            .array([
                ["conditions": .array([["type": "Accepted", "status": "True", "observedGeneration": 1]])]
            ]), at: ["status", "parents"])
        cluster.put(route)
        var options = ModelServers.options()
        options.policy.drainTimeout = GoDuration(nanoseconds: 300_000_000)
        let record = try await ModelServers.quiesce(cluster, ModelServers.decode, options)
        #expect(record.remarks.contains { $0.contains("gateway has not taken up HTTPRoute ml/chat") })
    }

    @Test("A pool that keeps pods of another workload stays open, and it is said why")
    func shared() async throws {
        let cluster = try ModelServers.cluster(["decode", "prefill"])
        let route = cluster.get("HTTPRoute", "chat")
        let record = try await ModelServers.quiesce(cluster)
        #expect(record.remarks.contains { $0.contains("keeps 2 other pods (prefill-0)") })
        #expect(cluster.get("HTTPRoute", "chat") == route)
        // The last of them closes it.
        _ = try await ModelServers.quiesce(cluster, ModelServers.prefill)
        #expect(ModelServers.weights(cluster) == [0, 1, 0, 0])
        _ = try await ModelServers.resume(cluster)
        #expect(ModelServers.weights(cluster) == [0, 1, 0, 0])
        _ = try await ModelServers.resume(cluster, ModelServers.prefill)
        #expect(ModelServers.weights(cluster) == [3, 1, nil, 0])
    }

    @Test("Of two that are stopped at once one closes the route, and it comes back as its user had it")
    func together() async throws {
        for first in [ModelServers.decode, ModelServers.prefill] {
            let second = first == ModelServers.decode ? ModelServers.prefill : ModelServers.decode
            let cluster = try ModelServers.cluster(["decode", "prefill"])
            // As if both had opened their journals before either looked.
            cluster.answerPods { _ in (200, ModelServers.metrics(running: 1)) }
            async let one = ModelServers.quiesce(cluster, first, ModelServers.options("one"))
            async let two = ModelServers.quiesce(cluster, second, ModelServers.options("two"))
            while cluster.all("Lease").count < 2 { try await Task.sleep(for: .milliseconds(5)) }
            cluster.answerPods { _ in (200, ModelServers.metrics(running: 0)) }
            _ = try await (one, two)
            #expect(ModelServers.weights(cluster) == [0, 1, 0, 0])
            _ = try await ModelServers.resume(cluster, first)
            _ = try await ModelServers.resume(cluster, second)
            #expect(ModelServers.weights(cluster) == [3, 1, nil, 0])
            #expect(cluster.get("HTTPRoute", "chat")?.annotations.isEmpty == true)
        }
    }

    @Test("Without the permission it is stopped with a warning that names it; not where the policy demands a drain")
    func forbidden() async throws {
        let cases = [
            (["update httproutes"], #"resources ["httproutes"], verbs ["update"]"#),
            (["get inferencepools", "list inferencepools"], #"resources ["inferencepools"], verbs ["list"]"#),
            (["get httproutes", "list httproutes"], #"resources ["httproutes"], verbs ["list"]"#),
        ]
        for (rules, words) in cases {
            let cluster = try ModelServers.cluster()
            for rule in rules { cluster.forbid(rule) }
            let record = try await ModelServers.quiesce(cluster)
            #expect(record.remarks.contains { $0.contains(words) }, "\(rules): \(record.remarks)")
            #expect(cluster.get("Deployment", "decode")?["spec", "replicas"]?.int64 == 0)
            #expect(ModelServers.weights(cluster) == [3, 1, nil, 0])
            _ = try await ModelServers.resume(cluster)

            let strict = try ModelServers.cluster()
            for rule in rules { strict.forbid(rule) }
            let refused = await #expect(throws: QuiesceError.self) {
                try await ModelServers.quiesce(strict, ModelServers.decode, ModelServers.options(drain: .required))
            }
            #expect(refused?.code == .refused && refused?.message.contains(BecalmAnnotation.drain) == true)
            #expect(strict.get("Deployment", "decode")?["spec", "replicas"]?.int64 == 2)
            #expect(strict.all("Lease").isEmpty)
        }
    }

    @Test("With the policy `off` it is stopped as it is, and it is said what that means")
    func off() async throws {
        let cluster = try ModelServers.cluster()
        let record = try await ModelServers.quiesce(cluster, ModelServers.decode, ModelServers.options(drain: .off))
        #expect(record.remarks.contains { $0.contains("those under way are cut off") })
        #expect(ModelServers.weights(cluster) == [3, 1, nil, 0])
        #expect(cluster.asked.isEmpty)
    }

    @Test("A pool of the older group, and a route of another namespace, are drained, too")
    func older() async throws {
        let cluster = try ModelServers.cluster(
            route: ModelServers.route.replacing("inference.networking.k8s.io", with: "inference.networking.x-k8s.io")
                .replacing("namespace: ml", with: "namespace: edge")
                .replacing("name: pool", with: "name: pool, namespace: ml"))
        cluster.put(
            try Fixtures.object(
                """
                apiVersion: inference.networking.x-k8s.io/v1alpha2
                kind: InferencePool
                metadata: {name: pool, namespace: ml, uid: u-old}
                spec: {selector: {app: llm}, targetPortNumber: 8200, extensionRef: {name: epp}}
                """))
        _ = try await ModelServers.quiesce(cluster)
        let route = try #require(cluster.get("HTTPRoute", "chat", namespace: "edge"))
        #expect(route["spec", "rules", 0, "backendRefs", 0, "weight"]?.int64 == 0)
        #expect(cluster.asked.contains { $0.contains("decode-1%3A8200/proxy/metrics") })
        _ = try await ModelServers.resume(cluster)
        #expect(
            cluster.get("HTTPRoute", "chat", namespace: "edge")?["spec", "rules", 0, "backendRefs", 0, "weight"]?.int64
                == 3)
    }

    @Test("A workload whose journal somebody deleted opens its routes by what these say")
    func noJournal() async throws {
        let cluster = try ModelServers.cluster()
        _ = try await ModelServers.quiesce(cluster)
        let lease = try #require(cluster.all("Lease").first)
        _ = try await cluster.client.delete(.leases, namespace: "ml", name: lease.name)
        _ = try await ModelServers.resume(cluster)
        #expect(ModelServers.weights(cluster) == [3, 1, nil, 0])
        await #expect(throws: WorkloadError.self) { try await ModelServers.resume(cluster) }
    }

    @Test("What somebody else does to a drained route stays, and is named; one that was deleted is told of")
    func changedMeanwhile() async throws {
        let cluster = try ModelServers.cluster()
        _ = try await ModelServers.quiesce(cluster)
        var route = try #require(cluster.get("HTTPRoute", "chat"))
        try route.set(9, at: ["spec", "rules", 0, "backendRefs", 0, "weight"])
        cluster.put(route)
        let resumption = try await ModelServers.resume(cluster)
        #expect(resumption.notices.count == 1 && resumption.notices.first?.contains("rule 1") == true)
        #expect(resumption.remarks.isEmpty)
        #expect(ModelServers.weights(cluster) == [9, 1, nil, 0])
        _ = try await ModelServers.quiesce(cluster)
        var bare = try #require(cluster.get("HTTPRoute", "chat"))
        bare.setAnnotation(BecalmAnnotation.drained, nil)
        cluster.put(bare)
        #expect(try await ModelServers.resume(cluster).notices.contains { $0.contains("put it back by hand") })
        #expect(ModelServers.weights(cluster) == [0, 1, 0, 0])

        try bare.set(5, at: ["spec", "rules", 0, "backendRefs", 0, "weight"])
        cluster.put(bare)
        _ = try await ModelServers.quiesce(cluster)
        _ = try await cluster.client.delete(
            try #require(try await cluster.client.resource(group: "gateway.networking.k8s.io", kind: "HTTPRoute")),
            namespace: "ml", name: "chat")
        #expect(try await ModelServers.resume(cluster).notices.contains { $0.contains("was deleted or replaced") })
        #expect(cluster.get("Deployment", "decode")?["spec", "replicas"]?.int64 == 2)
    }
}
