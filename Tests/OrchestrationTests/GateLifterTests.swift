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
        restoring: [String], absent: [String] = [], isHeld: Bool = true
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
        if isHeld { #expect(try workload.gate() == nil && workload.object["spec", "replicas"] == 0) }
        cluster.put(workload.object)
        for name in ["ckpt", "logs", "data-web-0", "other"] where !absent.contains(name) {
            var claim = try KubernetesObject([
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": ["name": .string(name), "namespace": "train"],
            ])
            if restoring.contains(name) {
                claim.setAnnotation(RestoredObject.restoring, "becalm1:r:s:d")
                claim.setAnnotation(RestoredObject.restoreBegins, "r-1")
            }
            cluster.put(claim)
        }
        return cluster
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
        let held = try #require(try await GateLifter(cluster.client).held(Self.reference))
        #expect(held.isWhole && "\(held.workload)" == "train/statefulsets.apps/web")
        #expect(try await GateLifter(cluster.client).held(in: "train") == [held])
        let release = try await GateLifter(cluster.client).lift(Self.reference, takesDataAsItIs: false)
        #expect(try release.remarks.isEmpty && !Self.isHeld(cluster))
        #expect(cluster.get("StatefulSet", "web", namespace: "train")?["spec", "replicas"] == 1)
        #expect(cluster.get("PersistentVolumeClaim", "other", namespace: "train")?.annotations.count == 2)
        #expect(try await GateLifter(cluster.client).held(Self.reference) == nil)
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
        #expect(release.remarks.count == 1 && release.remarks[0].contains("ckpt, data-web-0 is taken as it is"))
        #expect(try !Self.isHeld(cluster))
        for name in ["ckpt", "data-web-0"] {
            #expect(cluster.get("PersistentVolumeClaim", name, namespace: "train")?.annotations.isEmpty == true)
        }
    }

    @Test("Nothing is let go while a mover writes into a claim of it, whatever its user wants")
    func moving() async throws {
        let cluster = try Self.cluster(restoring: ["ckpt"])
        var job = try KubernetesObject([
            "apiVersion": "batch/v1", "kind": "Job", "metadata": ["name": "mover", "namespace": "train"],
        ])
        job.setLabel(MoverJob.claimLabel, "ckpt")
        cluster.put(job)
        let refusal = try await Self.refusal(cluster, takesDataAsItIs: true)
        #expect(refusal.status == .busy && refusal.message.contains("Job train/mover"), "\(refusal)")
        #expect(try Self.isHeld(cluster))
        #expect(cluster.get("PersistentVolumeClaim", "ckpt", namespace: "train")?.annotations.count == 2)

        // One that has failed writes no more.
        try job.set([["type": "Failed", "status": "True"]], at: ["status", "conditions"])
        cluster.put(job)
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
        _ = try await GateLifter(cluster.client).lift(Self.reference, takesDataAsItIs: false)
        #expect(try !Self.isHeld(cluster))
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
