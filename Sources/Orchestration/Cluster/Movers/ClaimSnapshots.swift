internal import Kubernetes
internal import Workloads

/// Where the data of a volume is read.
package enum VolumeSource: String, Sendable, CaseIterable {
    /// From a copy made of a CSI snapshot where the driver makes them, else from the volume itself.
    case auto
    /// From a copy made of a CSI snapshot; an error where there is none.
    case snapshot
    /// From the volume itself.
    case live
}

/// CSI snapshots of claims (snapshot.storage.k8s.io/v1), and claims that are copies of them: a workload stands still no
/// longer than it takes to cut them.
struct ClaimSnapshots: Sendable {
    let client: KubernetesClient
    /// The run that they belong to: its label is on all of them.
    let run: String

    static let group = "snapshot.storage.k8s.io"
    /// Seconds that a snapshot may take to be cut, and until it can be read.
    static let cutSeconds = 300.0
    static let readySeconds = 7200.0

    /// A snapshot that was cut.
    struct Cut: Sendable {
        /// The claim as it was.
        var claim: KubernetesObject
        var name: String
    }

    /// The class for a claim's snapshots: the default one of its driver, else its only one; nil where there is none. The
    /// word says why.
    func snapshotClass(for claim: KubernetesObject) async throws -> (name: String?, reason: String) {
        guard let classes = try await client.resource(group: Self.group, kind: "VolumeSnapshotClass") else {
            return (nil, "the cluster serves no VolumeSnapshots")
        }
        guard let volume = claim["spec", "volumeName"]?.string, !volume.isEmpty else { return (nil, "it is not bound") }
        let driver: String?
        do throws(KubernetesError) {
            driver = try await client.get(.persistentVolumes, name: volume)["spec", "csi", "driver"]?.string
        } catch {
            // Volumes are the cluster's: who may back up a namespace need not be able to read them.
            guard error.code == .forbidden else { throw error }
            return (nil, "its volume may not be read: \(error)")
        }
        guard let driver else { return (nil, "its volume is no CSI driver's") }
        let meant = try await client.list(classes).items.filter { $0["driver"]?.string == driver }
        let defaults = meant.filter { $0.annotations["snapshot.storage.kubernetes.io/is-default-class"] == "true" }
        let chosen = defaults.count == 1 ? defaults : meant
        guard let only = chosen.first else { return (nil, "there is no VolumeSnapshotClass of \(driver)") }
        guard chosen.count == 1 else {
            return (nil, "there are \(chosen.count) VolumeSnapshotClasses of \(driver) and no default one")
        }
        return (only.name, "")
    }

    private func snapshots() async throws -> APIResource {
        guard let resource = try await client.resource(group: Self.group, kind: "VolumeSnapshot") else {
            throw KubernetesError(
                .unsupported, "the cluster serves no VolumeSnapshots: read the volumes live (--source live)")
        }
        return resource
    }

    /// Cuts a snapshot of the claim. When this returns, what is written to the volume does not change it any more.
    func cut(_ claim: KubernetesObject, className: String) async throws -> Cut {
        let resource = try await snapshots()
        let name = MoverJob.name("becalm-\(run)-", claim.name)
        var snapshot = KubernetesObject(resource.groupVersionKind, namespace: claim.namespace, name: name)
        snapshot.setLabel(BecalmAnnotation.run, run)
        snapshot.setMember(
            "spec",
            [
                "source": ["persistentVolumeClaimName": .string(claim.name)],
                "volumeSnapshotClassName": .string(className),
            ])
        _ = try await client.create(resource, snapshot)
        try await wait(resource, claim.namespace, name, seconds: Self.cutSeconds, what: "cut") { status in
            status?["creationTime"]?.string != nil || status?["readyToUse"]?.bool == true
        }
        return Cut(claim: claim, name: name)
    }

    /// A claim with what the snapshot holds, in the class and of the size of its origin.
    func copy(_ cut: Cut) async throws -> KubernetesObject {
        let resource = try await snapshots()
        try await wait(
            resource, cut.claim.namespace, cut.name, seconds: Self.readySeconds, what: "ready to use"
        ) { $0?["readyToUse"]?.bool == true }
        let snapshot = try await client.get(resource, namespace: cut.claim.namespace, name: cut.name)
        return try await client.create(.persistentVolumeClaims, Self.copy(of: cut, snapshot: snapshot, run: run))
    }

    /// The claim to create. Pure.
    static func copy(of cut: Cut, snapshot: KubernetesObject, run: String) -> KubernetesObject {
        let spec = cut.claim["spec"] ?? .null
        var claim = KubernetesObject(
            APIResource.persistentVolumeClaims.groupVersionKind, namespace: cut.claim.namespace, name: cut.name)
        claim.setLabel(BecalmAnnotation.run, run)
        let asked = cut.claim["status", "capacity", "storage"] ?? spec["resources", "requests", "storage"] ?? "1Gi"
        let needed = snapshot["status", "restoreSize"] ?? asked
        let amounts = [asked, needed].compactMap { $0.string.flatMap { Quantity($0) } }
        let size = amounts.count == 2 && amounts[1] > amounts[0] ? needed : asked
        var wanted = JSONObject()
        wanted["accessModes"] = ["ReadWriteOnce"]
        wanted["dataSource"] = ["apiGroup": .string(group), "kind": "VolumeSnapshot", "name": .string(cut.name)]
        wanted["resources"] = ["requests": ["storage": size]]
        if let name = spec["storageClassName"] { wanted["storageClassName"] = name }
        claim.setMember("spec", .object(wanted))
        return claim
    }

    private func wait(
        _ resource: APIResource, _ namespace: String, _ name: String, seconds: Double, what: String,
        _ isDone: @escaping @Sendable (JSONValue?) -> Bool
    ) async throws {
        _ = try await client.wait(for: resource, namespace: namespace, name: name, seconds: seconds, what: what) {
            snapshot -> Bool? in
            guard let snapshot else {
                throw KubernetesError(
                    .notFound, "VolumeSnapshot \(namespace)/\(name) was deleted while it was being made")
            }
            let status = snapshot["status"]
            if isDone(status) { return true }
            // The controller goes on trying after an error that passes, but says so in the same field: the time limit ends it.
            return nil
        }
    }
}
