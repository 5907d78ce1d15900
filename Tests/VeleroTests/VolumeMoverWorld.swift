import Basics
import Foundation
import HTTPTestServer
import HTTPTransport
import Kubernetes
import KubernetesTesting
import ObjectStorageTesting
import Orchestration
import SystemPackage
import Testing
import Velero
import Workloads

/// A cluster, a bucket of moto's and the plugin's settings, for the actions that move volumes.
final class VolumeMoverWorld: Sendable {
    let api: FakeCluster
    let directory: TemporaryDirectory
    let server: ServerProcess

    init() async throws {
        let kinds = ["Pod", "Secret", "PersistentVolumeClaim", "PersistentVolume", "Job", "Lease"]
        api = try FakeCluster(ClusterKind.movers.filter { kinds.contains($0.kind) }) { _ in }
        api.change { state in
            state.log = ""
            // It has no Indexed Jobs.
            state.unknownJobFields = ["completionMode"]
        }
        directory = try TemporaryDirectory()
        server = try await ServerProcess.start("moto_server") { port, _ in ["-H", "127.0.0.1", "-p", String(port)] }
        let (response, _) = try await CurlTransport().perform(
            HTTPRequest(.put, "http://127.0.0.1:\(server.port)/backups", body: HTTPBody([UInt8]())),
            maximumBytes: 1 << 20)
        #expect(response.isSuccess)
        try Data((0..<32).map { UInt8($0) }).write(to: URL(fileURLWithPath: path("key")))
        try Data("[default]\naws_access_key_id = AKID\naws_secret_access_key = secret\n".utf8)
            .write(to: URL(fileURLWithPath: path("credentials")))
    }

    func path(_ name: String) -> String { directory.path.appending(name).string }

    /// Has the claim's volume be a driver's that makes snapshots, in a class of this policy.
    func makeSnapshots(policy: String, mayCreate: Bool = true) throws {
        api.change { $0.kinds += ClusterKind.snapshots }
        if !mayCreate { api.forbid("create volumesnapshots") }
        for text in [
            "{apiVersion: v1, kind: PersistentVolume, metadata: {name: pv-1}, spec: {csi: {driver: fast.io}}}",
            "{apiVersion: snapshot.storage.k8s.io/v1, kind: VolumeSnapshotClass, metadata: {name: fast}, driver: fast.io, deletionPolicy: \(policy)}",
        ] { api.put(try ActionWorld.object(text)) }
    }

    /// Gives the only VolumeSnapshot a status, and has the content be there that its controller makes.
    func snapshot(_ status: String) throws {
        var snapshot = try #require(api.all("VolumeSnapshot").first)
        try snapshot.set(try JSONValue(yaml: status), at: ["status"])
        api.put(snapshot)
        if !api.all("VolumeSnapshotContent").isEmpty { return }
        api.put(
            try ActionWorld.object(
                """
                apiVersion: snapshot.storage.k8s.io/v1
                kind: VolumeSnapshotContent
                metadata: {name: snapcontent-\(snapshot.uid)}
                spec: {deletionPolicy: Retain, volumeSnapshotRef: {uid: \(snapshot.uid)}}
                """))
    }

    /// The only run.
    func mover() throws -> DetachedMover {
        let lease = try #require(api.all("Lease").first)
        let run = try #require(DetachedMover.run(ofLease: lease.name))
        return DetachedMover(api.client, namespace: "ml", run: run)
    }

    /// Expects that of a run that has ended nothing is there but its Lease, which says so.
    func expectNothingLeft(_ location: Testing.SourceLocation = #_sourceLocation) async throws {
        for kind in ["Job", "Secret", "PersistentVolumeClaim", "VolumeSnapshot"] {
            #expect(api.all(kind).isEmpty, "\(kind)", sourceLocation: location)
        }
        guard case .ended(let ending) = try await mover().standing() else {
            Issue.record("it has not ended", sourceLocation: location)
            return
        }
        // Last of all: its key was taken out of the repository before.
        #expect(!ending.needsCleaning, sourceLocation: location)
    }

    /// What one process of the plugin sees.
    func process(_ plugin: PluginName, _ more: [String: String] = [:]) -> ActionWorld {
        var world = ActionWorld(
            plugin,
            [
                "repository": "s3://backups/data", "createRepository": "true", "repositoryKeyFile": path("key"),
                "s3Url": "http://127.0.0.1:\(server.port)", "s3ForcePathStyle": "true", "region": "us-east-1",
                "credentialsFile": path("credentials"), "cacheDirectory": "none", "moverImage": "becalm:1",
            ].merging(more) { $1 })
        world.connect(api.client)
        return world
    }

    /// The pod of the only Job, or of that which is given, with a status.
    func pod(_ status: String, of job: KubernetesObject? = nil, _ name: String = "p") throws {
        let job = try #require(job ?? api.all("Job").first)
        var pod = try ActionWorld.object("{apiVersion: v1, kind: Pod, metadata: {name: \(name), namespace: ml}}")
        pod.setLabel("becalm.io/run", job.labels["becalm.io/run"])
        pod.ownerReferences = [OwnerReference(apiVersion: "batch/v1", kind: "Job", name: job.name, uid: job.uid)]
        try pod.set(try JSONValue(yaml: status), at: ["status"])
        api.put(pod)
    }

    // MARK: What is moved

    /// A snapshot's id.
    static let snapshot = String(repeating: "5", count: 32)

    /// The claim `ml/ckpt`, which is given to Becalm.
    static func claim() throws -> KubernetesObject {
        var claim = try ActionWorld.object(VolumePolicyTests.claim)
        claim.uid = "p-1"
        claim.setAnnotation("becalm.io/volume-backup", "true")
        return claim
    }

    /// The status of a pod that has ended, saying `message`.
    static func ended(_ message: String) -> String {
        "{phase: Succeeded, containerStatuses: [{state: {terminated: {exitCode: 0, message: '\(message)'}}}]}"
    }

    /// A snapshot in the repository, as a claim's annotation names it.
    func stored() async throws -> String {
        let volumes = try VolumeWorld()
        try volumes.makeVolume()
        let plugin = try await volumes.open([
            "repository": "s3://backups/data", "repositoryKeyFile": path("key"),
            "s3Url": "http://127.0.0.1:\(server.port)", "s3ForcePathStyle": "true", "region": "us-east-1",
            "credentialsFile": path("credentials"),
        ])
        return try await plugin.createSnapshot(volumeID: "becalm1:hostpath:/data/pg", zone: "", tags: [:]) + ":d1"
    }
}
