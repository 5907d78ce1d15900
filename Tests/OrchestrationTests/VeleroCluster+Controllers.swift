import Kubernetes

extension VeleroCluster {
    /// Does what controllers would do, until nothing changes.
    static func control(_ state: inout State) {
        for _ in 0..<10 {
            let before = state.version
            let count = state.objects.count
            for object in state.objects.values.sorted(by: { $0.label < $1.label }) {
                switch object.kind {
                case "VolumeSnapshot": snapshot(object, &state)
                case "VolumeSnapshotContent": content(object, &state)
                case "PersistentVolumeClaim": claim(object, &state)
                case "PersistentVolume": volume(object, &state)
                case "Pod": pod(object, &state)
                case "Job": job(object, &state)
                case "Secret": owned(object, &state)
                default: break
                }
            }
            if state.version == before, state.objects.count == count { return }
        }
    }

    private static func find(_ kind: String, _ name: String?, _ state: State) -> KubernetesObject? {
        name.flatMap { name in state.objects.values.first { $0.kind == kind && $0.name == name } }
    }

    private static func find(uid: String?, _ state: State) -> KubernetesObject? {
        uid.flatMap { uid in state.objects.values.first { $0.uid == uid } }
    }

    private static func set(
        _ object: KubernetesObject, _ path: JSONPath, _ value: JSONValue, _ state: inout State
    ) -> KubernetesObject {
        guard object[path] != value else { return object }
        var object = object
        try? object.set(value, at: path)
        return store(object, &state)
    }

    // MARK: Snapshots

    private static let bound = "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection"

    private static func snapshot(_ snapshot: KubernetesObject, _ state: inout State) {
        var snapshot = snapshot
        if let name = snapshot["spec", "source", "volumeSnapshotContentName"]?.string, !snapshot.isBeingDeleted {
            guard let content = find("VolumeSnapshotContent", name, state) else { return }
            let isThere = state.storage.contains(content["spec", "source", "snapshotHandle"]?.string ?? "")
            if snapshot.finalizers.isEmpty {
                snapshot.finalizers = [bound]
                snapshot = store(snapshot, &state)
            }
            _ = set(
                snapshot, ["status"],
                [
                    "boundVolumeSnapshotContentName": .string(name), "readyToUse": .bool(isThere), "restoreSize": "2Gi",
                ], &state)
        }
        guard snapshot.isBeingDeleted else { return }
        // A claim that is made of it holds it.
        let content = find("VolumeSnapshotContent", snapshot["status", "boundVolumeSnapshotContentName"]?.string, state)
        if let content, content["spec", "deletionPolicy"] == "Delete" {
            delete(content, &state)
            guard find("VolumeSnapshotContent", content.name, state) == nil else { return }
        }
        var free = snapshot
        free.finalizers = []
        store(free, &state)
    }

    private static func content(_ content: KubernetesObject, _ state: inout State) {
        guard content.isBeingDeleted else {
            if content.finalizers.isEmpty {
                var held = content
                held.finalizers = [bound]
                store(held, &state)
            }
            return
        }
        guard content.finalizers == [bound] else { return }
        if content["spec", "deletionPolicy"] == "Delete" {
            let handle =
                content["status", "snapshotHandle"]?.string ?? content["spec", "source", "snapshotHandle"]?.string
            state.storage.remove(handle ?? "")
        }
        var free = content
        free.finalizers = []
        store(free, &state)
    }

    // MARK: Volumes

    private static func claim(_ claim: KubernetesObject, _ state: inout State) {
        if claim.isBeingDeleted {
            let isUsed = state.objects.values.contains { pod in
                pod.kind == "Pod" && pod.namespace == claim.namespace
                    && pod["spec", "volumes", 0, "persistentVolumeClaim", "claimName"]?.string == claim.name
            }
            guard !isUsed else { return }
            var free = claim
            free.finalizers = []
            store(free, &state)
            return
        }
        var claim = claim
        if claim.finalizers.isEmpty {
            claim.finalizers = ["kubernetes.io/pvc-protection"]
            claim = store(claim, &state)
        }
        if let name = claim["spec", "volumeName"]?.string {
            guard find("PersistentVolume", name, state)?["spec", "claimRef", "uid"]?.string == claim.uid else { return }
            _ = set(claim, ["status", "phase"], "Bound", &state)
            return
        }
        // Nobody makes a volume for who asks for one with a label; nor of a snapshot that is not there.
        guard claim["spec", "selector"] == nil else { return }
        if let source = claim["spec", "dataSource", "name"]?.string,
            find("VolumeSnapshot", source, state)?["status", "readyToUse"] != true
        {
            return
        }
        state.version += 1
        var volume = KubernetesObject(
            APIResource.persistentVolumes.groupVersionKind, name: "pvc-\(claim.uid)")
        volume.setAnnotation("pv.kubernetes.io/bound-by-controller", "yes")
        let policy = find("StorageClass", claim["spec", "storageClassName"]?.string, state)?["reclaimPolicy"]
        try? volume.set(
            [
                "claimRef": [
                    "name": .string(claim.name), "namespace": .string(claim.namespace), "uid": .string(claim.uid),
                ], "persistentVolumeReclaimPolicy": policy ?? "Delete",
            ], at: ["spec"])
        store(volume, &state)
        _ = set(claim, ["spec", "volumeName"], .string(volume.name), &state)
    }

    private static func volume(_ volume: KubernetesObject, _ state: inout State) {
        let owner = find(uid: volume["spec", "claimRef", "uid"]?.string, state)
        if owner?["spec", "volumeName"]?.string == volume.name {
            _ = set(volume, ["status", "phase"], "Bound", &state)
        } else if owner == nil {
            if volume["spec", "persistentVolumeReclaimPolicy"] == "Delete" {
                delete(volume, &state)
            } else {
                _ = set(volume, ["status", "phase"], "Released", &state)
            }
        }
    }

    // MARK: Jobs

    private static func job(_ job: KubernetesObject, _ state: inout State) {
        let there = state.objects.values.contains { $0.kind == "Pod" && $0.labels["job-name"] == job.name }
        guard !there else { return }
        var pod = KubernetesObject(
            APIResource.pods.groupVersionKind, namespace: job.namespace, name: "\(job.name)-pod")
        for (key, value) in job.labels { pod.setLabel(key, value) }
        pod.setLabel("job-name", job.name)
        try? pod.set(job["spec", "template", "spec"] ?? [:], at: ["spec"])
        try? pod.set(["phase": "Pending"], at: ["status"])
        store(pod, &state)
    }

    private static func pod(_ pod: KubernetesObject, _ state: inout State) {
        // Pods of Jobs that are gone go, too; and so do those that are deleted.
        if find("Job", pod.labels["job-name"], state) == nil { delete(pod, &state) }
    }

    private static func owned(_ secret: KubernetesObject, _ state: inout State) {
        if let owner = secret.ownerReferences.first, find(uid: owner.uid, state) == nil { delete(secret, &state) }
    }

    /// Lets each pod get on by one step: from waiting to running where its claim has a volume and its Secret is there, from
    /// running to its end.
    func advancePods() {
        change { state in
            guard !state.podsAreHeld else { return }
            for pod in state.objects.values where pod.kind == "Pod" {
                switch pod["status", "phase"]?.string {
                case "Pending":
                    let name = pod["spec", "volumes", 0, "persistentVolumeClaim", "claimName"]?.string
                    guard Self.find("PersistentVolumeClaim", name, state)?["spec", "volumeName"] != nil,
                        state.objects.values.contains(where: { $0.kind == "Secret" && $0.namespace == pod.namespace })
                    else { continue }
                    var begun = pod
                    try? begun.set("n1", at: ["spec", "nodeName"])
                    try? begun.set(
                        ["phase": "Running", "containerStatuses": [["state": ["running": [:]]]]], at: ["status"])
                    Self.store(begun, &state)
                case "Running":
                    let arguments = pod["spec", "containers", 0, "args"]?.array ?? []
                    let message = state.words[arguments.count > 1 ? arguments[1].string ?? "" : ""] ?? ""
                    let ended: JSONValue = ["terminated": ["exitCode": 0, "message": .string(message)]]
                    _ = Self.set(
                        pod, ["status"], ["phase": "Succeeded", "containerStatuses": [["state": ended]]], &state)
                default: continue
                }
            }
            Self.control(&state)
        }
    }
}
