import Kubernetes
import KubernetesTesting

@testable import Orchestration

/// A cluster for movers: it tells watchers of every change, streams logs, and forgets what a deleted Job owns. What becomes of
/// a Job's pod, the test says.
typealias MoverCluster = FakeCluster

extension MoverCluster {
    static func forMovers() throws -> MoverCluster {
        let cluster = try FakeCluster(
            ClusterKind.movers, namespace: "train", collectsGarbage: true, streamsWatches: true,
            controllers: { _ in })
        cluster.serve(IndexedJobs.Support())
        return cluster
    }

    /// Has Jobs be what they are on such a server, which drops what it does not know: at first one that has no indexes.
    func serve(_ support: IndexedJobs.Support) {
        change { state in
            state.unknownJobFields = support.isServed ? [] : ["completionMode"]
            if !support.limitsEachIndex {
                state.unknownJobFields.formUnion(["backoffLimitPerIndex", "maxFailedIndexes"])
            }
        }
    }

    /// A pod of a Job; of an Indexed one with its `index`.
    static func pod(
        of job: KubernetesObject, _ suffix: String = "a", index: Int? = nil, phase: String = "Pending",
        state: JSONValue = .null, conditions: JSONValue = [], minute: Int = 0
    ) -> KubernetesObject {
        var labels = JSONObject()
        for (key, value) in job.labels { labels[key] = .string(value) }
        labels["job-name"] = .string(job.name)
        let json: JSONValue = [
            "apiVersion": "v1", "kind": "Pod",
            "metadata": [
                "name": .string("\(job.name)-\(suffix)"), "namespace": .string(job.namespace),
                "creationTimestamp": .string("2026-01-01T00:0\(minute):00Z"), "labels": .object(labels),
                "ownerReferences": [
                    [
                        "apiVersion": "batch/v1", "controller": true, "kind": "Job", "name": .string(job.name),
                        "uid": .string(job.uid),
                    ]
                ],
            ],
            "status": [
                "phase": .string(phase), "conditions": conditions,
                "containerStatuses": [["name": "mover", "state": state]],
            ],
        ]
        guard var pod = try? KubernetesObject(json) else { preconditionFailure("a pod is an object") }
        if let index {
            pod.name = "\(job.name)-\(index)-\(suffix)"
            pod.setAnnotation("batch.kubernetes.io/job-completion-index", "\(index)")
        }
        return pod
    }
}
