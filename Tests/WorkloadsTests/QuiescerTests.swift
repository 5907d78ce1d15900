import Basics
import Kubernetes
import KubernetesTesting
import Synchronization
import Testing
import Workloads

/// The state machine against a server that dies at each of its requests.
@Suite("Quiescing", .timeLimit(.minutes(5)))
struct QuiescerTests {
    /// Kinds whose stop takes different ways.
    static let kinds = [
        "job", "cronjob", "statefulset", "deployment", "jobset", "pytorchjob", "rayjob", "volcano", "kueue",
        "workspace", "llm-d",
    ]

    /// An object of a kind, with what it needs around it.
    static func world(_ name: String) throws -> (cluster: FakeCluster, reference: WorkloadReference) {
        let cluster = try FakeCluster()
        let head = "metadata: {name: w, namespace: ml, uid: u-w, annotations: {mine: kept}}"
        func put(_ yaml: String) throws { cluster.put(try Fixtures.object(yaml)) }
        let reference: String
        switch name {
        case "llm-d": return (try ModelServers.cluster(), ModelServers.decode)
        case "job":
            try put(
                "apiVersion: batch/v1\nkind: Job\n\(head)\nspec: {parallelism: 2, template: {spec: {containers: []}}}")
            reference = "ml/job/w"
        case "cronjob":
            try put("apiVersion: batch/v1\nkind: CronJob\n\(head)\nspec: {schedule: '* * * * *', jobTemplate: {}}")
            try put(
                """
                apiVersion: batch/v1
                kind: Job
                metadata:
                  name: w-1
                  namespace: ml
                  uid: u-w-1
                  ownerReferences: [{apiVersion: batch/v1, kind: CronJob, name: w, uid: u-w, controller: true}]
                spec: {suspend: false, template: {spec: {containers: []}}}
                """)
            reference = "ml/cronjob/w"
        case "statefulset", "deployment":
            let kind = name == "statefulset" ? "StatefulSet" : "Deployment"
            try put(
                "apiVersion: apps/v1\nkind: \(kind)\n\(head)\nspec: {replicas: 3, selector: {matchLabels: {a: b}}, template: {spec: {}}}"
            )
            reference = "ml/\(name)/w"
        case "jobset":
            try put("apiVersion: jobset.x-k8s.io/v1alpha2\nkind: JobSet\n\(head)\nspec: {replicatedJobs: []}")
            reference = "ml/jobset/w"
        case "pytorchjob":
            try put("apiVersion: kubeflow.org/v1\nkind: PyTorchJob\n\(head)\nspec: {pytorchReplicaSpecs: {}}")
            reference = "ml/pytorchjob/w"
        case "rayjob":
            try put(
                "apiVersion: ray.io/v1\nkind: RayJob\n\(head)\nspec: {entrypoint: x}\nstatus: {jobDeploymentStatus: Running}"
            )
            reference = "ml/rayjob/w"
        case "volcano":
            try put(
                "apiVersion: batch.volcano.sh/v1alpha1\nkind: Job\n\(head)\nspec: {tasks: []}\nstatus: {state: {phase: Running}}"
            )
            reference = "ml/jobs.batch.volcano.sh/w"
        case "kueue":
            try put(
                """
                apiVersion: kubeflow.org/v1
                kind: PyTorchJob
                metadata: {name: w, namespace: ml, uid: u-w, labels: {kueue.x-k8s.io/queue-name: q}}
                spec: {runPolicy: {suspend: true}, pytorchReplicaSpecs: {}}
                status: {conditions: [{type: Suspended, status: "True"}]}
                """)
            try put(
                """
                apiVersion: kueue.x-k8s.io/v1beta1
                kind: Workload
                metadata:
                  name: pytorchjob-w-1
                  namespace: ml
                  uid: u-k
                  ownerReferences: [{apiVersion: kubeflow.org/v1, kind: PyTorchJob, name: w, uid: u-w, controller: true}]
                spec: {active: true, queueName: q}
                """)
            reference = "ml/pytorchjob/w"
        default:
            try put("apiVersion: kaito.sh/v1beta1\nkind: Workspace\n\(head)\ninference: {preset: {name: x}}")
            try put(
                """
                apiVersion: apps/v1
                kind: StatefulSet
                metadata:
                  name: w
                  namespace: ml
                  uid: u-s
                  ownerReferences: [{apiVersion: kaito.sh/v1beta1, kind: Workspace, name: w, uid: u-w, controller: true}]
                spec: {replicas: 1, selector: {matchLabels: {k: w}}, template: {spec: {}}}
                """)
            reference = "ml/workspace/w"
        }
        return (cluster, try WorkloadReference(parsing: reference))
    }

    /// Everything that is a user's, as text: without versions and what controllers write.
    static func specs(_ cluster: FakeCluster) -> [String] {
        let kinds = [
            "Job", "CronJob", "StatefulSet", "Deployment", "JobSet", "PyTorchJob", "RayJob", "Workload", "Workspace",
            "HTTPRoute",
        ]
        return kinds.flatMap { cluster.all($0) }.map { object in
            var object = object
            object.remove(at: ["metadata", "resourceVersion"])
            object.remove(at: ["status"])
            return String(decoding: object.serialized(), as: UTF8.self)
        }.sorted()
    }

    private static func options(_ holder: String = "tester") -> QuiesceOptions {
        var options = QuiesceOptions(holder: holder)
        options.isManual = true
        options.deadlineSeconds = 100
        options.stopSeconds = 20
        options.settleSeconds = 0
        return options
    }

    private static func quiesce(_ cluster: FakeCluster, _ reference: WorkloadReference) async throws -> QuiesceRecord {
        let client = cluster.client
        let live = try await WorkloadFinder(client).find(reference)
        return try await Quiescer(client, options: options()).quiesce(live)
    }

    @Test("Each kind stands still with a journal beside it, and is let go to the very same spec", arguments: kinds)
    func roundTrip(_ name: String) async throws {
        let (cluster, reference) = try Self.world(name)
        let before = Self.specs(cluster)
        let record = try await Self.quiesce(cluster, reference)
        #expect(record.consistency == .pause)
        let lease = try #require(cluster.all("Lease").first)
        #expect(lease.annotations["becalm.io/step"] == "stopped")
        if name != "volcano" { #expect(Self.specs(cluster) != before) }
        if name == "volcano" {
            #expect(cluster.get("Job", "w")?["status", "state", "phase"] == "Aborted")
        }
        let resumption = try await Resumer(cluster.client, holder: "another").resume(reference)
        #expect(resumption.remarks.isEmpty)
        #expect(Self.specs(cluster) == before)
        #expect(cluster.all("Lease").isEmpty)
        if name == "volcano" {
            #expect(cluster.get("Job", "w")?["status", "state", "phase"] == "Running")
        }
    }

    @Test("A process that dies at any request leaves what whoever comes after the deadline undoes", arguments: kinds)
    func killed(_ name: String) async throws {
        for afterDoing in [false, true] {
            for count in 0..<100 {
                let (cluster, reference) = try Self.world(name)
                let before = Self.specs(cluster)
                cluster.die(afterWrites: count, afterDoing: afterDoing)
                let outcome = await Result.of { try await Self.quiesce(cluster, reference) }
                guard cluster.isDead else {
                    // It got to its end: every request before has been the last one once.
                    #expect(throws: Never.self) { try outcome.get() }
                    #expect(count > 2)
                    break
                }
                cluster.revive(secondsLater: 0)
                let early = try await Resumer(cluster.client, holder: "next").resumeExpired(namespace: "")
                #expect(
                    early.resumed.isEmpty && early.failed.isEmpty, "\(name) \(count): nothing is undone before its time"
                )
                cluster.revive(secondsLater: 101)
                let sweep = try await Resumer(cluster.client, holder: "next").resumeExpired(namespace: "")
                #expect(sweep.failed.isEmpty, "\(name) \(count) \(afterDoing)")
                #expect(Self.specs(cluster) == before, "\(name) \(count) \(afterDoing)")
                #expect(cluster.all("Lease").isEmpty, "\(name) \(count) \(afterDoing)")
            }
        }
    }

    @Test("One who dies while he lets a workload go leaves the rest to the next", arguments: kinds)
    func killedWhileResuming(_ name: String) async throws {
        for afterDoing in [false, true] {
            for count in 0..<100 {
                let (cluster, reference) = try Self.world(name)
                let before = Self.specs(cluster)
                _ = try await Self.quiesce(cluster, reference)
                cluster.die(afterWrites: count, afterDoing: afterDoing)
                _ = await Result.of { try await Resumer(cluster.client, holder: "first").resume(reference) }
                guard cluster.isDead else { break }
                cluster.revive(secondsLater: 101)
                let sweep = try await Resumer(cluster.client, holder: "next").resumeExpired(namespace: "ml")
                #expect(sweep.failed.isEmpty, "\(name) \(count) \(afterDoing)")
                #expect(Self.specs(cluster) == before, "\(name) \(count) \(afterDoing)")
                #expect(cluster.all("Lease").isEmpty, "\(name) \(count) \(afterDoing)")
            }
        }
    }

    @Test("Two do not hold one workload, and a dead holder's lease passes on with what was changed")
    func two() async throws {
        let (cluster, reference) = try Self.world("statefulset")
        let before = Self.specs(cluster)
        _ = try await Self.quiesce(cluster, reference)
        let live = try await WorkloadFinder(cluster.client).find(reference)
        let busy = await #expect(throws: QuiesceError.self) {
            try await Quiescer(cluster.client, options: Self.options("other")).quiesce(live)
        }
        #expect(busy?.code == .busy)
        cluster.revive(secondsLater: 101)
        _ = try await Quiescer(cluster.client, options: Self.options("other")).quiesce(live)
        #expect(cluster.all("Lease").first?["spec", "holderIdentity"] == "other")
        _ = try await Resumer(cluster.client, holder: "x").resume(reference)
        #expect(Self.specs(cluster) == before)
    }

    @Test("A pod that does not end makes it fail in time, and the workload runs again")
    func lingering() async throws {
        let (cluster, reference) = try Self.world("statefulset")
        let before = Self.specs(cluster)
        cluster.put(
            try Fixtures.object(
                """
                apiVersion: v1
                kind: Pod
                metadata: {name: w-0, namespace: ml, labels: {a: b}, deletionTimestamp: "2026-01-01T00:00:00Z"}
                spec: {nodeName: n1, containers: []}
                status: {phase: Running}
                """))
        let live = try await WorkloadFinder(cluster.client).find(reference)
        var options = Self.options()
        options.stopSeconds = 0.5
        let late = await #expect(throws: QuiesceError.self) {
            try await Quiescer(cluster.client, options: options).quiesce(live)
        }
        #expect(late?.code == .notInTime)
        #expect(late?.message.contains("Pod ml/w-0 on n1 is ending") == true)
        #expect(Self.specs(cluster) == before)
        #expect(cluster.all("Lease").isEmpty)
    }

    @Test("What a user changes while it is stopped stays as he made it, and is named")
    func changedMeanwhile() async throws {
        let (cluster, reference) = try Self.world("deployment")
        _ = try await Self.quiesce(cluster, reference)
        var object = try #require(cluster.get("Deployment", "w"))
        try object.set(7, at: ["spec", "replicas"])
        cluster.put(object)
        let resumption = try await Resumer(cluster.client, holder: "x").resume(reference)
        #expect(resumption.remarks.count == 1)
        #expect(cluster.get("Deployment", "w")?["spec", "replicas"] == 7)
        #expect(cluster.get("Deployment", "w")?.annotations == ["mine": "kept"])
    }

    @Test("A backup's hold is let go when its work ends, fails or is cancelled")
    func holding() async throws {
        struct Broken: Error {}
        for fails in [false, true] {
            let (cluster, reference) = try Self.world("job")
            let before = Self.specs(cluster)
            let client = cluster.client
            let live = try await WorkloadFinder(client).find(reference)
            var options = Self.options()
            options.isManual = false
            let quiescer = Quiescer(client, options: options)
            if fails {
                await #expect(throws: Broken.self) {
                    try await quiescer.holding(live) { _ in throw Broken() }
                }
            } else {
                let (result, record) = try await quiescer.holding(live) { _ in
                    cluster.get("Job", "w")?["spec", "suspend"] == true
                }
                #expect(result)
                #expect((record.pauseSeconds ?? 0) > 0)
            }
            #expect(Self.specs(cluster) == before)
            #expect(cluster.all("Lease").isEmpty)
        }
    }

    /// A StatefulSet with a claim that a pod of somebody else's has, too: `container` is that pod's.
    static func sharing(_ container: String) throws -> (FakeCluster, WorkloadReference) {
        let (cluster, reference) = try world("statefulset")
        var object = try #require(cluster.get("StatefulSet", "w"))
        try object.set(
            [["name": "d", "persistentVolumeClaim": ["claimName": "c"]]], at: ["spec", "template", "spec", "volumes"])
        cluster.put(object)
        cluster.put(
            try Fixtures.object(
                """
                apiVersion: v1
                kind: Pod
                metadata: {name: other, namespace: ml}
                spec:
                  containers: [\(container)]
                  volumes: [{name: d, persistentVolumeClaim: {claimName: c}}]
                status: {phase: Running}
                """))
        return (cluster, reference)
    }

    @Test("Someone else's pod that writes to a claim is a trap, which can be overridden")
    func sharedClaim() async throws {
        let (cluster, reference) = try Self.sharing("{name: x, volumeMounts: [{name: d, mountPath: /d}]}")
        let live = try await WorkloadFinder(cluster.client).find(reference)
        let refused = await #expect(throws: QuiesceError.self) {
            try await Quiescer(cluster.client, options: Self.options()).quiesce(live)
        }
        #expect(refused?.code == .refused)
        #expect(cluster.all("Lease").isEmpty)
        var options = Self.options()
        options.policy.overrides = ["claim-shared"]
        _ = try await Quiescer(cluster.client, options: options).quiesce(live)
        #expect(cluster.all("Lease").count == 1)
        _ = try await Resumer(cluster.client, holder: "another").resume(reference)
        // By who has only the workload to say it on.
        for override in ["owned", "gitops, claim-shared"] {
            var workload = try #require(cluster.get(live.object.kind, live.object.name))
            workload.setAnnotation("becalm.io/override", override)
            cluster.put(workload)
            let live = try await WorkloadFinder(cluster.client).find(reference)
            let quiescer = Quiescer(cluster.client, options: Self.options())
            if override == "owned" {
                await #expect(throws: QuiesceError.self) { try await quiescer.quiesce(live) }
            } else {
                _ = try await quiescer.quiesce(live)
            }
        }
    }

    // MARK: Pods on their own, and policies

    private static func pod(_ annotations: String = "") throws -> (FakeCluster, WorkloadReference) {
        let cluster = try FakeCluster()
        cluster.put(
            try Fixtures.object(
                """
                apiVersion: v1
                kind: Pod
                metadata: {name: w, namespace: ml, uid: u-w, annotations: {\(annotations)}}
                spec: {containers: [{name: main}, {name: sidecar}]}
                status: {phase: Running}
                """))
        return (cluster, try WorkloadReference(parsing: "ml/pod/w"))
    }

    @Test("A pod on its own is asked for a checkpoint and runs on; nothing but a journal is written, and that ends")
    func barePod() async throws {
        let (cluster, reference) = try Self.pod(
            "becalm.io/consistency: checkpoint, becalm.io/checkpoint-http: POST 8080/save")
        let before = cluster.get("Pod", "w")
        let record = try await Self.quiesce(cluster, reference)
        #expect(record.consistency == .checkpoint && record.answers.map(\.text) == ["200"])
        #expect(cluster.asked == ["POST /api/v1/namespaces/ml/pods/w%3A8080/proxy/save"])
        #expect(cluster.get("Pod", "w") == before)
        _ = try await Resumer(cluster.client, holder: "other").resume(reference)
        #expect(cluster.all("Lease").isEmpty && cluster.get("Pod", "w") == before)
    }

    @Test("Traps that a workload accepts leave how it is asked to its pods")
    func overrideBesidePods() async throws {
        let (cluster, reference) = try Self.sharing("{name: x, volumeMounts: [{name: d, mountPath: /d}]}")
        var object = try #require(cluster.get("StatefulSet", "w"))
        object.setAnnotation("becalm.io/override", "claim-shared")
        cluster.put(object)
        let live = try await WorkloadFinder(cluster.client).find(reference)
        var pod = try Fixtures.object(
            """
            apiVersion: v1
            kind: Pod
            metadata: {name: w-0, namespace: ml, annotations: {becalm.io/checkpoint-http: POST 8080/save}}
            status: {phase: Running}
            """)
        for label in object["spec", "selector", "matchLabels"]?.object?.members ?? [] {
            pod.setLabel(label.key, label.value.string)
        }
        cluster.put(pod)
        let policy = try await Quiescer(cluster.client, options: Self.options()).policy(of: live)
        #expect(policy.request == .http(method: "POST", port: 8080, path: "/save"))
        #expect(policy.overrides == ["claim-shared"])
    }

    @Test("A container that a pod does not have is refused, with those that it has, and nobody is asked")
    func container() async throws {
        let (cluster, reference) = try Self.pod("becalm.io/consistency: checkpoint, becalm.io/checkpoint-signal: USR1")
        let live = try await WorkloadFinder(cluster.client).find(reference)
        var options = Self.options()
        options.policy.container = "trainer"
        let error = await #expect(throws: QuiesceError.self) {
            try await Quiescer(cluster.client, options: options).quiesce(live)
        }
        #expect(error?.code == .checkpoint)
        #expect(error?.message.contains("no container `trainer`") == true, "\(String(describing: error))")
        #expect(error?.message.hasSuffix("there are main, sidecar") == true, "\(String(describing: error))")
        #expect(cluster.all("Lease").isEmpty && cluster.asked.isEmpty)
    }

    @Test("A pod on its own is neither paused nor stopped, and is told what can be done", arguments: ["pause", "stop"])
    func barePodStop(_ consistency: String) async throws {
        let (cluster, reference) = try Self.pod("becalm.io/consistency: \(consistency)")
        let before = cluster.get("Pod", "w")
        let error = await #expect(throws: QuiesceError.self) { try await Self.quiesce(cluster, reference) }
        #expect(error?.code == .refused)
        #expect(error?.message.contains("stop what made it, or ask it for a checkpoint") == true)
        #expect(cluster.all("Lease").isEmpty && cluster.get("Pod", "w") == before)
    }

    @Test("A pod of a controller is left to that, which is named")
    func ownedPod() async throws {
        let cluster = try FakeCluster()
        cluster.put(
            try Fixtures.object(
                """
                apiVersion: v1
                kind: Pod
                metadata:
                  name: w-0
                  namespace: ml
                  uid: u-p
                  ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: w, uid: u-w, controller: true}]
                spec: {containers: [{name: main}]}
                status: {phase: Running}
                """))
        let reference = try WorkloadReference(parsing: "ml/pod/w-0")
        let error = await #expect(throws: QuiesceError.self) { try await Self.quiesce(cluster, reference) }
        #expect(error?.code == .refused && error?.message.contains("ml/statefulsets.apps/w") == true)
    }

    @Test("A workload that nobody says how to ask is told of, and is not said to have written a checkpoint")
    func notAsked() async throws {
        let (cluster, reference) = try Self.pod("becalm.io/consistency: checkpoint")
        let record = try await Self.quiesce(cluster, reference)
        #expect(record.request.isEmpty && record.remarks.contains { $0.contains("was not asked for a checkpoint") })
    }

    @Test("A policy file counts where annotations say nothing, and what the command line says before both")
    func policies() async throws {
        let file = """
            workloads:
              - match: ml/pod/*
                consistency: checkpoint
                checkpointHTTP: POST 9/file
            """
        func record(_ annotations: String, _ set: (inout QuiesceOptions) -> Void = { _ in }) async throws -> (
            FakeCluster, QuiesceRecord
        ) {
            let (cluster, reference) = try Self.pod(annotations)
            var options = Self.options()
            options.policies = try PolicyFile(parsing: Array(file.utf8), source: "p")
            set(&options)
            let live = try await WorkloadFinder(cluster.client).find(reference)
            return (cluster, try await Quiescer(cluster.client, options: options).quiesce(live))
        }
        let (bare, bareRecord) = try await record("")
        #expect(bare.asked.map { $0.suffix(4) } == ["file"] && bareRecord.consistency == .checkpoint)
        let (annotated, _) = try await record("becalm.io/checkpoint-http: POST 9/note")
        #expect(annotated.asked.map { $0.suffix(4) } == ["note"])
        let (told, _) = try await record("becalm.io/checkpoint-http: POST 9/note") {
            $0.policy.request = .http(method: "POST", port: 9, path: "/told")
        }
        #expect(told.asked.map { $0.suffix(4) } == ["told"])
    }

    @Test(
        "References are three names between slashes",
        arguments: ["", "a/b", "a/b/c/d", "a//c", "a/job/../x", "a/job/c d", "/job/x", "a/job/.x"])
    func malformedReferences(_ text: String) {
        #expect(throws: WorkloadError.self) { try WorkloadReference(parsing: text) }
    }
}

extension Result where Failure == any Error {
    /// What an async body comes to.
    fileprivate static func of(_ body: () async throws -> Success) async -> Self {
        do { return .success(try await body()) } catch { return .failure(error) }
    }
}
