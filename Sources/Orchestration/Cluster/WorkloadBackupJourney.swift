internal import Basics
package import Kubernetes
package import Repository
internal import RepositoryFormat
package import Snapshots
internal import SystemPackage
package import Workloads

/// Backs a workload of a cluster up: brings it to a consistent point, takes its objects and its volumes, lets it go on,
/// and makes one snapshot of all of it.
///
/// The snapshot is laid out as Velero lays out a backup, with `volumes/NAMESPACE/CLAIM` for what is on the volumes and
/// `becalm/workload.json` for what was done and what ran where.
package struct WorkloadBackupJourney: Sendable {
    /// What to back up, and how.
    package struct Request: Sendable {
        package var workload: WorkloadReference
        package var quiesce: QuiesceOptions
        package var capture = WorkloadCapture.Options()
        package var source = VolumeSource.auto
        /// Movers at once.
        package var movers = 8
        package var settings: MoverSettings
        package var access: MoverAccess
        package var host: String
        package var user: String
        package var tags: [String] = []
        /// A directory for the objects on their way into the snapshot, raw.
        package var scratch: [UInt8]

        package init(
            workload: WorkloadReference, quiesce: QuiesceOptions, settings: MoverSettings, access: MoverAccess,
            host: String, user: String, scratch: [UInt8]
        ) {
            self.workload = workload
            self.quiesce = quiesce
            self.settings = settings
            self.access = access
            self.host = host
            self.user = user
            self.scratch = scratch
        }
    }

    /// What came of it.
    package struct Result: Sendable {
        package var join: JoinResult
        package var record: QuiesceRecord
        package var volumes: [(claim: String, result: MoverResult)]
        /// What users should know of the objects: what is missing, or was left out.
        package var objectRemarks: [String]
    }

    private let client: KubernetesClient
    private let request: Request
    private let open: @Sendable () async throws -> Repository
    private let tellQuiesce: @Sendable (QuiesceEvent) -> Void
    private let tellMovers: @Sendable (MoverEvent) -> Void

    /// `open` opens the repository with a key of the role `full`, each time as it is then. The two others are told of what
    /// happens, from any task.
    package init(
        _ client: KubernetesClient, _ request: Request, open: @escaping @Sendable () async throws -> Repository,
        quiescing: @escaping @Sendable (QuiesceEvent) -> Void, moving: @escaping @Sendable (MoverEvent) -> Void
    ) {
        self.client = client
        self.request = request
        self.open = open
        tellQuiesce = quiescing
        tellMovers = moving
    }

    /// Where the volumes are in such a snapshot, and its description.
    package static let volumesDirectory = "volumes"
    package static let description = ["becalm", "workload.json"]
    private static let objectsName = "objects"

    /// Runs it. Whatever goes wrong, the workload runs on as it was before the error is thrown.
    package func run() async throws(JourneyError) -> Result {
        try await JourneyError.mapping {
            let live = try await WorkloadFinder(client).find(request.workload)
            let movers = MoverRun.Request(
                namespace: live.namespace, settings: request.settings, access: request.access, role: .writer, open: open
            )
            return try await MoverRun.with(client, movers, report: tellMovers) { run in
                try await self.backUp(live, run)
            }
        }
    }

    /// What was taken while the workload was held.
    private struct Held: Sendable {
        var objects: WorkloadCapture.Objects
        /// Volumes that are stored, and those of which a snapshot was cut.
        var moved: [(claim: String, result: MoverResult)]
        var cuts: [ClaimSnapshots.Cut]
        var time: Timestamp
    }

    private func backUp(_ live: LiveWorkload, _ run: MoverRun) async throws -> Result {
        let capture = WorkloadCapture(client, options: request.capture)
        let facts = try await capture.facts(of: live)
        let snapshots = ClaimSnapshots(client: client, run: run.id)
        let volumes = try await WorkloadVolumes.decide(
            live, source: request.source, consistency: request.quiesce.policy.consistency, snapshots: snapshots)
        for remark in volumes.remarks { tellMovers(.remark(remark)) }
        let pods = try await live.pods()
        let places = volumes.volumes.map { volume in
            MoverObserver.Place(
                claim: volume.claim.name,
                placement: WorkloadVolumes.placement(of: volume.claim.name, live, pods: pods))
        }
        let quiescer = Quiescer(
            client, options: request.quiesce, observer: places.isEmpty ? nil : MoverObserver(run, places: places),
            report: tellQuiesce)
        let (held, record) = try await quiescer.holding(live) { _ in
            try await self.take(live, volumes.volumes, capture, snapshots, run)
        }
        var moved = held.moved
        moved += try await limited(held.cuts) { cut in
            let copy = try await snapshots.copy(cut)
            return try await self.store(
                copy.name, origin: cut.claim.name, WorkloadVolumes.placement(of: cut.claim.name, live.workload), run)
        }
        moved.sort { $0.claim < $1.claim }
        let remarks = volumes.remarks + held.objects.remarks
        var description = Self.describe(live, record, moved, snapshotted: Set(held.cuts.map(\.claim.name)), remarks)
        description.facts = facts
        let objects = try await store(
            held.objects.files + [
                .init(path: Self.description, content: description.json.serialized(escapingHTML: false))
            ], run)
        let join = try await self.join(live, objects, moved, time: held.time)
        return Result(join: join, record: record, volumes: moved, objectRemarks: held.objects.remarks)
    }

    // MARK: While it is held

    private func take(
        _ live: LiveWorkload, _ volumes: [WorkloadVolumes.Volume], _ capture: WorkloadCapture,
        _ snapshots: ClaimSnapshots,
        _ run: MoverRun
    ) async throws -> Held {
        let time = SystemWallClock().now()
        let objects = try await capture.objects(of: live)
        // Snapshots first and all together: those of one moment belong together.
        let cuts = try await limited(volumes.filter { $0.snapshotClass != nil }) { volume in
            try await snapshots.cut(volume.claim, className: volume.snapshotClass ?? "")
        }
        let pods = try await live.pods()
        let moved = try await limited(volumes.filter { $0.snapshotClass == nil }) { volume in
            let name = volume.claim.name
            return try await self.store(name, origin: name, WorkloadVolumes.placement(of: name, live, pods: pods), run)
        }
        return Held(objects: objects, moved: moved, cuts: cuts, time: time)
    }

    private func store(
        _ claim: String, origin: String, _ placement: MoverPlacement, _ run: MoverRun
    ) async throws -> (claim: String, result: MoverResult) {
        (origin, try await run.move(.backup(shard: 1, of: 1), claim: claim, origin: origin, placement: placement))
    }

    /// Does `body` with each element, so many at once, and answers the results in their order.
    private func limited<T: Sendable, R: Sendable>(
        _ elements: [T], _ body: @escaping @Sendable (T) async throws -> R
    ) async throws -> [R] {
        try await withThrowingTaskGroup(of: (Int, R).self) { group in
            var results: [Int: R] = [:]
            for (index, element) in elements.enumerated() {
                if index >= request.movers, let (done, result) = try await group.next() { results[done] = result }
                group.addTask { (index, try await body(element)) }
            }
            for try await (done, result) in group { results[done] = result }
            return elements.indices.compactMap { results[$0] }
        }
    }

    // MARK: After it

    private static func describe(
        _ live: LiveWorkload, _ record: QuiesceRecord, _ moved: [(claim: String, result: MoverResult)],
        snapshotted: Set<String>, _ remarks: [String]
    ) -> WorkloadDescription {
        var description = WorkloadDescription(live)
        description.quiesce = record.json
        description.remarks = remarks
        description.volumes = moved.map { claim, result in
            .init(
                claim: claim, files: result.files, bytes: result.bytes, contentDigest: result.contentDigest,
                problems: result.problems, source: snapshotted.contains(claim) ? "snapshot" : "live")
        }
        return description
    }

    /// Stores the objects, by way of a directory that nobody else can read.
    private func store(_ files: [WorkloadCapture.File], _ run: MoverRun) async throws -> Identifier {
        let repository = try await open()
        let place = request.scratch
        let scratch = try await BlockingBridge.offload(name: "becalm-capture") {
            Swift.Result { try ScratchDirectory.claim(for: .capture, in: place, isOwn: false, need: nil) }
        }
        let root = scratch.path + Array("/\(Self.objectsName)".utf8)
        let outcome: Swift.Result<Identifier, any Error>
        do {
            try await BlockingBridge.offload(name: "becalm-capture") {
                Swift.Result {
                    for file in files {
                        let path = root + Array(("/" + file.path.joined(separator: "/")).utf8)
                        try SystemFiles.makeDirectories(SystemFiles.filePath(path).removingLastComponent())
                        try SystemFiles.write(file.content, to: path, isSecret: true)
                    }
                }
            }
            let backup = BackupRequest(
                paths: [root], host: request.host, user: request.user, tags: [MoverJob.partTag(run: run.id)],
                bases: .none,
                program: Version.program)
            let progress = OperationProgress()
            let result = try await BackupJourney(repository: repository, request: backup, progress: progress).run()
            outcome = .success(result.snapshot)
        } catch {
            outcome = .failure(error)
        }
        try await BlockingBridge.offload(name: "becalm-capture") { Swift.Result { try scratch.remove() } }
        return try outcome.get()
    }

    private func join(
        _ live: LiveWorkload, _ objects: Identifier, _ moved: [(claim: String, result: MoverResult)], time: Timestamp
    ) async throws -> JoinResult {
        var parts = [JoinPart(snapshot: objects, from: [Array(Self.objectsName.utf8)], place: [])]
        for (claim, result) in moved {
            guard let id = Identifier(hex: result.snapshot) else {
                throw JourneyError(.failed, kind: "mover_failed", "the mover of claim \(claim) names no snapshot")
            }
            let place = [Self.volumesDirectory, live.namespace, claim]
            parts.append(
                JoinPart(snapshot: id, from: [Array(MoverJob.volumeName.utf8)], place: place.map { Array($0.utf8) }))
        }
        let join = JoinRequest(
            parts: parts, host: request.host, user: request.user, paths: ["\(live.reference)"], tags: request.tags,
            time: time, program: Version.program)
        return try await JoinJourney(repository: try await open(), request: join, progress: OperationProgress()).run()
    }
}
