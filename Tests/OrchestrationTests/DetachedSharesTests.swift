import Basics
import Kubernetes
import KubernetesTesting
import Repository
import RepositoryFormat
import Snapshots
import SystemPackage
import Testing
import Workloads

@testable import Orchestration

/// Several movers without a process that store one volume side by side.
@Suite("Shares of a volume that no process stays with")
struct DetachedSharesTests {
    /// A volume of some files in a world of movers, and a run that stores it in three shares.
    private struct Run {
        let world: MoverWorld
        let mover: DetachedMover

        init(_ support: IndexedJobs.Support) async throws {
            world = try await MoverWorld()
            world.cluster.serve(support)
            mover = DetachedMover(world.cluster.client, namespace: "train", run: "r1")
            try SystemFiles.makeDirectories(world.directory.appending("volume"))
            for number in 0..<20 {
                let name = Array(world.directory.appending("volume/file\(number)").string.utf8)
                try SystemFiles.write(Array("content \(number)".utf8), to: name)
            }
        }

        private var volume: [UInt8] { Array(world.directory.appending("volume").string.utf8) }

        func start() async throws {
            try await mover.start(
                .backup(shard: nil, of: 3), claim: "data", placement: MoverPlacement(), seconds: 600,
                world.request()
            ) { Issue.record("\($0)") }
        }

        /// Stores the volume, or a share of it, as a mover would.
        func store(_ share: Int?) async throws -> MoverResult {
            let request = BackupRequest(
                paths: [volume], host: "train/data", user: "root",
                tags: share == nil ? ["whole"] : [MoverJob.partTag(run: "r1"), "velero.io/backup=b"],
                shard: share.flatMap { Shard(index: $0, count: 3) }, program: "test")
            let stored = try await BackupJourney(
                repository: try await world.open(), request: request, progress: OperationProgress()
            ).run()
            var result = MoverResult(.done)
            result.snapshot = "\(stored.snapshot)"
            result.contentDigest = stored.manifest.contentDigest ?? ""
            result.bytesNew = 1
            return result
        }

        /// The pod of a share ends so.
        func end(_ share: Int, _ result: MoverResult) throws -> KubernetesObject {
            let jobs = world.cluster.all("Job")
            let job = try #require(
                jobs.count == 1 ? jobs[0] : jobs.first { $0.labels["becalm.io/share"] == "\(share)" })
            let pod = MoverCluster.pod(
                of: job, index: share, phase: result.isMoved ? "Succeeded" : "Failed",
                state: MoverStandingTests.ended(result))
            world.cluster.put(pod)
            return pod
        }
    }

    @Test(
        "They are pods of one Indexed Job or of a Job each, with one key, and what they stored becomes one snapshot",
        arguments: [true, false])
    func stores(isServed: Bool) async throws {
        let run = try await Run(.init(isServed: isServed))
        let (world, mover) = (run.world, run.mover)
        let whole = try await run.store(nil)
        for _ in 0..<2 {
            // By a process that died, and by one that goes on.
            try await run.start()
            #expect(world.cluster.all("Job").count == (isServed ? 1 : 3))
            let secrets = world.cluster.all("Secret")
            #expect(secrets.count == 1)
            for job in world.cluster.all("Job") {
                let volumes = job["spec", "template", "spec", "volumes"]?.array ?? []
                #expect(volumes.contains { $0["secret", "secretName"]?.string == secrets.first?.name })
            }
            #expect(try await world.open().slots.count == 2)
        }
        var shares: [MoverResult] = []
        for share in 0..<3 { shares.append(try await run.store(share)) }
        for share in [2, 0] {
            guard case .waiting = try await mover.standing() else {
                Issue.record("not all have ended")
                return
            }
            let pod = try run.end(share, shares[share])
            _ = try await mover.standing()
            // What it said is written down by now.
            world.cluster.remove(pod)
        }
        #expect(try await !mover.hasTaken())
        _ = try run.end(1, shares[1])
        #expect(try await mover.standing() == .stored(shares))
        #expect(try await mover.hasTaken())

        let ending = try #require(try await mover.join(shares, in: try await world.open()))
        #expect(ending.result.contentDigest == whole.contentDigest && ending.result.status == .done)
        #expect(ending.result.files == 20 && ending.result.bytesNew == 3)
        #expect(try await mover.standing() == .ended(ending))
        let listed = try await world.open().listSnapshots().snapshots
        let joined = try #require(listed.first { "\($0.id)" == ending.result.snapshot }?.manifest)
        #expect(joined.host == "train/data" && joined.tags.contains("velero.io/backup=b") && joined.shard == nil)
        #expect(await mover.clean { try await world.open() } == [])
        #expect(try await world.left() == ["Lease becalm-run-r1"])
        #expect(try await world.snapshots().count == 2)
    }

    @Test("A process that dies before it could say that it has joined them is followed by one that joins nothing again")
    func joinsOnce() async throws {
        let run = try await Run(.init(isServed: true))
        try await run.start()
        var shares: [MoverResult] = []
        for share in 0..<3 { shares.append(try await run.store(share)) }
        for share in 0..<3 { _ = try run.end(share, shares[share]) }
        run.world.cluster.refuse { $0.method == "PUT" ? 503 : nil }
        await #expect(throws: (any Error).self) {
            try await run.mover.join(shares, in: try await run.world.open())
        }
        run.world.cluster.refuse { _ in nil }
        let ending = try #require(try await run.mover.join(shares, in: try await run.world.open()))
        #expect(try await run.world.snapshots().count == 4)
        #expect(await run.mover.clean { try await run.world.open() } == [])
        #expect(try await run.world.snapshots().map { "\($0)" } == [ending.result.snapshot])
    }

    @Test("One share that fails ends all, and what the others stored is forgotten", arguments: [true, false])
    func fails(isServed: Bool) async throws {
        let run = try await Run(.init(isServed: isServed))
        try await run.start()
        _ = try run.end(0, try await run.store(0))
        _ = try await run.mover.standing()
        _ = try run.end(1, MoverResult(JourneyError(.noSpace, kind: "no_space", "the store is full")))
        guard case .ended(let ending) = try await run.mover.standing() else {
            Issue.record("it has not ended")
            return
        }
        #expect(ending.result.status == .noSpace)
        #expect(await run.mover.clean { try await run.world.open() } == [])
        #expect(try await run.world.left() == ["Lease becalm-run-r1"])
        #expect(try await run.world.snapshots() == [])
    }

    @Test("What a share publishes while its pod is being stopped is forgotten, too, once that is gone")
    func lateShare() async throws {
        let run = try await Run(.init(isServed: true))
        let cluster = run.world.cluster
        try await run.start()
        cluster.keepPods(true)
        _ = try run.end(0, try await run.store(0))
        var pod = MoverCluster.pod(
            of: try #require(cluster.all("Job").first), index: 2, phase: "Running", state: ["running": [:]])
        cluster.put(pod)
        _ = try run.end(1, MoverResult(JourneyError(.noSpace, kind: "no_space", "the store is full")))
        guard case .ended = try await run.mover.standing() else {
            Issue.record("it has not ended")
            return
        }
        for _ in 0..<2 {
            let left = await run.mover.clean { try await run.world.open() }
            #expect(left.contains { $0.contains("have not ended yet") } && left.count == 1, "\(left)")
            #expect(try await run.mover.isStopping())
        }
        #expect(cluster.all("Job").isEmpty && cluster.all("Secret").isEmpty)
        // Whoever comes next in this namespace finds it soon, should nobody ask again.
        let lease = try #require(cluster.all("Lease").first)
        #expect(lease["spec", "leaseDurationSeconds"] == 300 && lease.annotations["becalm.io/repository"] != "")
        _ = try await run.store(2)
        #expect(try await run.world.snapshots().count == 2)
        // Nobody knows when the pod of a node that is lost ends.
        try pod.set("2026-01-01T00:00:00Z", at: ["metadata", "deletionTimestamp"])
        cluster.put(pod)
        #expect(try await !run.mover.isStopping())
        cluster.remove(pod)
        #expect(await run.mover.clean { try await run.world.open() } == [])
        #expect(try await run.world.snapshots() == [])
    }

    @Test("Shares that say they have stored more than there is room for numbers are joined all the same")
    func hugeNumbers() async throws {
        let run = try await Run(.init(isServed: true))
        try await run.start()
        var shares: [MoverResult] = []
        for share in 0..<3 {
            var result = try await run.store(share)
            (result.bytesNew, result.bytesStored) = (UInt64(Int64.max), UInt64(Int64.max))
            result.problems = UInt64(Int64.max)
            shares.append(result)
        }
        let ending = try #require(try await run.mover.join(shares, in: try await run.world.open()))
        #expect(ending.result.bytesNew == UInt64(Int64.max) && ending.result.problems == UInt64(Int64.max))
    }
}
