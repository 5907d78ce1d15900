internal import Basics
internal import Kubernetes
internal import RepositoryFormat
internal import Workloads

/// A copy of a claim for a mover that no process stays with: a CSI snapshot, which is cut when the mover is begun, and a claim
/// of it.
///
/// The mover's Job is there from the beginning, and its pod waits for that claim, which is made as soon as the snapshot can be
/// used, by whoever asks then how the mover stands. Nothing is in memory: what the claim is to be stands on the VolumeSnapshot,
/// and on the run's Lease that there is one. Both go with the run.
struct DetachedCopy: Sendable {
    /// What is copied, and how.
    struct Plan: Sendable {
        var claim: KubernetesObject
        /// The class of the snapshot.
        var snapshotClass: String
        var limits: SnapshotLimits

        /// Seconds that it may take in all.
        var seconds: Int { Int((limits.cutSeconds + limits.readySeconds).rounded(.up)) }
    }

    /// How far it is.
    enum Step: Equatable, Sendable {
        /// The claim is there.
        case made
        /// Not yet, and why.
        case waits(String)
        /// It will not be, and why.
        case failed(String)
    }

    private let client: KubernetesClient
    private let namespace: String
    private let run: String
    /// Of the VolumeSnapshot and of the claim.
    let name: String
    private let limits: SnapshotLimits

    /// On the VolumeSnapshot: what matters of the claim that it is of, as JSON.
    private static let originAnnotation = "becalm.io/copied-claim"

    init(_ client: KubernetesClient, run: String, _ plan: Plan) {
        self.client = client
        self.run = run
        namespace = plan.claim.namespace
        name = ClaimSnapshots.name(of: plan.claim.name, run: run)
        limits = plan.limits
    }

    /// That of a run, by its Lease; nil where its mover reads the volume itself.
    init?(_ client: KubernetesClient, run: String, lease: KubernetesObject) {
        guard let text = lease.annotations[MoverLease.copyAnnotation], let json = try? JSONValue(parsing: text),
            let name = json["snapshot"]?.string
        else { return nil }
        self.client = client
        self.run = run
        self.name = name
        namespace = lease.namespace
        var limits = SnapshotLimits()
        // Whoever may change the Lease may write any number there.
        func seconds(_ key: String) -> Double? {
            json[.key(key)]?.int64.map { min(max(0, Double($0)), SnapshotLimits.longestSeconds) }
        }
        if let seconds = seconds("cut_seconds") { limits.cutSeconds = seconds }
        if let seconds = seconds("ready_seconds") { limits.readySeconds = seconds }
        self.limits = limits
    }

    /// What the Lease is to say of it.
    var leaseText: String {
        let json: JSONValue = [
            "cut_seconds": .integer(Int64(limits.cutSeconds.rounded(.up))),
            "ready_seconds": .integer(Int64(limits.readySeconds.rounded(.up))), "snapshot": .string(name),
        ]
        return String(decoding: json.serialized(escapingHTML: false), as: UTF8.self)
    }

    private func snapshots() async throws(KubernetesError) -> APIResource {
        guard let resource = try await client.resource(group: ClaimSnapshots.group, kind: "VolumeSnapshot") else {
            throw KubernetesError(.unsupported, "the cluster serves no VolumeSnapshots")
        }
        return resource
    }

    // MARK: Making it

    /// Has the snapshot cut; one that is there is this run's. Does not wait for it.
    func begin(_ plan: Plan) async throws(KubernetesError) {
        let resource = try await snapshots()
        var snapshot = ClaimSnapshots.snapshot(of: plan.claim, className: plan.snapshotClass, run: run, resource)
        let origin = Self.essence(plan.claim).serialized(escapingHTML: false)
        snapshot.setAnnotation(Self.originAnnotation, String(decoding: origin, as: UTF8.self))
        do throws(KubernetesError) {
            _ = try await client.create(resource, snapshot)
        } catch {
            guard error.isAmbiguous || error.code == .alreadyExists else { throw error }
            _ = try await client.get(resource, namespace: namespace, name: name)
        }
    }

    /// What a copy of a claim depends on.
    private static func essence(_ claim: KubernetesObject) -> JSONValue {
        var spec = JSONObject()
        spec["resources"] = claim["spec", "resources"]
        for key in ["storageClassName", "volumeMode"] { spec[key] = claim["spec", .key(key)] }
        var json: JSONValue = [
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": ["name": .string(claim.name), "namespace": .string(claim.namespace)], "spec": .object(spec),
        ]
        if let capacity = claim["status", "capacity"] {
            var object = json.object ?? JSONObject()
            object["status"] = ["capacity": capacity]
            json = .object(object)
        }
        return json
    }

    /// Goes on with it and answers how far it is. `now` is the server's time. What the cluster refuses, and would refuse
    /// again, has it fail; throws what may pass.
    func advance(now: Timestamp) async throws(KubernetesError) -> Step {
        do throws(KubernetesError) {
            return try await step(now)
        } catch {
            guard [.forbidden, .invalid, .unsupported].contains(error.code) else { throw error }
            return .failed("no volume can be made of the VolumeSnapshot \(namespace)/\(name): \(error)")
        }
    }

    private func step(_ now: Timestamp) async throws(KubernetesError) -> Step {
        if try await client.find(.persistentVolumeClaims, namespace: namespace, name: name) != nil { return .made }
        let resource = try await snapshots()
        let label = "the VolumeSnapshot \(namespace)/\(name)"
        guard let snapshot = try await client.find(resource, namespace: namespace, name: name),
            !snapshot.isBeingDeleted
        else { return .failed("\(label) was deleted before a volume was made of it") }
        let status = snapshot["status"]
        guard ClaimSnapshots.isReady(status) else {
            let isCut = ClaimSnapshots.isCut(status)
            let what = isCut ? "ready to use" : "cut"
            let words = "\(label) is not \(what) yet: \(ClaimSnapshots.words(status).text)"
            let limit = limits.cutSeconds + (isCut ? limits.readySeconds : 0)
            guard let begun = snapshot.creationTimestamp, now - begun > limit else { return .waits(words) }
            let setting = isCut ? "snapshotReadyTimeout" : "snapshotTimeout"
            return .failed(
                "\(words), after \(Int(limit)) s; give it more time with `\(setting)`, or read the volume itself with `source: live`"
            )
        }
        guard let text = snapshot.annotations[Self.originAnnotation],
            let origin = try? KubernetesObject(parsing: Array(text.utf8))
        else { return .failed("\(label) does not say any more what claim is to be made of it") }
        let cut = ClaimSnapshots.Cut(claim: origin, name: name)
        do throws(KubernetesError) {
            _ = try await client.create(
                .persistentVolumeClaims, ClaimSnapshots.copy(of: cut, snapshot: snapshot, run: run))
        } catch {
            // Somebody else has asked at the same time.
            if error.isAmbiguous || error.code == .alreadyExists { return .made }
            guard error.isOverQuota else { throw error }
            // Others may end and make room.
            let words = "no volume can be made of \(label) yet: \(error)"
            let limit = limits.cutSeconds + limits.readySeconds
            guard let begun = snapshot.creationTimestamp, now - begun > limit else { return .waits(words) }
            return .failed(
                "\(words), after \(Int(limit)) s; raise the quota, or read the volume itself with `source: live`")
        }
        return .made
    }

    /// Whether what is written to the volume changes nothing of the copy any more. One that is gone has been.
    func isCut() async throws(KubernetesError) -> Bool {
        guard let snapshot = try await client.find(try await snapshots(), namespace: namespace, name: name) else {
            return true
        }
        return ClaimSnapshots.isCut(snapshot["status"])
    }
}
