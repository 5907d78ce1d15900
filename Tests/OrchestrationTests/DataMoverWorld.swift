import Basics
import Foundation
import Kubernetes
import KubernetesTesting
import Logging
import ObjectStorage
import ObjectStorageTesting
import Repository
import RepositoryFormat
import Snapshots
import Synchronization
import SystemPackage
import Testing
import Workloads

@testable import Orchestration

/// A cluster with Velero's objects, a repository, and data movers that come and go.
final class DataMoverWorld: Sendable {
    let scene = VeleroScene()
    let cluster: FakeCluster
    private let repository: RepositoryAccess
    /// What the data movers have reported.
    let events = Mutex<[DataMoverEvent]>([])
    let settings: DataMoverSettings
    /// Whether the repository's storage does not answer.
    let isStorageAway = Mutex(false)
    /// What a mover of a backup stores here.
    static let snapshot = String(repeating: "5", count: 32)

    init(_ change: (inout DataMoverSettings) -> Void = { _ in }) async throws {
        cluster = try scene.cluster()
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        repository = RepositoryAccess(
            store: MemoryObjectStore(), credential: .keyFile(Array(0..<32)), options: RepositoryOptions(logger: logger))
        _ = try await repository.create(label: "test", graceSeconds: 3600)
        var settings = DataMoverSettings(namespace: "velero", identity: "node-1", movers: MoverSettings())
        settings.movers.image = "becalm:1"
        change(&settings)
        self.settings = settings
        scene.say(
            #"{"status":0,"snapshot":"\#(Self.snapshot)","content_digest":"d1","files":2,"bytes":10,"bytes_new":7,"problems":0}"#,
            of: "backup")
        scene.say(#"{"status":0,"files":2,"bytes":10,"problems":0}"#, of: "restore")
        cluster.change {
            $0.log = #"{"type":"progress","bytes":7,"bytes_total":10,"files":1,"files_total":2}"# + "\n"
        }
    }

    func open() async throws -> Repository { try await repository.open() }

    var repositoryID: String { get async throws { "\(try await open().config.repositoryID)" } }

    /// A data mover as a new process is.
    var worker: TransferWorker {
        let repository = repository
        return TransferWorker(
            client: cluster.client, settings: settings,
            open: { [weak self] in
                guard self?.isStorageAway.withLock({ $0 }) != true else {
                    throw JourneyError(.storageUnreachable, kind: "unreachable", "no route to the storage")
                }
                return try await repository.open()
            },
            access: { MoverAccess(repository: "s3://b/p", environment: ["AWS_ACCESS_KEY_ID": "a"]) },
            report: { [weak self] event in self?.events.withLock { $0.append(event) } })
    }

    var troubles: [String] {
        events.withLock { events in
            events.compactMap { if case .trouble(let text) = $0 { text } else { nil } }
        }
    }

    // MARK: Velero's hands

    static func object(_ yaml: String) throws -> KubernetesObject { try KubernetesObject(JSONValue(yaml: yaml)) }

    /// A claim with a snapshot, as Velero's `csi-pvc-backupper` leaves them, and the DataUpload for it.
    func makeUpload(
        _ name: String = "du", claim: String = "ckpt", policy: String = "Delete",
        _ change: (inout KubernetesObject) -> Void = { _ in }
    ) throws {
        cluster.put(
            try Self.object(
                """
                {apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: \(claim), namespace: ml},
                 spec: {storageClassName: fast, volumeMode: Filesystem, volumeName: pv-\(claim), accessModes: [ReadWriteOnce],
                 resources: {requests: {storage: 1Gi}}}, status: {phase: Bound, capacity: {storage: 1Gi}}}
                """))
        cluster.put(
            try Self.object(
                """
                {apiVersion: snapshot.storage.k8s.io/v1, kind: VolumeSnapshotContent, metadata: {name: content-\(name),
                 finalizers: [snapshot.storage.kubernetes.io/volumesnapshot-bound-protection],
                 annotations: {snapshot.storage.kubernetes.io/deletion-secret-name: s3cr3t,
                 snapshot.storage.kubernetes.io/deletion-secret-namespace: csi}},
                 spec: {deletionPolicy: \(policy), driver: csi.example, source: {volumeHandle: v},
                 volumeSnapshotClassName: snap, volumeSnapshotRef: {name: vs-\(name), namespace: ml}},
                 status: {snapshotHandle: handle-\(name), readyToUse: true}}
                """))
        cluster.put(
            try Self.object(
                """
                {apiVersion: snapshot.storage.k8s.io/v1, kind: VolumeSnapshot, metadata: {name: vs-\(name), namespace: ml,
                 finalizers: [snapshot.storage.kubernetes.io/volumesnapshot-bound-protection]},
                 spec: {source: {persistentVolumeClaimName: \(claim)}, volumeSnapshotClassName: snap},
                 status: {boundVolumeSnapshotContentName: content-\(name), readyToUse: true, restoreSize: 2Gi}}
                """))
        scene.cut("handle-\(name)")
        var upload = try Self.object(
            """
            {apiVersion: velero.io/v2alpha1, kind: DataUpload, metadata: {name: \(name), namespace: velero,
             labels: {velero.io/backup-name: nightly}}, spec: {snapshotType: CSI, datamover: becalm, backupStorageLocation: d,
             operationTimeout: 10m0s, sourceNamespace: ml, sourcePVC: \(claim),
             csiSnapshot: {volumeSnapshot: vs-\(name), storageClass: fast, snapshotClass: snap, driver: csi.example}}}
            """)
        change(&upload)
        cluster.put(upload)
    }

    /// The claim that Velero has restored without a volume, and the DataDownload for it.
    func makeDownload(
        _ name: String = "dd", snapshot: String, reclaim: String = "Delete",
        _ change: (inout KubernetesObject) -> Void = { _ in }
    ) throws {
        cluster.put(
            try Self.object(
                """
                {apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: fast}, reclaimPolicy: \(reclaim)}
                """))
        cluster.put(
            try Self.object(
                """
                {apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: ckpt, namespace: new,
                 finalizers: [kubernetes.io/pvc-protection]}, spec: {storageClassName: fast, accessModes: [ReadWriteMany],
                 resources: {requests: {storage: 3Gi}},
                 selector: {matchLabels: {velero.io/dynamic-pv-restore: new.ckpt.abcde}}}, status: {phase: Pending}}
                """))
        var download = try Self.object(
            """
            {apiVersion: velero.io/v2alpha1, kind: DataDownload, metadata: {name: \(name), namespace: velero},
             spec: {datamover: becalm, backupStorageLocation: d, operationTimeout: 10m0s, sourceNamespace: ml,
             snapshotID: "\(snapshot)", targetVolume: {namespace: new, pvc: ckpt, pv: ""}}}
            """)
        change(&download)
        cluster.put(download)
    }

    /// A snapshot in the repository, as a DataUpload names it. `tags` mark it.
    func makeSnapshot(tags: [String] = []) async throws -> String {
        let directory = try TemporaryDirectory()
        let volume = directory.path.appending("volume").string
        try FileManager.default.createDirectory(atPath: volume, withIntermediateDirectories: true)
        try Data("content".utf8).write(to: URL(fileURLWithPath: volume + "/file"))
        let repository = try await open()
        let request = BackupRequest(
            paths: [Array(volume.utf8)], host: "ml/ckpt", user: "root", tags: tags, program: "test")
        let result = try await BackupJourney(
            repository: repository, request: request, progress: OperationProgress()
        ).run()
        return "becalm1:\(repository.config.repositoryID):\(result.snapshot):d1"
    }

    // MARK: Going on

    func transfer(_ kind: Transfer.Kind, _ name: String) -> Transfer? {
        cluster.get(kind.rawValue, name).flatMap { Transfer($0) }
    }

    /// Takes steps until nothing is left to be done for the transfer, and lets pods get on in between; whoever dies is
    /// followed by another one. Answers whether it came to that.
    @discardableResult
    func finish(_ kind: Transfer.Kind, _ name: String, steps: Int = 120) async -> Bool {
        var worker = worker
        for _ in 0..<steps {
            let outcome = await worker.step(kind, name)
            if cluster.isDead {
                cluster.revive()
                worker = self.worker
                continue
            }
            scene.advancePods(of: cluster)
            if outcome.pace == .whenChanged { return true }
        }
        return false
    }

    /// Takes steps, with everybody else getting on, until the transfer is in the phase.
    func reach(_ phase: Transfer.Phase, _ kind: Transfer.Kind, _ name: String) async -> Bool {
        for _ in 0..<60 {
            if transfer(kind, name)?.phase == phase { return true }
            await step(kind, name)
            if transfer(kind, name)?.phase == phase { return true }
            scene.advancePods(of: cluster)
        }
        return false
    }

    /// Some steps, with nobody else getting on unless `advances`.
    func step(_ kind: Transfer.Kind, _ name: String, times: Int = 1, advances: Bool = false) async {
        for _ in 0..<times {
            _ = await worker.step(kind, name)
            if advances { scene.advancePods(of: cluster) }
        }
    }

    /// What a transfer that has ended must not have left, and has: objects, snapshots of the storage, keys.
    func leftovers(besides known: Set<String>) async throws -> [String] {
        let slots = try await open().slots.map(\.label).filter { $0.hasPrefix("mover ") }
        return cluster.inventory.filter { !known.contains($0) } + scene.storage.sorted() + slots
    }
}
