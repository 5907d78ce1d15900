import Basics
import Kubernetes
import KubernetesTesting
import Synchronization
import Testing
import Workloads

/// What others do to a workload that is being stopped, or stands still.
@Suite("Standing still", .timeLimit(.minutes(5)))
struct StandstillTests {
    private static func options() -> QuiesceOptions {
        var options = QuiesceOptions(holder: "tester")
        options.deadlineSeconds = 100
        options.stopSeconds = 20
        options.settleSeconds = 0
        return options
    }

    private static func live(_ cluster: FakeCluster, _ reference: WorkloadReference) async throws -> LiveWorkload {
        try await WorkloadFinder(cluster.client).find(reference)
    }

    /// Has GitOps scale a Deployment.
    private static func scale(_ cluster: FakeCluster, _ replicas: Int) throws {
        var object = try #require(cluster.get("Deployment", "w"))
        try object.set(.integer(Int64(replicas)), at: ["spec", "replicas"])
        try object.set(
            [
                ["manager": "becalm", "time": "2026-01-01T00:00:00Z", "fieldsV1": ["f:spec": ["f:replicas": [:]]]],
                ["manager": "gitops", "time": "2026-01-02T00:00:00Z", "fieldsV1": ["f:spec": ["f:replicas": [:]]]],
                ["manager": "other", "time": "2026-01-03T00:00:00Z", "fieldsV1": ["f:spec": ["f:paused": [:]]]],
            ], at: ["metadata", "managedFields"])
        cluster.put(object)
    }

    // MARK: While volumes are read

    @Test(
        "Who starts it again while its volumes are read is named, and what was read is not kept",
        arguments: [true, false])
    func disturbed(endless: Bool) async throws {
        let (cluster, reference) = try QuiescerTests.world("deployment")
        let live = try await Self.live(cluster, reference)
        let isCancelled = Mutex(false)
        let error = await #expect(throws: QuiesceError.self) {
            try await Quiescer(cluster.client, options: Self.options()).holding(live) { _ in
                try Self.scale(cluster, 2)
                guard endless else { return }
                do {
                    try await Task.sleep(for: .seconds(90))
                } catch {
                    isCancelled.withLock { $0 = true }
                    throw error
                }
            }
        }
        #expect(error?.code == .disturbed, "\(String(describing: error))")
        #expect(error?.message.contains("gitops changed /spec/replicas of Deployment ml/w") == true)
        #expect(isCancelled.withLock { $0 } == endless)
        #expect(cluster.get("Deployment", "w")?["spec", "replicas"] == 2)
        #expect(cluster.all("Lease").isEmpty)
    }

    @Test("What disturbs it when all is taken is a remark; what is taken of one that is disturbed is not kept")
    func taken() async throws {
        let (cluster, reference) = try QuiescerTests.world("deployment")
        let live = try await Self.live(cluster, reference)
        let (result, record) = try await Quiescer(cluster.client, options: Self.options()).holding(live) { standstill in
            try await standstill.taken()
            try Self.scale(cluster, 2)
            return 7
        }
        #expect(result == 7)
        #expect(record.remarks.contains { $0.contains("was changed by somebody else") }, "\(record.remarks)")

        let again = try await Self.live(cluster, reference)
        let error = await #expect(throws: QuiesceError.self) {
            try await Quiescer(cluster.client, options: Self.options()).holding(again) { standstill in
                try Self.scale(cluster, 3)
                try await standstill.taken()
            }
        }
        #expect(error?.code == .disturbed, "\(String(describing: error))")
    }

    @Test("One that runs on is disturbed by nobody")
    func runsOn() async throws {
        let (cluster, reference) = try QuiescerTests.world("deployment")
        var options = Self.options()
        options.policy.consistency = .checkpoint
        let live = try await Self.live(cluster, reference)
        let (result, _) = try await Quiescer(cluster.client, options: options).holding(live) { standstill in
            try await standstill.taken()
            try Self.scale(cluster, 2)
            return 7
        }
        #expect(result == 7)
    }

    // MARK: While it is being stopped

    @Test(
        "A status from before the stop is not believed, of kinds whose controllers say what they have seen",
        arguments: ["StatefulSet", "ReplicaSet", "RayJob"])
    func stale(_ kind: String) async throws {
        let name = ["ReplicaSet": "deployment"][kind] ?? kind.lowercased()
        for seen in [4, 5] as [Int64] {
            let (cluster, reference) = try QuiescerTests.world(name)
            if kind == "ReplicaSet" {
                cluster.put(
                    try Fixtures.object(
                        """
                        apiVersion: apps/v1
                        kind: ReplicaSet
                        metadata:
                          name: w
                          namespace: ml
                          uid: u-r
                          ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: w, uid: u-w, controller: true}]
                        """))
            }
            var object = try #require(cluster.get(kind, "w"))
            try object.set(5, at: ["metadata", "generation"])
            try object.set(.integer(seen), at: ["status", "observedGeneration"])
            cluster.put(object)
            var options = Self.options()
            options.isManual = true
            options.stopSeconds = 0.5
            let live = try await Self.live(cluster, reference)
            let quiescer = Quiescer(cluster.client, options: options)
            guard seen < 5, kind != "RayJob" else {
                _ = try await quiescer.quiesce(live)
                continue
            }
            let error = await #expect(throws: QuiesceError.self) { try await quiescer.quiesce(live) }
            #expect(error?.code == .notInTime)
            #expect(
                error?.message.contains(
                    "\(kind) ml/w: its controller has not taken it up yet (observedGeneration 4 of 5)")
                    == true, "\(String(describing: error))")
        }
    }

    @Test("A job that ends while it is being stopped stands still, and it is said what that may cost")
    func endsMeanwhile() async throws {
        let controllers: @Sendable (inout ClusterState) -> Void = { state in
            WorkloadControllers.run(&state)
            for (path, object) in state.objects where object.kind == "Job" && object["spec", "suspend"] == true {
                var job = object
                try? job.set([["type": "Complete", "status": "True"]], at: ["status", "conditions"])
                state.objects[path] = job
            }
        }
        for name in ["job", "cronjob"] {
            let (made, reference) = try QuiescerTests.world(name)
            let cluster = try FakeCluster(controllers: controllers)
            for object in made.all("Job") + made.all("CronJob") { cluster.put(object) }
            let live = try await Self.live(cluster, reference)
            let (_, record) = try await Quiescer(cluster.client, options: Self.options()).holding(live) { _ in
                // As its time to live has it.
                for job in cluster.all("Job") { cluster.remove(job) }
            }
            let job = name == "job" ? "w" : "w-1"
            #expect(
                record.remarks.contains { $0.hasPrefix("Job ml/\(job) ended (succeeded) while it was being stopped") },
                "\(name): \(record.remarks)")
        }
    }

    // MARK: Pods that still end

    /// A Deployment's pod that ends, by when its grace is over.
    private static func ending(until end: Timestamp) throws -> KubernetesObject {
        try Fixtures.object(
            """
            apiVersion: v1
            kind: Pod
            metadata: {name: w-0, namespace: ml, labels: {a: b}, deletionTimestamp: "\(CalendarTime(end).text)"}
            spec: {nodeName: n1, containers: []}
            status: {phase: Running}
            """)
    }

    private static let warning = "Pod ml/w-0 on n1 still ends and may write beside its successor"

    private static func now(_ cluster: FakeCluster) async throws -> Timestamp {
        let journal = QuiesceJournal(cluster.client, of: try WorkloadReference(parsing: "ml/deployment/w"))
        return try await journal.read().now
    }

    @Test("Pods that end are waited for as long as their grace lasts before it is let go")
    func waitsForEnding() async throws {
        let (cluster, reference) = try QuiescerTests.world("deployment")
        let pod = try Self.ending(until: try await Self.now(cluster).advanced(bySeconds: 60))
        cluster.put(pod)
        var options = Self.options()
        options.stopSeconds = 0.5
        let live = try await Self.live(cluster, reference)
        let replicas = Mutex<JSONValue?>(nil)
        let quiescer = Quiescer(cluster.client, options: options) { event in
            guard case .remark(let text) = event, text.contains("waits up to") else { return }
            replicas.withLock { $0 = cluster.get("Deployment", "w")?["spec", "replicas"] }
            cluster.remove(pod)
        }
        let error = await #expect(throws: QuiesceError.self) { try await quiescer.quiesce(live) }
        #expect(error?.code == .notInTime && error?.message.contains("still ends") == false)
        #expect(replicas.withLock { $0 } == 0)
        #expect(cluster.get("Deployment", "w")?["spec", "replicas"] == 3)
    }

    @Test(
        "Pods that end are named when it is let go beside them, and waited for neither beyond the deadline nor their grace",
        arguments: [true, false])
    func doesNotWait(isLate: Bool) async throws {
        let (cluster, reference) = try QuiescerTests.world("deployment")
        let grace = isLate ? -60.0 : 3600
        cluster.put(try Self.ending(until: try await Self.now(cluster).advanced(bySeconds: grace)))
        var options = Self.options()
        options.stopSeconds = 0.5
        options.deadlineSeconds = isLate ? 100 : 8
        let live = try await Self.live(cluster, reference)
        let remarks = Mutex<[String]>([])
        let quiescer = Quiescer(cluster.client, options: options) { event in
            if case .remark(let text) = event { remarks.withLock { $0.append(text) } }
        }
        let error = await #expect(throws: QuiesceError.self) { try await quiescer.quiesce(live) }
        #expect(
            error?.code == .notInTime && error?.message.hasSuffix(Self.warning) == true, "\(String(describing: error))")
        #expect(remarks.withLock { $0 }.allSatisfy { !$0.contains("waits up to") })
        #expect(cluster.get("Deployment", "w")?["spec", "replicas"] == 3)
    }

    @Test("Who cancels waits for no pods, and is told which still end")
    func cancelled() async throws {
        let (cluster, reference) = try QuiescerTests.world("deployment")
        cluster.put(try Self.ending(until: try await Self.now(cluster).advanced(bySeconds: 3600)))
        let live = try await Self.live(cluster, reference)
        let remarks = Mutex<[String]>([])
        let quiescer = Quiescer(cluster.client, options: Self.options()) { event in
            if case .remark(let text) = event { remarks.withLock { $0.append(text) } }
        }
        let task = Task { try await quiescer.quiesce(live) }
        _ = try await cluster.wait(for: "Deployment") { all in
            all.contains { $0["spec", "replicas"] == 0 } ? true : nil
        }
        task.cancel()
        await #expect(throws: (any Error).self) { try await task.value }
        #expect(remarks.withLock { $0 } == [Self.warning])
        #expect(cluster.get("Deployment", "w")?["spec", "replicas"] == 3)
        #expect(cluster.all("Lease").isEmpty)
    }

    // MARK: Grace

    private static let gpu = "resources: {limits: {nvidia.com/gpu: 1}}"

    @Test(
        "A grace that is shorter than a save is told of, where pods train, write to a claim, and nobody asks them before",
        arguments: [
            ("PyTorchJob", "", "", true), ("PyTorchJob", "terminationGracePeriodSeconds: 10", "", true),
            ("PyTorchJob", "terminationGracePeriodSeconds: 600", "", false), ("PyTorchJob", "readOnly", "", false),
            ("Job", "", gpu, true), ("Job", "", "", false), ("StatefulSet", "", gpu, false),
        ])
    func grace(_ kind: String, _ spec: String, _ container: String, _ isTold: Bool) async throws {
        let cluster = try FakeCluster()
        let claim = spec == "readOnly" ? "{claimName: c, readOnly: true}" : "{claimName: c}"
        let more = spec.hasPrefix("term") ? ", \(spec)" : ""
        let template =
            "{metadata: {labels: {a: b}}, spec: {containers: [{name: t\(container.isEmpty ? "" : ", " + container)}], volumes: [{name: v, persistentVolumeClaim: \(claim)}]\(more)}}"
        let (version, body) =
            switch kind {
            case "PyTorchJob":
                ("kubeflow.org/v1", "{pytorchReplicaSpecs: {Worker: {replicas: 1, template: \(template)}}}")
            case "Job": ("batch/v1", "{template: \(template)}")
            default: ("apps/v1", "{replicas: 1, selector: {matchLabels: {a: b}}, template: \(template)}")
            }
        cluster.put(
            try Fixtures.object(
                "apiVersion: \(version)\nkind: \(kind)\nmetadata: {name: w, namespace: ml, uid: u-w}\nspec: \(body)"))
        var options = Self.options()
        options.isManual = true
        let live = try await Self.live(cluster, try WorkloadReference(parsing: "ml/\(kind.lowercased())/w"))
        let record = try await Quiescer(cluster.client, options: options).quiesce(live)
        let told = record.remarks.filter { $0.contains("terminationGracePeriodSeconds") }
        #expect(told.count == (isTold ? 1 : 0), "\(record.remarks)")
        if isTold, kind == "PyTorchJob" {
            let way = "spec.pytorchReplicaSpecs.Worker.template.spec.terminationGracePeriodSeconds"
            #expect(told.first?.contains("raise \(way),") == true, "\(told)")
        }
    }
}
