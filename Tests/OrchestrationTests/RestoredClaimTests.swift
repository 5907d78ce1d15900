import Kubernetes
import Snapshots
import Testing
import Workloads

@testable import Orchestration

@Suite("Claims of a restore")
struct RestoredClaimTests {
    static func claim(
        _ requests: String?, capacity: String? = nil, limit: String? = nil, annotations: Kubernetes.JSONValue = [:]
    ) throws -> KubernetesObject {
        var resources = JSONObject()
        if let requests { resources["requests"] = ["storage": .string(requests)] }
        if let limit { resources["limits"] = ["storage": .string(limit)] }
        var status = JSONObject()
        if let capacity { status["capacity"] = ["storage": .string(capacity)] }
        return try KubernetesObject([
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": ["name": "data", "namespace": "train", "uid": "u", "annotations": annotations],
            "spec": [
                "accessModes": ["ReadWriteOnce"], "resources": .object(resources), "storageClassName": "slow",
                "volumeName": "pvc-1",
            ],
            "status": .object(status),
        ])
    }

    private func restored(_ stored: KubernetesObject, snapshot: String? = "abc") throws -> KubernetesObject {
        try RestoredObject.claim(stored, namespace: "lab", classes: ["slow": "fast"], snapshot: snapshot)
    }

    private func storage(_ claim: KubernetesObject) -> Kubernetes.JSONValue? {
        claim["spec", "resources", "requests", "storage"]
    }

    @Test("A claim asks for what its volume had, where that is more than it had asked for")
    func capacity() throws {
        #expect(storage(try restored(Self.claim("10Gi", capacity: "20Gi"))) == "20Gi")
        #expect(storage(try restored(Self.claim("10Gi", capacity: "10737418240"))) == "10Gi")
        #expect(storage(try restored(Self.claim("10Gi", capacity: "5Gi"))) == "10Gi")
        #expect(storage(try restored(Self.claim("10Gi"))) == "10Gi")
        #expect(storage(try restored(Self.claim(nil, capacity: "1Gi"))) == "1Gi")
        #expect(storage(try restored(Self.claim("1Gi", capacity: "many"))) == "1Gi")
    }

    @Test("A limit of the claim's own grows with it, for a server refuses what asks for more")
    func limits() throws {
        let grown = try restored(Self.claim("1Gi", capacity: "3Gi", limit: "2Gi"))
        #expect(storage(grown) == "3Gi" && grown["spec", "resources", "limits", "storage"] == "3Gi")
        let kept = try restored(Self.claim("1Gi", capacity: "3Gi", limit: "4Gi"))
        #expect(kept["spec", "resources", "limits", "storage"] == "4Gi")
    }

    @Test("One that stays empty does not say that it is being restored")
    func empty() throws {
        let filled = try restored(Self.claim("1Gi"))
        #expect(filled.annotations[RestoredObject.restoring] == "abc")
        let empty = try restored(Self.claim("1Gi"), snapshot: nil)
        #expect(empty.annotations[RestoredObject.restoring] == nil)
        #expect(empty.namespace == "lab" && empty["spec", "storageClassName"] == "fast")
        #expect(empty["spec", "volumeName"] == nil && empty.uid.isEmpty && empty["status"] == nil)
    }

    @Test("What files need is their bytes, a block for each, and what a file system keeps for itself")
    func need() {
        var size = TreeSize()
        #expect(size.storage == "2Mi")
        (size.bytes, size.entries) = (1 << 30, 1)
        // 1024 MiB, a sixteenth of that, and two.
        #expect(size.storage == "1090Mi")
        size.entries = 1 << 20
        #expect(size.storage == "5442Mi")
        size.bytes = .max
        #expect(size.storage == "9223372036854775807")
        #expect(Quantity(size.storage) != nil)
    }

    // MARK: Who mounts what

    private func workload(_ spec: Kubernetes.JSONValue, kind: String = "StatefulSet") throws -> Workload {
        let object = try KubernetesObject([
            "apiVersion": kind == "StatefulSet" ? "apps/v1" : "batch/v1", "kind": .string(kind),
            "metadata": ["name": "web", "namespace": "train"], "spec": spec,
        ])
        return try #require(WorkloadCatalog.standard.workload(object))
    }

    @Test("Each pod of a StatefulSet has its own claims, and those that all name")
    func statefulSet() throws {
        let workload = try workload([
            "replicas": 2, "selector": ["matchLabels": ["a": "b"]],
            "volumeClaimTemplates": [["metadata": ["name": "data"]], ["metadata": ["name": "data-web"]]],
            "template": [
                "spec": [
                    "nodeSelector": ["zone": "a"],
                    "volumes": [["name": "s", "persistentVolumeClaim": ["claimName": "shared"]]],
                ]
            ],
        ])
        let users = ClaimUsers(workload)
        #expect(
            users.users.map(\.claims) == [
                ["shared", "data-web-0", "data-web-web-0"], ["shared", "data-web-1", "data-web-web-1"],
            ])
        #expect(users.placement(of: "data-web-1").nodeSelector == ["zone": "a"])
        // No pod of the workload mounts it: where they run is the best guess.
        #expect(users.placement(of: "other").nodeSelector == ["zone": "a"])
    }

    @Test("A mover is placed as the pods are that mount its claim")
    func templates() throws {
        let object = try KubernetesObject([
            "apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "metadata": ["name": "j", "namespace": "train"],
            "spec": [
                "pytorchReplicaSpecs": [
                    "Master": ["template": ["spec": Self.mounting("logs", zone: "cpu")]],
                    "Worker": ["template": ["spec": Self.mounting("data", zone: "gpu")]],
                ]
            ],
        ])
        let users = ClaimUsers(try #require(WorkloadCatalog.standard.workload(object)))
        #expect(users.placement(of: "data").nodeSelector == ["zone": "gpu"])
        #expect(users.placement(of: "logs").nodeSelector == ["zone": "cpu"])
    }

    private static func mounting(_ claim: String, zone: String) -> Kubernetes.JSONValue {
        [
            "nodeSelector": ["zone": .string(zone)],
            "volumes": [["name": "v", "persistentVolumeClaim": ["claimName": .string(claim)]]],
        ]
    }
}
