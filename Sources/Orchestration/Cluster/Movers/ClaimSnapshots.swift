internal import Kubernetes
internal import Synchronization
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
    var limits = SnapshotLimits()
    /// Told what keeps a claim from being read from a snapshot, and what a driver says that keeps it from making one, each
    /// time that it says something else, from any task.
    var report: @Sendable (String) -> Void = { _ in }

    static let group = "snapshot.storage.k8s.io"

    /// A snapshot that was cut.
    struct Cut: Sendable {
        /// The claim as it was.
        var claim: KubernetesObject
        var name: String
    }

    /// The class for a claim's snapshots: the default one of its driver, else its only one; nil where there is none. The
    /// words say why, and whether a permission is what is missing.
    private func snapshotClass(
        for claim: KubernetesObject
    ) async throws -> (name: String?, reason: String, isForbidden: Bool) {
        guard let classes = try await client.resource(group: Self.group, kind: "VolumeSnapshotClass") else {
            return (nil, "the cluster serves no VolumeSnapshots", false)
        }
        guard let volume = claim["spec", "volumeName"]?.string, !volume.isEmpty else {
            return (nil, "it is not bound", false)
        }
        let driver: String?
        do throws(KubernetesError) {
            driver = try await client.get(.persistentVolumes, name: volume)["spec", "csi", "driver"]?.string
        } catch {
            // Volumes are the cluster's: who may back up a namespace need not be able to read them.
            guard error.code == .forbidden else { throw error }
            return (nil, "its volume may not be read: \(error)", true)
        }
        guard let driver else { return (nil, "its volume is no CSI driver's", false) }
        do throws(KubernetesError) {
            let (name, reason) = Self.choose(try await client.list(classes).items, of: driver)
            return (name, reason, false)
        } catch {
            guard error.code == .forbidden else { throw error }
            return (nil, "VolumeSnapshotClasses may not be read: \(error)", true)
        }
    }

    /// The class for snapshots of a driver's volumes: its default one, else its only one; nil where there is none. The word
    /// says why. Pure.
    static func choose(_ classes: [KubernetesObject], of driver: String) -> (name: String?, reason: String) {
        let meant = classes.filter { $0["driver"]?.string == driver }
        let defaults = meant.filter { $0.annotations["snapshot.storage.kubernetes.io/is-default-class"] == "true" }
        let chosen = defaults.count == 1 ? defaults : meant
        guard let only = chosen.first else { return (nil, "there is no VolumeSnapshotClass of \(driver)") }
        guard chosen.count == 1 else {
            return (nil, "there are \(chosen.count) VolumeSnapshotClasses of \(driver) and no default one")
        }
        return (only.name, "")
    }

    /// As above, as `source` has it: nil to read the claim itself, which `report` is told where it is for want of a
    /// permission. Throws `no_volume_snapshot` where it must not be.
    func snapshotClass(for claim: KubernetesObject, source: VolumeSource) async throws -> String? {
        guard source != .live else { return nil }
        let (found, reason, isForbidden) = try await snapshotClass(for: claim)
        guard found != nil || source != .snapshot else {
            throw JourneyError(
                .failed, kind: "no_volume_snapshot", "\(claim.label) cannot be read from a snapshot: \(reason)")
        }
        if found == nil, isForbidden { report("\(claim.label) is read itself, not from a snapshot: \(reason)") }
        return found
    }

    private func snapshots() async throws -> APIResource {
        guard let resource = try await client.resource(group: Self.group, kind: "VolumeSnapshot") else {
            throw KubernetesError(
                .unsupported, "the cluster serves no VolumeSnapshots: read the volumes live (--source live)")
        }
        return resource
    }

    /// Cuts a snapshot of the claim. When this returns, what is written to the volume does not change it any more. Throws
    /// `snapshot_failed`, with what the driver said last, when it takes longer than `limits` have it.
    func cut(_ claim: KubernetesObject, className: String) async throws -> Cut {
        let resource = try await snapshots()
        let snapshot = Self.snapshot(of: claim, className: className, run: run, resource)
        let name = snapshot.name
        _ = try await client.create(resource, snapshot)
        let wait = Wait(
            what: "cut", seconds: limits.cutSeconds,
            advice: "give it more time with --snapshot-timeout, or read the volume itself with --source live")
        try await until(wait, resource, claim, name) { Self.isCut($0) }
        return Cut(claim: claim, name: name)
    }

    /// The name of a claim's VolumeSnapshot, and of its copy.
    static func name(of claim: String, run: String) -> String { MoverJob.name("becalm-\(run)-", claim) }

    /// The VolumeSnapshot to create. Pure.
    static func snapshot(
        of claim: KubernetesObject, className: String, run: String, _ resource: APIResource
    ) -> KubernetesObject {
        let name = name(of: claim.name, run: run)
        var snapshot = KubernetesObject(resource.groupVersionKind, namespace: claim.namespace, name: name)
        mark(&snapshot, run)
        snapshot.setMember(
            "spec",
            [
                "source": ["persistentVolumeClaimName": .string(claim.name)],
                "volumeSnapshotClassName": .string(className),
            ])
        return snapshot
    }

    /// The run's, and no part of anybody's backup.
    private static func mark(_ object: inout KubernetesObject, _ run: String) {
        object.setLabel(BecalmAnnotation.run, run)
        object.setLabel(BecalmAnnotation.excluded, "true")
    }

    /// Whether what is written to the volume does not change the snapshot any more, by its status.
    static func isCut(_ status: JSONValue?) -> Bool { status?["creationTime"]?.string != nil || isReady(status) }

    /// Whether a volume can be made of it.
    static func isReady(_ status: JSONValue?) -> Bool { status?["readyToUse"]?.bool == true }

    /// Why one is not done yet, in its driver's words where it has some; `isSaid` for those.
    static func words(_ status: JSONValue?) -> (text: String, isSaid: Bool) {
        let said = oneLine(status?["error", "message"]?.string ?? "")
        if !said.isEmpty { return (said, true) }
        return (status?.object?.members.isEmpty == false ? silent : nobody, false)
    }

    /// A claim with what the snapshot holds, in the class and of the size of its origin. Throws as `cut` does.
    func copy(_ cut: Cut) async throws -> KubernetesObject {
        let resource = try await snapshots()
        let wait = Wait(
            what: "ready to use", seconds: limits.readySeconds,
            advice: "give it more time with --snapshot-ready-timeout, or read the volume itself with --source live")
        try await until(wait, resource, cut.claim, cut.name) { Self.isReady($0) }
        let snapshot = try await client.get(resource, namespace: cut.claim.namespace, name: cut.name)
        return try await client.create(.persistentVolumeClaims, Self.copy(of: cut, snapshot: snapshot, run: run))
    }

    /// The claim to create. Pure.
    static func copy(of cut: Cut, snapshot: KubernetesObject, run: String) -> KubernetesObject {
        let spec = cut.claim["spec"] ?? .null
        var claim = KubernetesObject(
            APIResource.persistentVolumeClaims.groupVersionKind, namespace: cut.claim.namespace, name: cut.name)
        mark(&claim, run)
        let asked = cut.claim["status", "capacity", "storage"] ?? spec["resources", "requests", "storage"] ?? "1Gi"
        let needed = snapshot["status", "restoreSize"] ?? asked
        let amounts = [asked, needed].compactMap { $0.string.flatMap { Quantity($0) } }
        let size = amounts.count == 2 && amounts[1] > amounts[0] ? needed : asked
        var wanted = JSONObject()
        wanted["accessModes"] = ["ReadWriteOnce"]
        wanted["dataSource"] = ["apiGroup": .string(group), "kind": "VolumeSnapshot", "name": .string(cut.name)]
        wanted["resources"] = ["requests": ["storage": size]]
        if let name = spec["storageClassName"] { wanted["storageClassName"] = name }
        if let mode = spec["volumeMode"] { wanted["volumeMode"] = mode }
        claim.setMember("spec", .object(wanted))
        return claim
    }

    /// What is waited for.
    private struct Wait: Sendable {
        var what: String
        var seconds: Double
        var advice: String
    }

    /// Why it is not done yet: what a driver said last.
    private final class Words: Sendable {
        private let text = Mutex(ClaimSnapshots.nobody)

        /// Whether these are others than before.
        func take(_ words: String) -> Bool {
            text.withLock { text in
                defer { text = words }
                return text != words
            }
        }

        var last: String { text.withLock { $0 } }
    }

    private static let nobody = "nobody has taken it up, so the cluster's snapshot-controller may not run"
    private static let silent = "its driver has not said why"

    private func until(
        _ wait: Wait, _ resource: APIResource, _ claim: KubernetesObject, _ name: String,
        _ isDone: @escaping @Sendable (JSONValue?) -> Bool
    ) async throws {
        let (words, report, namespace) = (Words(), report, claim.namespace)
        let subject = "the VolumeSnapshot \(namespace)/\(name) of \(claim.label)"
        do {
            _ = try await client.wait(
                for: resource, namespace: namespace, name: name, seconds: wait.seconds, what: wait.what
            ) { snapshot -> Bool? in
                guard let snapshot else {
                    throw KubernetesError(.notFound, "\(subject) was deleted while it was being made")
                }
                let status = snapshot["status"]
                if isDone(status) { return true }
                // The controller goes on trying, and what it said stays until it is ready: the time limit ends it.
                let (text, isSaid) = Self.words(status)
                if words.take(text), isSaid { report("\(subject) is not \(wait.what) yet: \(text)") }
                return nil
            }
        } catch let error as KubernetesError where error.code == .timedOut {
            throw JourneyError(
                .failed, kind: "snapshot_failed",
                "\(subject) was not \(wait.what) within \(Int(wait.seconds)) s: \(words.last); \(wait.advice)")
        }
    }

    /// What a driver says has lines, and may be long.
    private static func oneLine(_ text: String) -> String {
        String(text.split(whereSeparator: \.isNewline).joined(separator: " ").prefix(1000))
    }
}
