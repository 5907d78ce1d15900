import Basics
import Kubernetes
import KubernetesTesting
import Logging
import ObjectStorage
import Repository
import RepositoryFormat
import Snapshots
import SystemPackage
import Testing
import Workloads

@testable import Orchestration

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// A cluster for movers, a repository, and a directory of a test's own, which goes with it.
final class MoverWorld: Sendable {
    let cluster: MoverCluster
    let store: MemoryObjectStore
    let directory: FilePath
    let heard = MoverWatchTests.Heard()

    private static let credential = KeyCredential.keyFile([UInt8](repeating: 7, count: 32))
    private static let options = RepositoryOptions(memoryBytes: 96 << 20, processors: 2, logger: Logger(label: "test"))

    init() async throws {
        cluster = try MoverCluster.forMovers()
        let store = MemoryObjectStore()
        self.store = store
        _ = try await Repository.create(store: store, credential: Self.credential, options: Self.options)
        var name = Array("/tmp/becalm-test-XXXXXX".utf8CString)
        guard mkdtemp(&name) != nil else { throw Errno(rawValue: errno) }
        directory = FilePath(platformString: name)
    }

    deinit { remove(directory) }

    private func remove(_ path: FilePath) {
        guard let stream = opendir(path.string) else {
            unlink(path.string)
            return
        }
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { remove(path.appending(name)) }
        }
        closedir(stream)
        rmdir(path.string)
    }

    /// Opens the repository as it is now, with a key of the role `full` or another.
    func open(_ key: [UInt8]? = nil) async throws -> Repository {
        let credential = key.map { KeyCredential.keyFile($0) } ?? Self.credential
        return try await Repository.open(store: store, credential: credential, options: Self.options)
    }

    /// Stores a directory `volume` with one file, as a mover of run `run` would; answers the snapshot. Without `content` the
    /// file is as it is; with `shard` it is a share of it.
    func backUp(_ content: String?, run: String, shard: Shard? = nil) async throws -> Identifier {
        let volume = directory.appending("volume")
        try SystemFiles.makeDirectories(volume)
        if let content {
            try SystemFiles.write(Array(content.utf8), to: Array(volume.appending("file").string.utf8))
        }
        let request = BackupRequest(
            paths: [Array(volume.string.utf8)], host: "train/data", user: "root", tags: [MoverJob.partTag(run: run)],
            shard: shard, program: "test")
        return try await BackupJourney(repository: try await open(), request: request, progress: OperationProgress())
            .run().snapshot
    }

    /// Ids of the snapshots that are there.
    func snapshots() async throws -> [Identifier] { try await open().listSnapshots().snapshots.map(\.id) }

    static let access = MoverAccess(repository: "s3://bucket/prefix", environment: ["AWS_ACCESS_KEY_ID": "A"])

    func request(_ role: KeyRole = .writer) throws -> MoverRun.Request {
        MoverRun.Request(
            namespace: "train", settings: try MoverJobTests.settings(), access: Self.access, role: role
        ) { try await self.open() }
    }

    /// Has every mover's pod end with this result at once.
    func answer(_ result: @escaping @Sendable (KubernetesObject) -> MoverResult) {
        cluster.onJob { job in
            [MoverCluster.pod(of: job, phase: "Succeeded", state: MoverStandingTests.ended(result(job)))]
        }
    }

    /// What a run leaves: kinds and names of what is there, slots beside the first.
    func left() async throws -> [String] {
        let kinds = ["Job", "Secret", "Pod", "Lease"]
        let objects = kinds.flatMap { kind in
            cluster.all(kind).filter { $0.labels[BecalmAnnotation.run] != nil }.map { "\(kind) \($0.name)" }
        }
        return objects + (try await open().slots.dropFirst().map { "slot \($0.label)" })
    }
}
