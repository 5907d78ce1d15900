import Kubernetes
import Testing
import Velero
import Workloads

@Suite("Actions on items that are restored")
struct RestoreActionTests {
    /// The outcome for a stored object: the item is what Velero makes of it, without status and generated metadata.
    private func restore(
        _ stored: KubernetesObject, _ world: ActionWorld = ActionWorld(), _ plugin: PluginName = .workloadRestore,
        spec: String = #"{"backupName":"b"}"#
    ) async throws -> (item: [UInt8], outcome: RestoreItemOutcome) {
        var item = stored
        item.remove(at: ["status"])
        for key in ["uid", "resourceVersion", "ownerReferences", "generation"] {
            item.remove(at: ["metadata", .key(key)])
        }
        let restore = #"{"metadata":{"name":"r","namespace":"velero","uid":"r-1"},"spec":\#(spec)}"#
        let outcome = try await world.restoreAction(plugin).execute(
            item: item.serialized(), original: stored.serialized(), restore: Array(restore.utf8))
        #expect(!outcome.item.isEmpty && outcome.operation == nil && !outcome.waitsForAdditionalItems)
        return (item.serialized(), outcome)
    }

    private func job(
        marked: Bool = false, status: JSONValue = ["active": 1], owner: OwnerReference? = nil
    ) throws -> KubernetesObject {
        var job = try ActionWorld.object(BackupActionTests.job)
        if !marked { job.remove(at: ["metadata", "annotations"]) }
        try job.set(status, at: ["status"])
        if let owner { job.ownerReferences = [owner] }
        return job
    }

    @Test("A workload that nobody marked is restored as it is, byte for byte where nothing is generated")
    func unmarked() async throws {
        let (item, outcome) = try await restore(try job())
        #expect(outcome.item == item && !outcome.isSkipped && outcome.additionalItems.isEmpty)
    }

    @Test("A route that was drained when it was stored comes back with its user's weights; others as they are")
    func routes() async throws {
        var route = try ActionWorld.object(
            """
            apiVersion: gateway.networking.k8s.io/v1
            kind: HTTPRoute
            metadata: {name: chat, namespace: ml}
            spec: {rules: [{backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: pool, weight: 7}]}]}
            """)
        #expect(
            try await ActionWorld().restoreAction(.workloadRestore).appliesTo().includedResources
                .contains("httproutes.gateway.networking.k8s.io"))
        let (open, same) = try await restore(route)
        #expect(same.item == open && !same.isSkipped)
        let pool = PoolReference(group: "inference.networking.k8s.io", namespace: "ml", name: "pool")
        try RouteDrain.drain(&route, [pool], holder: "ml/deployments.apps/decode")
        #expect(try await restore(route).outcome.item == open)
        route.setAnnotation(BecalmAnnotation.drained, "{")
        let world = ActionWorld()
        let (item, broken) = try await restore(route, world)
        #expect(broken.item == item)
        #expect(world.log.lines.contains { $0.hasPrefix("error") && $0.contains("HTTPRoute ml/chat") })
    }

    /// Holds marked workloads.
    private static let gated = ["gate": "marked"]

    @Test("Nothing is held unless that is asked for: nothing would let it go")
    func notHeld() async throws {
        let (_, outcome) = try await restore(try job(marked: true))
        let restored = try KubernetesObject(parsing: outcome.item)
        #expect(restored["spec", "suspend"] == nil && restored.annotations["becalm.io/gated"] == nil)
    }

    @Test("What exists and runs is not stopped by a restore that updates it, nor a pod that brings volumes back")
    func neverHeld() async throws {
        let world = ActionWorld(.workloadRestore, ["gate": "all", "ownedPods": "restore"])
        let (_, updated) = try await restore(
            try job(marked: true), world, spec: #"{"backupName":"b","existingResourcePolicy":"update"}"#)
        #expect(try KubernetesObject(parsing: updated.item)["spec", "suspend"] == nil)
        var pod = try pod(owner: "Thing", apiVersion: "example.com/v1")
        try pod.set([["name": "v", "persistentVolumeClaim": ["claimName": "ckpt"]]], at: ["spec", "volumes"])
        let (_, mounted) = try await restore(pod, world)
        #expect(try KubernetesObject(parsing: mounted.item)["spec", "schedulingGates"] == nil)
        #expect(world.log.lines.filter { $0.hasPrefix("warning") && $0.contains("without being held") }.count == 2)
    }

    @Test(
        "A marked workload is held where that is asked for, with what it was, after its claims, and said how to let go")
    func marked() async throws {
        let world = ActionWorld(.workloadRestore, Self.gated)
        let (_, outcome) = try await restore(try job(marked: true), world)
        let said = world.log.lines.filter { $0.hasPrefix("warning") }
        #expect(said.contains { $0.contains("'becalm resume --restored ml/jobs.batch/run42'") }, "\(said)")
        let restored = try KubernetesObject(parsing: outcome.item)
        #expect(restored["spec", "suspend"] == true && restored.annotations["becalm.io/gated"] != nil)
        #expect(restored.annotations["becalm.io/release"] == "by-hand")
        #expect(outcome.additionalItems.map(\.name) == ["ckpt"])
    }

    @Test("One that was stored while it was stopped is held, and goes on with its user's own numbers")
    func storedStopped() async throws {
        let set = try ActionWorld.object(
            """
            apiVersion: apps/v1
            kind: StatefulSet
            metadata:
              name: db
              namespace: ml
              annotations: {becalm.io/quiesced: '{"fields":[{"path":"/spec/replicas","set":0,"was":3}],"version":1}'}
            spec: {replicas: 0, selector: {matchLabels: {a: b}}, volumeClaimTemplates: [{metadata: {name: d}}]}
            """)
        let (_, outcome) = try await restore(set, ActionWorld(.workloadRestore, Self.gated))
        let restored = try KubernetesObject(parsing: outcome.item)
        #expect(restored["spec", "replicas"] == 0)
        #expect(restored.annotations["becalm.io/quiesced"] == nil)
        #expect(restored.annotations["becalm.io/gated"]?.contains(#""was":3"#) == true)
        #expect(outcome.additionalItems.map(\.name) == ["d-db-0", "d-db-1", "d-db-2"])
        let (_, free) = try await restore(set)
        #expect(try KubernetesObject(parsing: free.item)["spec", "replicas"] == 3)
    }

    @Test("All workloads are held where the ConfigMap says so, and none where it says that")
    func gateSetting() async throws {
        let (_, all) = try await restore(try job(), ActionWorld(.workloadRestore, ["gate": "all"]))
        #expect(try KubernetesObject(parsing: all.item)["spec", "suspend"] == true)
        let (_, none) = try await restore(try job(marked: true), ActionWorld(.workloadRestore, ["gate": "none"]))
        #expect(try KubernetesObject(parsing: none.item)["spec", "suspend"] == nil)
    }

    @Test("A workload that cannot be held is restored all the same, and told")
    func noGate() async throws {
        let world = ActionWorld(.workloadRestore, Self.gated)
        let volcano = try ActionWorld.object(
            """
            apiVersion: batch.volcano.sh/v1alpha1
            kind: Job
            metadata: {name: gang, namespace: ml, annotations: {becalm.io/consistency: pause}}
            spec: {queue: research, tasks: []}
            """)
        let (_, outcome) = try await restore(volcano, world)
        #expect(!outcome.isSkipped && outcome.additionalItems.map(\.name) == ["research"])
        #expect(world.log.lines.contains { $0.hasPrefix("warning") && $0.contains("without being held") })
    }

    @Test("Jobs that were done do not run again, unless that is asked for")
    func finished() async throws {
        let failed = try job(status: ["conditions": [["type": "Failed", "status": "True"]]])
        let (item, outcome) = try await restore(failed)
        #expect(outcome.isSkipped && outcome.item == item)
        let (_, held) = try await restore(failed, ActionWorld(.workloadRestore, ["finished": "hold"]))
        #expect(!held.isSkipped)
        #expect(try KubernetesObject(parsing: held.item)["spec", "suspend"] == true)
        let (_, again) = try await restore(failed, ActionWorld(.workloadRestore, ["finished": "restore"]))
        #expect(!again.isSkipped)
        #expect(try KubernetesObject(parsing: again.item)["spec", "suspend"] == nil)
        let volcano = try ActionWorld.object(
            """
            apiVersion: batch.volcano.sh/v1alpha1
            kind: Job
            metadata: {name: gang, namespace: ml}
            spec: {tasks: []}
            status: {state: {phase: Failed}}
            """)
        let (_, unholdable) = try await restore(volcano, ActionWorld(.workloadRestore, ["finished": "hold"]))
        #expect(unholdable.isSkipped)
    }

    @Test(
        "What controllers make anew is left out",
        arguments: [
            "{apiVersion: kueue.x-k8s.io/v1beta2, kind: Workload, metadata: {name: w, namespace: ml}}",
            "{apiVersion: bus.volcano.sh/v1alpha1, kind: Command, metadata: {name: c, namespace: ml}}",
            "{apiVersion: karpenter.sh/v1, kind: NodeClaim, metadata: {name: n}}",
            "{apiVersion: scheduling.volcano.sh/v1beta1, kind: PodGroup, metadata: {name: p, namespace: ml, ownerReferences: [{apiVersion: batch.volcano.sh/v1alpha1, kind: Job, name: g, uid: u, controller: true}]}}",
        ])
    func generated(yaml: String) async throws {
        let (item, outcome) = try await restore(try ActionWorld.object(yaml))
        #expect(outcome.isSkipped && outcome.item == item)
    }

    @Test("A pod group of a user's own is restored")
    func ownPodGroup() async throws {
        let (item, outcome) = try await restore(
            try ActionWorld.object(
                "{apiVersion: scheduling.volcano.sh/v1beta1, kind: PodGroup, metadata: {name: p, namespace: ml}}"))
        #expect(!outcome.isSkipped && outcome.item == item)
    }

    static let jobSet = OwnerReference(
        apiVersion: "jobset.x-k8s.io/v1alpha2", kind: "JobSet", name: "llm", uid: "u", isController: true)

    @Test(
        "A Job of a JobSet is left to the JobSet, unless that is not restored",
        arguments: [
            ("{}", true), (#"{"includedResources":["*"]}"#, true),
            (#"{"includedResources":["jobs.batch","jobsets.jobset.x-k8s.io"]}"#, true),
            (#"{"includedResources":["jobs","jobsets"]}"#, true), (#"{"includedResources":["jobs"]}"#, false),
            (#"{"excludedResources":["jobsets.jobset.x-k8s.io"]}"#, false),
            (#"{"excludedResources":["secrets"]}"#, true),
            (#"{"includedResources":["jobs","js"]}"#, false), (#"{"includedResources":["job","jobset"]}"#, false),
            (#"{"labelSelector":{"matchLabels":{"app":"x"}}}"#, false), (#"{"labelSelector":{}}"#, true),
            (#"{"orLabelSelectors":[{"matchLabels":{"app":"x"}}]}"#, false),
        ])
    func owned(spec: String, isSkipped: Bool) async throws {
        let named = spec == "{}" ? #"{"backupName":"b"}"# : #"{"backupName":"b",\#(spec.dropFirst())"#
        let (_, outcome) = try await restore(try job(owner: Self.jobSet), spec: named)
        #expect(outcome.isSkipped == isSkipped)
        // The same lists in the backup: what it does not hold comes back from nowhere else.
        var world = ActionWorld()
        let backup =
            #"{"apiVersion":"velero.io/v1","kind":"Backup","metadata":{"name":"b","namespace":"velero"},"spec":\#(spec)}"#
        world.add(try KubernetesObject(parsing: Array(backup.utf8)), "backups")
        #expect(try await restore(try job(owner: Self.jobSet), world).outcome.isSkipped == isSkipped)
    }

    @Test("A Job of a JobSet is restored where nobody knows whether the JobSet is")
    func ownerUnknown() async throws {
        let (_, outcome) = try await restore(try job(owner: Self.jobSet), spec: #"{"backupName":"gone"}"#)
        #expect(!outcome.isSkipped)
    }

    @Test("A pod of a Job that mounts a claim is restored: its data may come back through the pod, and by nothing else")
    func podWithClaim() async throws {
        var pod = try pod(owner: "Job", apiVersion: "batch/v1")
        try pod.set([["name": "v", "persistentVolumeClaim": ["claimName": "ckpt"]]], at: ["spec", "volumes"])
        #expect(try await !restore(pod).outcome.isSkipped)
        #expect(try await restore(pod, ActionWorld(.workloadRestore, ["ownedPods": "skip"])).outcome.isSkipped)
    }

    @Test("A Job that a CronJob began is restored: the CronJob makes another one only at its next time")
    func cronJob() async throws {
        let owner = OwnerReference(
            apiVersion: "batch/v1", kind: "CronJob", name: "nightly", uid: "u", isController: true)
        #expect(try await !restore(try job(owner: owner)).outcome.isSkipped)
    }

    private func pod(owner: String, apiVersion: String, annotations: String = "{}") throws -> KubernetesObject {
        try ActionWorld.object(
            """
            apiVersion: v1
            kind: Pod
            metadata:
              name: p
              namespace: ml
              annotations: \(annotations)
              ownerReferences: [{apiVersion: \(apiVersion), kind: \(owner), name: o, uid: u, controller: true}]
            spec: {containers: []}
            status: {phase: Running}
            """)
    }

    @Test(
        "Pods of jobs are left to their jobs; others as Velero has it, unless they are marked or set otherwise",
        arguments: [
            ("Job", "batch/v1", "{}", "auto", true), ("PyTorchJob", "kubeflow.org/v1", "{}", "auto", true),
            ("StatefulSet", "apps/v1", "{}", "auto", false), ("ReplicaSet", "apps/v1", "{}", "auto", false),
            ("StatefulSet", "apps/v1", "{becalm.io/consistency: pause}", "auto", true),
            ("StatefulSet", "apps/v1", "{}", "skip", true), ("ReplicaSet", "apps/v1", "{}", "skip", true),
            ("Job", "batch/v1", "{}", "restore", false), ("Thing", "example.com/v1", "{}", "skip", false),
        ])
    func pods(owner: String, apiVersion: String, annotations: String, setting: String, isSkipped: Bool) async throws {
        let (_, outcome) = try await restore(
            try pod(owner: owner, apiVersion: apiVersion, annotations: annotations),
            ActionWorld(.workloadRestore, ["ownedPods": setting]))
        #expect(outcome.isSkipped == isSkipped)
    }

    @Test("A workload whose hold cannot be read is restored as it was stored, with what to do")
    func malformedHold() async throws {
        var job = try job()
        job.setAnnotation("becalm.io/quiesced", "{")
        let world = ActionWorld()
        let (item, outcome) = try await restore(job, world)
        #expect(outcome.item == item && !outcome.isSkipped)
        #expect(
            world.log.lines.contains { $0.hasPrefix("error") && $0.contains("Job ml/run42") && $0.contains("by hand") })
    }

    // MARK: Claims

    private func claim(owner: OwnerReference?) throws -> KubernetesObject {
        var claim = try ActionWorld.object(VolumePolicyTests.claim)
        if let owner { claim.ownerReferences = [owner] }
        return claim
    }

    @Test("A pod's own claim is left out; those that controllers made of templates are restored")
    func claims() async throws {
        // `POD-VOLUME`: the claim of the pod `c` would be named `ckpt` by no rule.
        let name = try claim(owner: nil).name
        let pod = OwnerReference(
            apiVersion: "v1", kind: "Pod", name: String(name.dropLast(2)), uid: "u", isController: true)
        var own = try claim(owner: pod)
        try own.set(.string("\(pod.name)-x"), at: ["metadata", "name"])
        #expect(try await restore(own, ActionWorld(), .volumeRestore).outcome.isSkipped)
        var keeper = pod
        keeper.isController = false
        let set = OwnerReference(apiVersion: "apps/v1", kind: "StatefulSet", name: "s", uid: "u")
        for (owner, isSkipped) in [(pod, false), (keeper, false), (set, false), (Self.jobSet, false), (nil, false)] {
            let (item, outcome) = try await restore(try claim(owner: owner), ActionWorld(), .volumeRestore)
            #expect(outcome.isSkipped == isSkipped && outcome.item == item)
        }
        let (_, kept) = try await restore(
            own, ActionWorld(.volumeRestore, ["ephemeralClaims": "restore"]), .volumeRestore)
        #expect(!kept.isSkipped)
    }

    @Test("A claim whose data only a newer version can bring back is not restored empty")
    func newerData() async throws {
        var claim = try claim(owner: nil)
        claim.setAnnotation("becalm.io/volume-snapshot", "x")
        let error = await #expect(throws: VeleroError.self) {
            _ = try await restore(claim, ActionWorld(), .volumeRestore)
        }
        #expect(error?.message.contains("newer version") == true)
    }
}
