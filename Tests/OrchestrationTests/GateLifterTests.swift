import Kubernetes
import KubernetesTesting
import Testing
import Workloads

@testable import Orchestration

/// Workloads that a restore holds, and what they wait for.
@Suite("Workloads that a restore holds are let go")
struct GateLifterTests {
    private static let reference = WorkloadReference(namespace: "train", kind: "statefulset", name: "web")

    /// A StatefulSet that a restore holds, whose pod has the claims `ckpt` and `logs` and one of a template.
    private static func cluster(
        restoring: [String], absent: [String] = [], isHeld: Bool = true, byHand: Bool = false
    ) throws -> FakeCluster {
        let cluster = try MoverCluster.forMovers()
        let volumes: [JSONValue] = ["ckpt", "logs"].map {
            ["name": .string($0), "persistentVolumeClaim": ["claimName": .string($0)]]
        }
        let set = try KubernetesObject([
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": ["name": "web", "namespace": "train"],
            "spec": [
                "replicas": 1, "template": ["spec": ["containers": [], "volumes": .array(volumes)]],
                "volumeClaimTemplates": [["metadata": ["name": "data"]]],
            ],
        ])
        var workload = try #require(WorkloadCatalog.standard.workload(set))
        if isHeld { #expect(try workload.gate(byHand: byHand) == nil && workload.object["spec", "replicas"] == 0) }
        cluster.put(workload.object)
        for name in ["ckpt", "logs", "data-web-0", "other"] where !absent.contains(name) {
            cluster.put(try claim(name, isBeingRestored: restoring.contains(name)))
        }
        return cluster
    }

    private static func claim(_ name: String, isBeingRestored: Bool = false) throws -> KubernetesObject {
        var claim = try KubernetesObject([
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": ["name": .string(name), "namespace": "train"],
        ])
        if isBeingRestored {
            claim.setAnnotation(RestoredObject.restoring, "becalm1:r:s:d")
            claim.setAnnotation(RestoredObject.restoreBegins, "r-1")
        }
        return claim
    }

    /// The Job of a mover that has a claim.
    private static func mover(_ claim: String, _ word: String = "restore") throws -> KubernetesObject {
        var job = try KubernetesObject([
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": ["name": .string("mover-\(word)"), "namespace": "train"],
            "spec": ["template": ["spec": ["containers": [["args": ["mover", .string(word), "--json"]]]]]],
        ])
        job.setLabel(MoverJob.claimLabel, claim)
        return job
    }

    private static func held(_ cluster: FakeCluster) async throws -> GatedWorkload? {
        try await GateLifter(cluster.client).held(WorkloadFinder(cluster.client).find(reference))
    }

    private static func marks(_ cluster: FakeCluster, _ claim: String) -> Set<String> {
        Set(cluster.get("PersistentVolumeClaim", claim, namespace: "train")?.annotations.keys.map { $0 } ?? [])
    }

    private static func isHeld(_ cluster: FakeCluster) throws -> Bool {
        let set = try #require(cluster.get("StatefulSet", "web", namespace: "train"))
        let marks = [set.annotations[BecalmAnnotation.gated] != nil, set["spec", "replicas"] == 0]
        #expect(marks[0] == marks[1], "\(set)")
        return marks[0]
    }

    /// Why it is not let go.
    private static func refusal(_ cluster: FakeCluster, takesDataAsItIs: Bool = false) async throws -> JourneyError {
        try await #require(throws: JourneyError.self) {
            _ = try await GateLifter(cluster.client).lift(reference, takesDataAsItIs: takesDataAsItIs)
        }
    }

    @Test("One whose claims are whole is let go by its name, and a claim that is not its own holds nothing")
    func whole() async throws {
        let cluster = try Self.cluster(restoring: ["other"])
        let held = try #require(try await Self.held(cluster))
        #expect(held.isWhole && "\(held.workload)" == "train/statefulsets.apps/web")
        #expect(try await GateLifter(cluster.client).held(in: "train") == [held])
        let release = try await GateLifter(cluster.client).lift(Self.reference, takesDataAsItIs: false)
        #expect(try release.remarks.isEmpty && !Self.isHeld(cluster))
        #expect(cluster.get("StatefulSet", "web", namespace: "train")?["spec", "replicas"] == 1)
        #expect(cluster.get("PersistentVolumeClaim", "other", namespace: "train")?.annotations.count == 2)
        #expect(try await Self.held(cluster) == nil)
        #expect(try await GateLifter(cluster.client).held(in: "train").isEmpty)
    }

    @Test("One whose data is not whole goes only when its user wants it as it is, and no restore writes into it then")
    func unfilled() async throws {
        let cluster = try Self.cluster(restoring: ["ckpt", "data-web-0"], absent: ["logs"])
        let refusal = try await Self.refusal(cluster)
        #expect(refusal.kind == "claims_not_whole" && refusal.status == .failed)
        #expect(
            refusal.message.contains(
                "waits for the data of its claims ckpt, data-web-0, and its claim logs, which is not there: "),
            "\(refusal)")
        #expect(try Self.isHeld(cluster))
        #expect(cluster.get("PersistentVolumeClaim", "ckpt", namespace: "train")?.annotations.count == 2)

        let release = try await GateLifter(cluster.client).lift(Self.reference, takesDataAsItIs: true)
        #expect(release.gated.unfilled == ["ckpt", "data-web-0"] && release.gated.missing == ["logs"])
        #expect(release.remarks.filter { $0.contains("is taken as it is") }.count == 2)
        #expect(
            release.remarks.count == 3 && release.remarks[2].hasPrefix("claim logs is not there: pods do not start"))
        #expect(try !Self.isHeld(cluster))
        for name in ["ckpt", "data-web-0"] { #expect(Self.marks(cluster, name) == [RestoredObject.incomplete]) }

        // A claim of a template comes into being empty.
        let other = try Self.cluster(restoring: [], absent: ["data-web-0"])
        #expect(try await Self.refusal(other).kind == "claims_not_whole")
        // A mover waits for a claim of that name, and would write into what its controller makes.
        let mover = try Self.mover("data-web-0")
        other.put(mover)
        #expect(try await Self.refusal(other, takesDataAsItIs: true).status == .busy)
        other.remove(mover)
        let told = try await GateLifter(other.client).lift(Self.reference, takesDataAsItIs: true).remarks
        #expect(told.count == 1 && told[0].contains("gets an empty one"), "\(told)")
    }

    @Test("What one workload takes as it is is not whole for another that has the claim, nor for the end of a mover")
    func shared() async throws {
        let cluster = try Self.cluster(restoring: ["ckpt", "logs"])
        var other = try #require(cluster.get("StatefulSet", "web", namespace: "train"))
        (other.name, other.uid) = ("other", "")
        other.remove(at: ["spec", "volumeClaimTemplates"])
        cluster.put(other)
        let lifter = GateLifter(cluster.client)
        var job = try Self.mover("logs")
        try job.set([["type": "Complete", "status": "True"]], at: ["status", "conditions"])
        cluster.put(job)
        _ = try await lifter.lift(Self.reference, takesDataAsItIs: true)
        let waiting = try await lifter.held(in: "train")
        #expect(waiting.map(\.workload.name) == ["other"] && waiting[0].unfilled == ["ckpt", "logs"])
        #expect(try await lifter.held(in: "train", having: "data-web-0").isEmpty)
        #expect(try await lifter.lift(namespace: "train", claim: "logs").isEmpty)
        let name = WorkloadReference(namespace: "train", kind: "statefulset", name: "other")
        await #expect(throws: JourneyError.self) { _ = try await lifter.lift(name, takesDataAsItIs: false) }
        _ = try await lifter.lift(name, takesDataAsItIs: true)
        #expect(try await lifter.held(in: "train").isEmpty)
    }

    @Test("What waits for its user is not let go by the end of a mover")
    func byHand() async throws {
        let cluster = try Self.cluster(restoring: ["ckpt"], byHand: true)
        let lifter = GateLifter(cluster.client)
        #expect(try await lifter.lift(namespace: "train", claim: "ckpt").isEmpty)
        #expect(try Self.isHeld(cluster))
        cluster.put(try Self.claim("ckpt"))
        _ = try await lifter.lift(Self.reference, takesDataAsItIs: false)
        let set = try #require(cluster.get("StatefulSet", "web", namespace: "train"))
        #expect(set.annotations[BecalmAnnotation.release] == nil && set["spec", "replicas"] == 1)
    }

    @Test("The examination of a namespace tells what is held and what to do, and a list that fails hides nothing else")
    func examined() async throws {
        func told(_ cluster: FakeCluster) async -> [String] {
            await ClusterExamination(cluster.client, namespace: "train").findings().filter { $0.name == "held" }
                .map { "\($0.severity.rawValue): \($0.message)" }
        }
        let whole = await told(try Self.cluster(restoring: []))
        #expect(whole.count == 1 && whole[0].hasPrefix("warning: train/statefulsets.apps/web is held by a restore"))
        #expect(whole[0].hasSuffix("'becalm resume --restored train/statefulsets.apps/web' lets it go"), "\(whole)")
        let cluster = try Self.cluster(restoring: ["ckpt"])
        let partial = await told(cluster)
        #expect(partial.count == 1 && partial[0].contains("the data of its claim ckpt"), "\(partial)")
        #expect(partial[0].contains("with --force"))
        cluster.forbid("list persistentvolumeclaims")
        let blind = await told(cluster)
        #expect(blind.contains { $0.hasPrefix("warning: what restores hold is not known") }, "\(blind)")
        #expect(await told(try Self.cluster(restoring: [], isHeld: false)).map { $0.prefix(3) } == ["ok:"])
    }

    @Test("One that a backup holds, too, is not let go while it is at work")
    func heldForBackup() async throws {
        let cluster = try Self.cluster(restoring: [])
        let name = "becalm-statefulsets.apps-web"
        var lease = try KubernetesObject([
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": ["name": .string(name), "namespace": "train"], "spec": ["holderIdentity": "nightly"],
        ])
        for (key, value) in [
            "journal-version": "1", "workload": "train/statefulsets.apps/web", "step": "stopped",
            "consistency": "pause",
            "targets": "[]", "times": "{}",
        ] { lease.setAnnotation("becalm.io/\(key)", value) }
        cluster.put(lease)
        let refusal = try await Self.refusal(cluster, takesDataAsItIs: true)
        #expect(refusal.status == .busy && refusal.message.contains("held for a backup, too, by nightly"), "\(refusal)")
        #expect(try Self.isHeld(cluster))
    }

    @Test("A TrainJob waits for the claims that its runtime alone names")
    func runtime() async throws {
        let cluster = try MoverCluster.forMovers()
        let group = "trainer.kubeflow.org"
        cluster.change {
            $0.kinds += [
                ClusterKind(group, "v1alpha1", "TrainJob", "trainjobs"),
                ClusterKind(group, "v1alpha1", "TrainingRuntime", "trainingruntimes"),
            ]
        }
        let pod: JSONValue = ["containers": [], "volumes": [["persistentVolumeClaim": ["claimName": "ckpt"]]]]
        let replicated: JSONValue = ["name": "node", "template": ["spec": ["template": ["spec": pod]]]]
        cluster.put(
            try KubernetesObject([
                "apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainingRuntime",
                "metadata": ["name": "torch", "namespace": "train"],
                "spec": ["template": ["spec": ["replicatedJobs": [replicated]]]],
            ]))
        let job = try KubernetesObject([
            "apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob",
            "metadata": ["name": "sft", "namespace": "train"],
            "spec": ["runtimeRef": ["name": "torch", "kind": "TrainingRuntime"]],
        ])
        var workload = try #require(WorkloadCatalog.standard.workload(job))
        #expect(try workload.gate() == nil)
        cluster.put(workload.object)
        cluster.put(try Self.claim("ckpt", isBeingRestored: true))
        let lifter = GateLifter(cluster.client)
        #expect(try await lifter.held(in: "train").map(\.unfilled) == [["ckpt"]])
        let name = WorkloadReference(namespace: "train", kind: "trainjob", name: "sft")
        // Whether it has all of its data is not known while its runtime cannot be seen; others are.
        cluster.refuse { $0.path.hasSuffix("/trainingruntimes/torch") ? 403 : nil }
        #expect(try await lifter.lift(namespace: "train", claim: "ckpt").isEmpty)
        let blind = try #require(try await lifter.held(in: "train").first)
        #expect(!blind.isWhole && blind.words.contains("cannot be seen (TrainingRuntime torch cannot be read: "))
        cluster.refuse { _ in nil }
        await #expect(throws: JourneyError.self) { _ = try await lifter.lift(name, takesDataAsItIs: false) }
        #expect(try await lifter.lift(namespace: "train", claim: "ckpt") == ["TrainJob train/sft"])
    }

    @Test("Nothing is let go while a mover writes into a claim of it, whatever its user wants")
    func moving() async throws {
        let cluster = try Self.cluster(restoring: ["ckpt"])
        // One that stores the volume changes nothing of it.
        cluster.put(try Self.mover("ckpt", "backup"))
        var job = try Self.mover("ckpt")
        cluster.put(job)
        let refusal = try await Self.refusal(cluster, takesDataAsItIs: true)
        #expect(refusal.status == .busy && refusal.message.contains("Job train/mover-restore"), "\(refusal)")
        #expect(try Self.isHeld(cluster))
        #expect(cluster.get("PersistentVolumeClaim", "ckpt", namespace: "train")?.annotations.count == 2)

        // Its pod may outlive its end, and the Job.
        try job.set([["type": "Failed", "status": "True"]], at: ["status", "conditions"])
        cluster.put(job)
        var pod = try KubernetesObject([
            "apiVersion": "v1", "kind": "Pod", "metadata": ["name": "p", "namespace": "train"],
            "spec": job["spec", "template", "spec"] ?? .null, "status": ["phase": "Running"],
        ])
        pod.setLabel(MoverJob.claimLabel, "ckpt")
        cluster.put(pod)
        #expect(try await Self.refusal(cluster, takesDataAsItIs: true).message.contains("Pod train/p"))
        cluster.remove(job)
        #expect(try await Self.refusal(cluster, takesDataAsItIs: true).status == .busy)
        #expect(try Self.isHeld(cluster))
        try pod.set("Failed", at: ["status", "phase"])
        cluster.put(pod)
        _ = try await GateLifter(cluster.client).lift(Self.reference, takesDataAsItIs: true)
        #expect(try !Self.isHeld(cluster))
    }

    @Test("What was killed between a claim and its workload is gone on with")
    func interrupted() async throws {
        let cluster = try Self.cluster(restoring: ["ckpt", "logs"])
        cluster.refuse { $0.method == "PUT" ? 403 : nil }
        await #expect(throws: (any Error).self) {
            _ = try await GateLifter(cluster.client).lift(Self.reference, takesDataAsItIs: true)
        }
        #expect(try Self.isHeld(cluster))
        cluster.refuse { _ in nil }
        #expect(try await Self.refusal(cluster).kind == "claims_not_whole")
        _ = try await GateLifter(cluster.client).lift(Self.reference, takesDataAsItIs: true)
        #expect(try !Self.isHeld(cluster))
    }

    @Test("What cannot be put back leaves the claims as they are")
    func unreadable() async throws {
        let cluster = try Self.cluster(restoring: ["ckpt"])
        var set = try #require(cluster.get("StatefulSet", "web", namespace: "train"))
        set.setAnnotation(BecalmAnnotation.gated, "{}")
        cluster.put(set)
        await #expect(throws: WorkloadError.self) {
            _ = try await GateLifter(cluster.client).lift(Self.reference, takesDataAsItIs: true)
        }
        #expect(Self.marks(cluster, "ckpt") == [RestoredObject.restoring, RestoredObject.restoreBegins])
    }

    @Test("A field that somebody has changed since the restore stays as it is, and is named")
    func changed() async throws {
        let cluster = try Self.cluster(restoring: [])
        var set = try #require(cluster.get("StatefulSet", "web", namespace: "train"))
        try set.set(.integer(5), at: ["spec", "replicas"])
        cluster.put(set)
        let release = try await GateLifter(cluster.client).lift(Self.reference, takesDataAsItIs: false)
        #expect(release.remarks.count == 1 && release.remarks[0].hasPrefix("/spec/replicas of StatefulSet train/web"))
        set = try #require(cluster.get("StatefulSet", "web", namespace: "train"))
        #expect(set["spec", "replicas"] == 5 && set.annotations[BecalmAnnotation.gated] == nil)
    }

    @Test("What no restore holds is said not to be held, by resuming it as well")
    func notHeld() async throws {
        let cluster = try Self.cluster(restoring: ["ckpt"], isHeld: false)
        #expect(try await Self.refusal(cluster, takesDataAsItIs: true).kind == "not_held")
        #expect(cluster.get("PersistentVolumeClaim", "ckpt", namespace: "train")?.annotations.count == 2)
        let process = WorkloadReference(namespace: "host", kind: "pid", name: "1")
        await #expect(throws: JourneyError.self) {
            _ = try await GateLifter(cluster.client).lift(process, takesDataAsItIs: false)
        }

        // What a restore holds is told of to who takes it for what a backup holds.
        let held = try Self.cluster(restoring: [])
        let error = await #expect(throws: WorkloadError.self) {
            _ = try await Resumer(held.client, holder: "test").resume(Self.reference)
        }
        #expect(error?.message.contains("'becalm resume --restored train/statefulsets.apps/web'") == true)
    }

    @Test("A mover that ends well makes no claim whole that was not when it was backed up")
    func incomplete() async throws {
        let cluster = try Self.cluster(restoring: ["ckpt"])
        var claim = try Self.claim("ckpt", isBeingRestored: true)
        claim.setAnnotation(RestoredObject.incomplete, "becalm1:r:s:d")
        cluster.put(claim)
        #expect(try await GateLifter(cluster.client).lift(namespace: "train", claim: "ckpt").isEmpty)
        #expect(try Self.isHeld(cluster))
    }

    @Test("The last of its claims lets it go, and none before it")
    func last() async throws {
        let cluster = try Self.cluster(restoring: ["ckpt", "logs"])
        let lifter = GateLifter(cluster.client)
        #expect(try await lifter.lift(namespace: "train", claim: "ckpt").isEmpty)
        _ = try await cluster.client.patch(
            .persistentVolumeClaims, namespace: "train", name: "ckpt",
            .merge(["metadata": ["annotations": [RestoredObject.restoring: .null]]]))
        #expect(try await lifter.lift(namespace: "train", claim: "other").isEmpty)
        #expect(try await lifter.lift(namespace: "train", claim: "logs") == ["StatefulSet train/web"])
        #expect(try !Self.isHeld(cluster))
    }
}
