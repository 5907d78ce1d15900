internal import Basics
internal import Kubernetes

/// The volume that a DataDownload fills: made in Velero's namespace like the claim that is to have it, then handed over.
///
/// A claim that Velero restores with its data by a data mover asks by its selector (`velero.io/dynamic-pv-restore`) for a
/// volume that nobody makes for it. The volume is made through a claim of ours; once its data is whole it is kept (`Retain`),
/// our claim goes, the volume's `claimRef` and labels are set to what the target asks for, and when both are bound the volume
/// gets its reclaim policy back. Where it is in that is written on the volume. Every call may be the last of its process.
struct VolumeHandover: Sendable {
    let client: KubernetesClient
    let download: Transfer
    /// Seconds since the transfer was accepted, and that a claim may wait for a pod that says where its volume is to be.
    let waited: Double
    let consumerSeconds: Int

    private var name: String { download.exposedName }
    private var targetNamespace: String { download.text("targetVolume", "namespace") }
    private var targetName: String { download.text("targetVolume", "pvc") }
    private var targetLabel: String { "PersistentVolumeClaim \(targetNamespace)/\(targetName)" }
    private var removal: VolumeRemoval { VolumeRemoval(client: client, transfer: download) }

    private static let selectedNode = "volume.kubernetes.io/selected-node"
    /// Annotations that say how a claim stands, not what it is.
    private static let passing = [
        "pv.kubernetes.io/", "volume.kubernetes.io/", "volume.beta.kubernetes.io/storage-provisioner",
        "kubectl.kubernetes.io/", "velero.io/", "becalm.io/",
    ]

    private func target() async throws -> KubernetesObject? {
        try await client.find(.persistentVolumeClaims, namespace: targetNamespace, name: targetName)
    }

    // MARK: Making

    /// Goes on with making the claim that the mover fills, which is called `download.exposedName`. `bytes` answers how many
    /// the data has: a device is made as large, whatever the target asks for.
    func prepare(bytes: () async throws -> UInt64) async throws -> Readiness {
        if try await client.find(.persistentVolumeClaims, namespace: download.namespace, name: name) != nil {
            return .ready
        }
        guard let target = try await self.target() else { return .waits("\(targetLabel) does not exist yet") }
        guard !target.isBeingDeleted else { throw TransferFailure("\(targetLabel) is being deleted") }
        if let volume = target["spec", "volumeName"]?.string, !volume.isEmpty {
            throw TransferFailure("\(targetLabel) is bound already, to \(volume): its data stays as it is")
        }
        guard target["spec", "storageClassName"]?.string != "" else {
            throw TransferFailure(
                "\(targetLabel) names no storage class (\"\"), of which a volume could be made: restore it with a storage class mapping"
            )
        }
        if let reason = try await consumer(target) { return .waits(reason) }
        var claim = claim(like: target)
        // A driver may have made the origin larger than it was asked to, and less than a device had takes nothing of it.
        if claim.isBlockVolume { try claim.requestStorage(Quantity.device(bytes: try await bytes())) }
        do throws(KubernetesError) {
            _ = try await client.create(.persistentVolumeClaims, claim)
        } catch {
            guard error.isAmbiguous || error.code == .alreadyExists else { throw error }
            _ = try await client.get(.persistentVolumeClaims, namespace: download.namespace, name: name)
        }
        return .ready
    }

    /// What keeps the volume of a class that waits for its first consumer from being made: nobody has said where it is to be.
    /// A claim that no pod uses in time gets its volume wherever the mover runs.
    private func consumer(_ target: KubernetesObject) async throws -> String? {
        guard target.annotations[Self.selectedNode] == nil, waited < Double(consumerSeconds),
            let className = target["spec", "storageClassName"]?.string,
            let classes = try await client.resource(group: "storage.k8s.io", kind: "StorageClass")
        else { return nil }
        let found: KubernetesObject?
        do throws(KubernetesError) {
            found = try await client.find(classes, name: className)
        } catch {
            // Only where it is made depends on it.
            guard error.code == .forbidden else { throw error }
            return nil
        }
        guard found?["volumeBindingMode"]?.string == "WaitForFirstConsumer" else { return nil }
        return "\(targetLabel) waits for a pod that uses it, for \(consumerSeconds) s at most"
    }

    /// Where the mover is to run: on the node that the scheduler has chosen for the target's pod.
    func placement() async throws -> MoverPlacement {
        var placement = MoverPlacement()
        placement.node = try await target()?.annotations[Self.selectedNode]
        return placement
    }

    private func claim(like target: KubernetesObject) -> KubernetesObject {
        var claim = KubernetesObject(
            APIResource.persistentVolumeClaims.groupVersionKind, namespace: download.namespace, name: name)
        for (key, value) in target.annotations.sorted(by: { $0.key < $1.key })
        where !Self.passing.contains(where: { key.hasPrefix($0) }) {
            claim.setAnnotation(key, value)
        }
        download.mark(&claim)
        claim.ownerReferences = [
            OwnerReference(
                apiVersion: download.object.apiVersion, kind: download.kind.rawValue, name: download.object.name,
                uid: download.object.uid)
        ]
        var spec = JSONObject()
        for key in ["accessModes", "resources", "storageClassName", "volumeMode"] {
            spec[key] = target["spec", .key(key)]
        }
        claim.setMember("spec", .object(spec))
        return claim
    }

    // MARK: Handing over

    /// The volume as it is on its way from our claim to the target; nil before and after that.
    private func keptVolume() async throws -> KubernetesObject? {
        try await client.list(.persistentVolumes, ListOptions(labels: download.selector)).items.first
    }

    /// Whether the volume is the target's already, bound or soon to be: then it is too late to stop.
    func isHandedOver() async throws -> Bool {
        guard let volume = try await keptVolume() else { return false }
        return try await isHandedOver(volume)
    }

    /// Sees to it that the volume, whose data is whole, outlives our claim. After this the mover's pod may go.
    func keep() async throws {
        let claim = try await client.find(.persistentVolumeClaims, namespace: download.namespace, name: name)
        guard let claim else { return }
        guard let volume = try await removal.volume(of: claim) else {
            throw TransferFailure("\(claim.label) has lost its volume")
        }
        let policy = volume["spec", "persistentVolumeReclaimPolicy"]?.string ?? "Delete"
        guard volume.labels[DataMover.label] != download.run || policy != "Retain" else { return }
        let before = volume.annotations[DataMover.policyAnnotation] ?? policy
        let marks: JSONValue = [
            DataMover.policyAnnotation: .string(before),
            DataMover.transferAnnotation: .string(download.name),
        ]
        _ = try await client.patch(
            .persistentVolumes, name: volume.name,
            .merge([
                "metadata": [
                    "annotations": marks, "labels": [DataMover.label: .string(download.run)],
                    "resourceVersion": .string(volume.resourceVersion),
                ],
                "spec": ["persistentVolumeReclaimPolicy": "Retain"],
            ]))
    }

    /// Goes on with giving the volume to the target, after `keep` and once the mover's pod is told to go.
    func handOver() async throws -> Readiness {
        guard let volume = try await keptVolume() else {
            throw TransferFailure("the volume with the data for \(targetLabel) is gone: somebody has deleted it")
        }
        let claim = try await client.find(.persistentVolumeClaims, namespace: download.namespace, name: name)
        if let claim {
            if !claim.isBeingDeleted {
                try await client.delete(
                    .persistentVolumeClaims, namespace: download.namespace, name: name, DeleteOptions(uid: claim.uid))
            }
            guard try await client.find(.persistentVolumeClaims, namespace: download.namespace, name: name) == nil
            else {
                return .waits("the mover's pod to let go of the volume")
            }
        }
        guard let target = try await self.target() else {
            throw TransferFailure("\(targetLabel) was deleted while its data was brought back")
        }
        let bound = target["spec", "volumeName"]?.string ?? ""
        guard bound.isEmpty || bound == volume.name else {
            throw TransferFailure("\(targetLabel) was bound to \(bound) while its data was brought back")
        }
        if volume["spec", "claimRef", "uid"]?.string != target.uid {
            try await assign(volume, to: target)
        }
        if bound.isEmpty {
            _ = try await client.patch(
                .persistentVolumeClaims, namespace: targetNamespace, name: targetName,
                .merge([
                    "metadata": ["resourceVersion": .string(target.resourceVersion)],
                    "spec": ["volumeName": .string(volume.name)],
                ]))
        }
        let now = try await client.get(.persistentVolumes, name: volume.name)
        // The volume says it a moment before the claim does.
        guard now["status", "phase"]?.string == "Bound", now["spec", "claimRef", "uid"]?.string == target.uid,
            try await self.target()?["status", "phase"]?.string == "Bound"
        else {
            return .waits("\(targetLabel) and \(volume.name) to be bound")
        }
        return .ready
    }

    /// Gives the volume the labels that the target asks for, and says that it is the target's.
    private func assign(_ volume: KubernetesObject, to target: KubernetesObject) async throws {
        var labels = JSONObject()
        for member in target["spec", "selector", "matchLabels"]?.object?.members ?? [] {
            labels[member.key] = member.value
        }
        _ = try await client.patch(
            .persistentVolumes, name: volume.name,
            .merge([
                "metadata": [
                    "annotations": ["pv.kubernetes.io/bound-by-controller": .null], "labels": .object(labels),
                    "resourceVersion": .string(volume.resourceVersion),
                ],
                "spec": [
                    "claimRef": [
                        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": .string(target.name),
                        "namespace": .string(target.namespace), "resourceVersion": .null, "uid": .string(target.uid),
                    ]
                ],
            ]))
    }

    /// Whether a volume is the target's. Of a transfer that is gone nobody knows the target: then it is whoever has it.
    private func isHandedOver(_ volume: KubernetesObject) async throws -> Bool {
        let owner = volume["spec", "claimRef"]
        guard targetName.isEmpty else { return try await target()?.uid == owner?["uid"]?.string }
        return volume["status", "phase"]?.string == "Bound" && owner?["namespace"]?.string != download.namespace
    }

    // MARK: Removing

    /// Takes away what is left: a volume that is the target's gets its reclaim policy back and stays, any other one goes.
    /// Answers what it waits for; nil when nothing is left.
    func remove() async throws -> String? {
        let kept = try await keptVolume()
        if let kept, try await isHandedOver(kept) {
            try await letGo(kept, policy: kept.annotations[DataMover.policyAnnotation] ?? "Delete")
            return try await removal.removeClaim()
        }
        if let reason = try await removal.removeClaim() { return reason }
        guard let kept else { return nil }
        if kept["status", "phase"]?.string == "Failed" {
            // Nobody deletes it by itself: people have to, and its own message says why.
            try await letGo(kept, policy: "Delete")
            return nil
        }
        try await removal.setPolicy("Delete", of: kept)
        guard try await client.find(.persistentVolumes, name: kept.name) != nil else { return nil }
        return "PersistentVolume \(kept.name) to be deleted"
    }

    private func letGo(_ volume: KubernetesObject, policy: String) async throws {
        _ = try await client.patch(
            .persistentVolumes, name: volume.name,
            .merge([
                "metadata": [
                    "annotations": [DataMover.policyAnnotation: .null, DataMover.transferAnnotation: .null],
                    "labels": [DataMover.label: .null],
                ],
                "spec": ["persistentVolumeReclaimPolicy": .string(policy)],
            ]))
    }
}
