import Kubernetes
import KubernetesTesting
import Synchronization

/// What stands beside a data mover in a cluster with Velero: the storage, the controllers of snapshots, of volumes and of
/// Jobs, and what movers say.
final class VeleroScene: Sendable {
    private struct State {
        /// Snapshots that the storage has, by handle.
        var storage: Set<String> = []
        /// What a pod says when it ends, by what it does.
        var words: [String: String] = [:]
        /// Whether the pods of Jobs may get on.
        var podsAreHeld = false
    }

    private let state = Mutex(State())

    /// A cluster with all of it.
    func cluster() throws -> FakeCluster {
        let cluster = try FakeCluster(ClusterKind.velero, namespace: "velero") { [self] in control(&$0)
        }
        cluster.change { $0.log = "" }
        return cluster
    }

    // MARK: The test's hands

    /// Snapshots that the storage has, by handle.
    var storage: Set<String> { state.withLock { $0.storage } }

    /// The storage has a snapshot.
    func cut(_ handle: String) { state.withLock { _ = $0.storage.insert(handle) } }

    /// What pods say when they end that do this.
    func say(_ word: String, of action: String) { state.withLock { $0.words[action] = word } }

    /// Has pods of Jobs stay as they are.
    func holdPods(_ areHeld: Bool) { state.withLock { $0.podsAreHeld = areHeld } }

    // MARK: Controllers

    /// Does what controllers would do, until nothing changes.
    private func control(_ cluster: inout ClusterState) {
        for _ in 0..<10 {
            let before = cluster.version
            let count = cluster.objects.count
            for object in cluster.objects.values.sorted(by: { $0.label < $1.label }) {
                switch object.kind {
                case "VolumeSnapshot": snapshot(object, &cluster)
                case "VolumeSnapshotContent": content(object, &cluster)
                case "PersistentVolumeClaim": claim(object, &cluster)
                case "PersistentVolume": volume(object, &cluster)
                case "Pod": pod(object, &cluster)
                case "Job": job(object, &cluster)
                case "Secret": owned(object, &cluster)
                default: break
                }
            }
            if cluster.version == before, cluster.objects.count == count { return }
        }
    }

    private func find(_ kind: String, _ name: String?, _ cluster: ClusterState) -> KubernetesObject? {
        name.flatMap { name in cluster.objects.values.first { $0.kind == kind && $0.name == name } }
    }

    private func find(uid: String?, _ cluster: ClusterState) -> KubernetesObject? {
        uid.flatMap { uid in cluster.objects.values.first { $0.uid == uid } }
    }

    private func set(
        _ object: KubernetesObject, _ path: JSONPath, _ value: JSONValue, _ cluster: inout ClusterState
    ) -> KubernetesObject {
        guard object[path] != value else { return object }
        var object = object
        try? object.set(value, at: path)
        return cluster.store(object)
    }

    // MARK: Snapshots

    private static let bound = "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection"

    private func snapshot(_ snapshot: KubernetesObject, _ cluster: inout ClusterState) {
        var snapshot = snapshot
        if let name = snapshot["spec", "source", "volumeSnapshotContentName"]?.string,
            !snapshot.isBeingDeleted
        {
            guard let content = find("VolumeSnapshotContent", name, cluster) else { return }
            let isThere = storage.contains(content["spec", "source", "snapshotHandle"]?.string ?? "")
            if snapshot.finalizers.isEmpty {
                snapshot.finalizers = [Self.bound]
                snapshot = cluster.store(snapshot)
            }
            _ = set(
                snapshot, ["status"],
                [
                    "boundVolumeSnapshotContentName": .string(name), "readyToUse": .bool(isThere),
                    "restoreSize": "2Gi",
                ], &cluster)
        }
        guard snapshot.isBeingDeleted else { return }
        // A claim that is made of it holds it.
        let content = find(
            "VolumeSnapshotContent", snapshot["status", "boundVolumeSnapshotContentName"]?.string, cluster
        )
        if let content, content["spec", "deletionPolicy"] == "Delete" {
            cluster.delete(content)
            guard find("VolumeSnapshotContent", content.name, cluster) == nil else { return }
        }
        var free = snapshot
        free.finalizers = []
        cluster.store(free)
    }

    private func content(_ content: KubernetesObject, _ cluster: inout ClusterState) {
        guard content.isBeingDeleted else {
            if content.finalizers.isEmpty {
                var held = content
                held.finalizers = [Self.bound]
                cluster.store(held)
            }
            return
        }
        guard content.finalizers == [Self.bound] else { return }
        if content["spec", "deletionPolicy"] == "Delete" {
            let handle =
                content["status", "snapshotHandle"]?.string
                ?? content["spec", "source", "snapshotHandle"]?.string
            state.withLock { _ = $0.storage.remove(handle ?? "") }
        }
        var free = content
        free.finalizers = []
        cluster.store(free)
    }

    // MARK: Volumes

    private func claim(_ claim: KubernetesObject, _ cluster: inout ClusterState) {
        if claim.isBeingDeleted {
            let isUsed = cluster.objects.values.contains { pod in
                pod.kind == "Pod" && pod.namespace == claim.namespace
                    && pod["spec", "volumes", 0, "persistentVolumeClaim", "claimName"]?.string == claim.name
            }
            guard !isUsed else { return }
            var free = claim
            free.finalizers = []
            cluster.store(free)
            return
        }
        var claim = claim
        if claim.finalizers.isEmpty {
            claim.finalizers = ["kubernetes.io/pvc-protection"]
            claim = cluster.store(claim)
        }
        if let name = claim["spec", "volumeName"]?.string {
            guard find("PersistentVolume", name, cluster)?["spec", "claimRef", "uid"]?.string == claim.uid
            else { return }
            _ = set(claim, ["status", "phase"], "Bound", &cluster)
            return
        }
        // Nobody makes a volume for who asks for one with a label; nor of a snapshot that is not there.
        guard claim["spec", "selector"] == nil else { return }
        if let source = claim["spec", "dataSource", "name"]?.string,
            find("VolumeSnapshot", source, cluster)?["status", "readyToUse"] != true
        {
            return
        }
        cluster.version += 1
        var volume = KubernetesObject(
            APIResource.persistentVolumes.groupVersionKind, name: "pvc-\(claim.uid)")
        volume.setAnnotation("pv.kubernetes.io/bound-by-controller", "yes")
        let policy = find("StorageClass", claim["spec", "storageClassName"]?.string, cluster)?[
            "reclaimPolicy"]
        try? volume.set(
            [
                "claimRef": [
                    "name": .string(claim.name), "namespace": .string(claim.namespace),
                    "uid": .string(claim.uid),
                ], "persistentVolumeReclaimPolicy": policy ?? "Delete",
            ], at: ["spec"])
        cluster.store(volume)
        _ = set(claim, ["spec", "volumeName"], .string(volume.name), &cluster)
    }

    private func volume(_ volume: KubernetesObject, _ cluster: inout ClusterState) {
        let owner = find(uid: volume["spec", "claimRef", "uid"]?.string, cluster)
        if owner?["spec", "volumeName"]?.string == volume.name {
            _ = set(volume, ["status", "phase"], "Bound", &cluster)
        } else if owner == nil {
            if volume["spec", "persistentVolumeReclaimPolicy"] == "Delete" {
                cluster.delete(volume)
            } else {
                _ = set(volume, ["status", "phase"], "Released", &cluster)
            }
        }
    }

    // MARK: Jobs

    private func job(_ job: KubernetesObject, _ cluster: inout ClusterState) {
        let there = cluster.objects.values.contains {
            $0.kind == "Pod" && $0.labels["job-name"] == job.name
        }
        guard !there else { return }
        var pod = KubernetesObject(
            APIResource.pods.groupVersionKind, namespace: job.namespace, name: "\(job.name)-pod")
        for (key, value) in job.labels { pod.setLabel(key, value) }
        pod.setLabel("job-name", job.name)
        try? pod.set(job["spec", "template", "spec"] ?? [:], at: ["spec"])
        try? pod.set(["phase": "Pending"], at: ["status"])
        cluster.store(pod)
    }

    private func pod(_ pod: KubernetesObject, _ cluster: inout ClusterState) {
        // Pods of Jobs that are gone go, too; and so do those that are deleted.
        if find("Job", pod.labels["job-name"], cluster) == nil { cluster.delete(pod) }
    }

    private func owned(_ secret: KubernetesObject, _ cluster: inout ClusterState) {
        if let owner = secret.ownerReferences.first, find(uid: owner.uid, cluster) == nil {
            cluster.delete(secret)
        }
    }

    /// Lets each pod get on by one step: from waiting to running where its claim has a volume and its Secret is there, from
    /// running to its end.
    func advancePods(of cluster: FakeCluster) {
        let (areHeld, words) = state.withLock { ($0.podsAreHeld, $0.words) }
        guard !areHeld else { return }
        cluster.change { cluster in
            for pod in cluster.objects.values where pod.kind == "Pod" {
                switch pod["status", "phase"]?.string {
                case "Pending":
                    let name = pod["spec", "volumes", 0, "persistentVolumeClaim", "claimName"]?.string
                    guard find("PersistentVolumeClaim", name, cluster)?["spec", "volumeName"] != nil,
                        cluster.objects.values.contains(where: {
                            $0.kind == "Secret" && $0.namespace == pod.namespace
                        })
                    else { continue }
                    var begun = pod
                    try? begun.set("n1", at: ["spec", "nodeName"])
                    try? begun.set(
                        ["phase": "Running", "containerStatuses": [["state": ["running": [:]]]]], at: ["status"]
                    )
                    cluster.store(begun)
                case "Running":
                    let arguments = pod["spec", "containers", 0, "args"]?.array ?? []
                    let message = words[arguments.count > 1 ? arguments[1].string ?? "" : ""] ?? ""
                    let ended: JSONValue = ["terminated": ["exitCode": 0, "message": .string(message)]]
                    _ = set(
                        pod, ["status"], ["phase": "Succeeded", "containerStatuses": [["state": ended]]],
                        &cluster)
                default: continue
                }
            }
            control(&cluster)
        }
    }
}
