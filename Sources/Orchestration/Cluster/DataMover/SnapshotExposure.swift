internal import Kubernetes

/// The snapshot that a DataUpload is of, as a claim in Velero's namespace that a mover can read.
///
/// The snapshot was cut in the namespace of its claim. A second pair of VolumeSnapshot and VolumeSnapshotContent in Velero's
/// namespace names the same snapshot of the storage, the first pair goes (its content set to `Retain` before, or the
/// snapshot would go with it), and a claim is made of the second. So nothing is left in the claim's namespace while data is
/// moved, and the repository's secrets need not go there. Every call may be the last of its process: each begins with what is
/// there, and objects are named after the transfer.
struct SnapshotExposure: Sendable {
    let client: KubernetesClient
    let upload: Transfer

    private var name: String { upload.exposedName }
    private var namespace: String { upload.namespace }
    private var sourceNamespace: String { upload.text("sourceNamespace") }
    private var sourceName: String { upload.text("csiSnapshot", "volumeSnapshot") }

    /// Velero's own, on contents that it protects while it works with them.
    private static let protection = "velero.io/volume-snapshot-content-protect-finalizer"
    /// Annotations that the snapshot controllers set for their own use, and kubectl's.
    private static let passing: Set = [
        "snapshot.storage.kubernetes.io/volumesnapshot-being-created",
        "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted",
        "kubectl.kubernetes.io/last-applied-configuration",
    ]
    /// The node whose snapshotter a content belongs to, where each node has one.
    private static let managerLabel = "snapshot.storage.kubernetes.io/managed-by"

    /// How the cluster serves the two kinds of snapshots.
    private struct Kinds {
        var snapshots: APIResource
        var contents: APIResource
    }

    private func kinds() async throws -> Kinds? {
        guard let snapshots = try await client.resource(group: ClaimSnapshots.group, kind: "VolumeSnapshot"),
            let contents = try await client.resource(group: ClaimSnapshots.group, kind: "VolumeSnapshotContent")
        else { return nil }
        return Kinds(snapshots: snapshots, contents: contents)
    }

    // MARK: Exposing

    /// Goes on with making the claim, which is called `upload.exposedName`.
    func expose() async throws -> Readiness {
        // It is made last.
        if try await client.find(.persistentVolumeClaims, namespace: namespace, name: name) != nil { return .ready }
        guard let kinds = try await kinds() else {
            throw TransferFailure("the cluster serves no VolumeSnapshots: install the snapshot controller and its CRDs")
        }
        let content: KubernetesObject
        if let made = try await client.find(kinds.contents, name: name) {
            content = made
        } else {
            switch try await source(kinds) {
            case .waits(let reason): return .waits(reason)
            case .cut(let snapshot, let origin):
                content = try await create(kinds.contents, copy(of: origin, snapshot))
            }
        }
        let snapshot = try await snapshot(kinds, content)
        if let reason = try await removeSource(kinds, of: content) { return .waits(reason) }
        let size = try await size(content, snapshot)
        let mode = try await volumeMode(content)
        _ = try await create(.persistentVolumeClaims, claim(size: size, mode: mode))
        return .ready
    }

    private enum Source {
        case waits(String)
        /// The snapshot and its content, ready to be read.
        case cut(KubernetesObject, KubernetesObject)
    }

    private func source(_ kinds: Kinds) async throws -> Source {
        let label = "VolumeSnapshot \(sourceNamespace)/\(sourceName)"
        guard let snapshot = try await client.find(kinds.snapshots, namespace: sourceNamespace, name: sourceName) else {
            throw TransferFailure("\(label), whose data is to be moved, does not exist: it was deleted")
        }
        guard !snapshot.isBeingDeleted else { throw TransferFailure("\(label), whose data is to be moved, is deleted") }
        let status = snapshot["status"]
        guard status?["readyToUse"]?.bool == true, let bound = status?["boundVolumeSnapshotContentName"]?.string else {
            // The controller goes on trying after an error, but says so in the same field.
            let error = status?["error", "message"]?.string.map { ": \($0)" } ?? ""
            return .waits("\(label) is not ready to use\(error)")
        }
        let content = try await client.find(kinds.contents, name: bound)
        guard let content, content["status", "snapshotHandle"]?.string != nil else {
            return .waits("VolumeSnapshotContent \(bound) of \(label) has no handle yet")
        }
        return .cut(snapshot, content)
    }

    /// What the volume is that the snapshot was cut of: the snapshot's content says it (external-snapshotter
    /// 6 and later), or else its claim, of which there may be another by now. Throws where nobody does: a device that is
    /// taken for files is a backup of nothing.
    private func volumeMode(_ content: KubernetesObject) async throws -> JSONValue {
        if let mode = content["spec", "sourceVolumeMode"], mode.string?.isEmpty == false { return mode }
        guard let claim = try await sourceClaim() else {
            throw TransferFailure(
                "neither the content of VolumeSnapshot \(sourceNamespace)/\(sourceName) (`sourceVolumeMode`) nor PersistentVolumeClaim \(sourceNamespace)/\(upload.text("sourcePVC")), which is gone or may not be read, says whether the volume holds files or is a device: keep the claim until its data is moved, or update the cluster's snapshot-controller"
            )
        }
        // What the API makes of a claim that says nothing.
        return claim["spec", "volumeMode"] ?? "Filesystem"
    }

    private func sourceClaim() async throws -> KubernetesObject? {
        do throws(KubernetesError) {
            return try await client.find(
                .persistentVolumeClaims, namespace: sourceNamespace, name: upload.text("sourcePVC"))
        } catch {
            guard error.code == .forbidden else { throw error }
            return nil
        }
    }

    /// Creates an object; one of that name is ours, from before.
    private func create(_ resource: APIResource, _ object: KubernetesObject) async throws -> KubernetesObject {
        do throws(KubernetesError) {
            return try await client.create(resource, object)
        } catch {
            guard error.isAmbiguous || error.code == .alreadyExists else { throw error }
            return try await client.get(resource, namespace: object.namespace, name: object.name)
        }
    }

    /// The content to create: the same snapshot of the storage, which goes with it.
    private func copy(of origin: KubernetesObject, _ snapshot: KubernetesObject) -> KubernetesObject {
        var content = KubernetesObject(origin.groupVersionKind, name: name)
        // Among them the secrets that the driver needs to delete it.
        for (key, value) in origin.annotations.sorted(by: { $0.key < $1.key }) where !Self.passing.contains(key) {
            content.setAnnotation(key, value)
        }
        content.setLabel(Self.managerLabel, origin.labels[Self.managerLabel])
        upload.mark(&content)
        content.setAnnotation(DataMover.sourceAnnotation, origin.name)
        content.setAnnotation(DataMover.sizeAnnotation, snapshot["status", "restoreSize"]?.string)
        var spec = JSONObject()
        spec["deletionPolicy"] = "Delete"
        spec["driver"] = origin["spec", "driver"]
        spec["source"] = ["snapshotHandle": origin["status", "snapshotHandle"] ?? .null]
        spec["sourceVolumeMode"] = origin["spec", "sourceVolumeMode"]
        spec["volumeSnapshotClassName"] = origin["spec", "volumeSnapshotClassName"]
        spec["volumeSnapshotRef"] = [
            "apiVersion": .string(snapshot.apiVersion), "kind": "VolumeSnapshot", "name": .string(name),
            "namespace": .string(namespace),
        ]
        content.setMember("spec", .object(spec))
        return content
    }

    /// The snapshot in Velero's namespace, made where it is missing.
    private func snapshot(_ kinds: Kinds, _ content: KubernetesObject) async throws -> KubernetesObject {
        if let made = try await client.find(kinds.snapshots, namespace: namespace, name: name) { return made }
        var snapshot = KubernetesObject(kinds.snapshots.groupVersionKind, namespace: namespace, name: name)
        upload.mark(&snapshot)
        var spec = JSONObject()
        spec["source"] = ["volumeSnapshotContentName": .string(content.name)]
        spec["volumeSnapshotClassName"] = content["spec", "volumeSnapshotClassName"]
        snapshot.setMember("spec", .object(spec))
        return try await create(kinds.snapshots, snapshot)
    }

    /// What a volume made of the snapshot must hold: what the snapshot says, and not less than its origin held.
    private func size(_ content: KubernetesObject, _ snapshot: KubernetesObject) async throws -> String {
        let claim = try await sourceClaim()
        let sizes = [
            content.annotations[DataMover.sizeAnnotation], snapshot["status", "restoreSize"]?.string,
            claim?["status", "capacity", "storage"]?.string,
            claim?["spec", "resources", "requests", "storage"]?.string,
        ].compactMap { $0 }
        let largest = sizes.compactMap { text in Quantity(text).map { (amount: $0, text: text) } }
            .max { $0.amount < $1.amount }
        guard let largest, !largest.amount.isZero else {
            throw TransferFailure(
                "how large a volume of \(sourceNamespace)/\(sourceName) must be cannot be told: the snapshot has no restoreSize, and claim \(upload.text("sourcePVC")) is gone"
            )
        }
        return largest.text
    }

    private func claim(size: String, mode: JSONValue) -> KubernetesObject {
        var claim = KubernetesObject(
            APIResource.persistentVolumeClaims.groupVersionKind, namespace: namespace, name: name)
        upload.mark(&claim)
        claim.ownerReferences = [
            OwnerReference(
                apiVersion: upload.object.apiVersion, kind: upload.kind.rawValue, name: upload.object.name,
                uid: upload.object.uid)
        ]
        var spec = JSONObject()
        spec["accessModes"] = ["ReadWriteOnce"]
        spec["dataSource"] = [
            "apiGroup": .string(ClaimSnapshots.group), "kind": "VolumeSnapshot", "name": .string(name),
        ]
        spec["resources"] = ["requests": ["storage": .string(size)]]
        let storageClass = upload.text("csiSnapshot", "storageClass")
        if !storageClass.isEmpty { spec["storageClassName"] = .string(storageClass) }
        spec["volumeMode"] = mode
        claim.setMember("spec", .object(spec))
        return claim
    }

    // MARK: Removing

    /// Takes away the pair that the snapshot was cut as, and not the snapshot: the other pair names it. Answers what it waits
    /// for; nil when both are gone.
    private func removeSource(_ kinds: Kinds, of content: KubernetesObject) async throws -> String? {
        let origin = content.annotations[DataMover.sourceAnnotation].flatMap { $0.isEmpty ? nil : $0 }
        if let origin, let found = try await client.find(kinds.contents, name: origin) {
            try await setPolicy("Retain", of: found, kinds)
        }
        if let reason = try await delete(kinds.snapshots, sourceNamespace, sourceName) { return reason }
        guard let origin, let found = try await client.find(kinds.contents, name: origin) else { return nil }
        try await unprotect(found, kinds)
        return try await delete(kinds.contents, "", origin)
    }

    private func setPolicy(_ policy: String, of content: KubernetesObject, _ kinds: Kinds) async throws {
        guard content["spec", "deletionPolicy"]?.string != policy else { return }
        do throws(KubernetesError) {
            _ = try await client.patch(
                kinds.contents, name: content.name, .merge(["spec": ["deletionPolicy": .string(policy)]]))
        } catch {
            guard error.code == .notFound else { throw error }
        }
    }

    private func unprotect(_ content: KubernetesObject, _ kinds: Kinds) async throws {
        guard content.finalizers.contains(Self.protection) else { return }
        let rest = content.finalizers.filter { $0 != Self.protection }
        _ = try await client.patch(
            kinds.contents, name: content.name,
            .merge([
                "metadata": [
                    "finalizers": .array(rest.map { .string($0) }),
                    "resourceVersion": .string(content.resourceVersion),
                ]
            ]))
    }

    /// Deletes an object; answers what is waited for, nil when it is gone.
    private func delete(_ resource: APIResource, _ namespace: String, _ name: String) async throws -> String? {
        guard !name.isEmpty, let found = try await client.find(resource, namespace: namespace, name: name) else {
            return nil
        }
        if !found.isBeingDeleted {
            try await client.delete(resource, namespace: namespace, name: name, DeleteOptions(uid: found.uid))
            guard let found = try await client.find(resource, namespace: namespace, name: name) else { return nil }
            return "\(found.label) to be deleted"
        }
        return "\(found.label) to be deleted"
    }

    /// Takes away everything, the snapshot of the storage included. Answers what it waits for; nil when all is gone.
    func remove() async throws -> String? {
        if let reason = try await VolumeRemoval(client: client, transfer: upload).removeClaim() { return reason }
        guard let kinds = try await kinds() else { return nil }
        if let content = try await client.find(kinds.contents, name: name) {
            if let reason = try await removeSource(kinds, of: content) { return reason }
            try await setPolicy("Delete", of: content, kinds)
            // The content goes with it, and the snapshot of the storage with that.
            if let reason = try await delete(kinds.snapshots, namespace, name) { return reason }
            return try await delete(kinds.contents, "", name)
        }
        if let reason = try await delete(kinds.snapshots, namespace, name) { return reason }
        // Nothing was made of it: it goes as it was cut.
        guard !sourceName.isEmpty else { return nil }
        let source = try await client.find(kinds.snapshots, namespace: sourceNamespace, name: sourceName)
        if let bound = source?["status", "boundVolumeSnapshotContentName"]?.string,
            let content = try await client.find(kinds.contents, name: bound)
        {
            try await setPolicy("Delete", of: content, kinds)
            try await unprotect(content, kinds)
        }
        return try await delete(kinds.snapshots, sourceNamespace, sourceName)
    }
}
