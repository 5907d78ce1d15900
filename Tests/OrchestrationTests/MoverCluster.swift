import Kubernetes
import KubernetesTesting

/// A cluster for movers: it tells watchers of every change, streams logs, and forgets what a deleted Job owns. What becomes of
/// a Job's pod, the test says.
typealias MoverCluster = FakeCluster

extension MoverCluster {
    static func forMovers() throws -> MoverCluster {
        try FakeCluster(
            ClusterKind.movers, namespace: "train", collectsGarbage: true, streamsWatches: true,
            controllers: { _ in })
    }

    /// A pod of a Job.
    static func pod(
        of job: KubernetesObject, _ suffix: String = "a", phase: String = "Pending",
        state: JSONValue = .null,
        conditions: JSONValue = [], minute: Int = 0
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
        guard let pod = try? KubernetesObject(json) else { preconditionFailure("a pod is an object") }
        return pod
    }
}
