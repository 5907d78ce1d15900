import Basics
import Kubernetes
import KubernetesTesting
import ObjectStorage
import Repository
import RepositoryFormat
import Synchronization
import Testing
import Workloads

@testable import Orchestration

/// What a run of movers makes goes with it, whatever way it ends.
@Suite("A run of movers")
struct MoverRunTests {
    private struct Stop: Error {}

    private static func done(_ snapshot: String = "abc") -> MoverResult {
        var result = MoverResult(.done)
        result.snapshot = snapshot
        return result
    }

    @Test(
        "While it goes, its key opens the repository with the role that was asked for; when it ends, all of it is gone")
    func success() async throws {
        for role in [KeyRole.writer, .reader] {
            let world = try await MoverWorld()
            let run = OwnedTask<MoverResult, any Error> {
                try await MoverRun.with(world.cluster.client, world.request(role), report: world.heard.hear) { run in
                    try await run.move(.backup(shard: 0, of: 1), claim: "data", placement: MoverPlacement())
                }
            }
            let secret = try await world.cluster.wait(for: "Secret") { $0.first }
            let job = try await world.cluster.job()
            #expect(secret.ownerReferences.first?.uid == job.uid && secret.name == job.name)
            let lease = try #require(world.cluster.all("Lease").first)
            #expect(lease.labels[BecalmAnnotation.run] == job.labels[BecalmAnnotation.run])
            let slots = try await world.open().slots
            #expect(
                slots.count == 2 && slots[1].role == role
                    && slots[1].label == "mover \(lease.labels[BecalmAnnotation.run] ?? "")")
            let key = try #require(SecretText.bytes(secret["data", "key"]?.string ?? ""))
            #expect(try await world.open(key).slotID == slots[1].id)
            world.cluster.put(
                MoverCluster.pod(of: job, phase: "Succeeded", state: MoverStandingTests.ended(Self.done())))
            #expect(try await run.value() == Self.done())
            #expect(try await world.left() == [])
            #expect(world.heard.all == ["data has ended"])
            await #expect(throws: RepositoryError.self) { try await world.open(key) }
        }
    }

    @Test("A mover's error comes with its status, its word and its claim")
    func failure() async throws {
        let world = try await MoverWorld()
        world.answer { _ in MoverResult(JourneyError(.noSpace, kind: "no_space", "the store is full")) }
        let error = await #expect(throws: JourneyError.self) {
            try await MoverRun.with(world.cluster.client, world.request(), report: world.heard.hear) { run in
                try await run.move(.backup(shard: 0, of: 1), claim: "data", placement: MoverPlacement())
            }
        }
        #expect(error?.status == .noSpace && error?.kind == "no_space")
        #expect(error?.message == "the mover of claim train/data (backup): the store is full")
        #expect(try await world.left() == [])
    }

    @Test("Parts that nobody joins are forgotten with a run that fails, and stay with one that does not")
    func parts() async throws {
        for fails in [false, true] {
            let world = try await MoverWorld()
            let run: @Sendable () async throws -> Void = {
                try await MoverRun.with(world.cluster.client, world.request(), report: world.heard.hear) { run in
                    _ = try await world.backUp("some", run: run.id)
                    _ = try await world.backUp("other", run: "another")
                    if fails { throw Stop() }
                }
            }
            if fails { await #expect(throws: Stop.self) { try await run() } } else { try await run() }
            #expect(try await world.snapshots().count == (fails ? 1 : 2))
            #expect(try await world.left() == [])
        }
    }

    @Test("Shares are forgotten by whoever joins them, so that a run that ends well looks at no snapshot")
    func shares() async throws {
        for fails in [false, true] {
            let world = try await MoverWorld()
            let run: @Sendable () async throws -> Void = {
                try await MoverRun.with(world.cluster.client, world.request(), report: world.heard.hear) { run in
                    _ = try await world.backUp("some", run: run.id, shard: Shard(index: 0, count: 2))
                    if fails { throw Stop() }
                }
            }
            if fails { await #expect(throws: Stop.self) { try await run() } } else { try await run() }
            #expect(try await world.snapshots().count == (fails ? 0 : 1))
        }
    }

    @Test("A run that is cancelled takes away what it has made before it ends, and waits for its pods")
    func cancelled() async throws {
        let world = try await MoverWorld()
        world.cluster.keepPods(true)
        world.cluster.onJob { [MoverCluster.pod(of: $0, phase: "Running", state: ["running": [:]])] }
        let run = OwnedTask<MoverResult, any Error> {
            try await MoverRun.with(world.cluster.client, world.request(), report: world.heard.hear) { run in
                try await run.move(.backup(shard: 0, of: 1), claim: "data", placement: MoverPlacement())
            }
        }
        try await world.cluster.waitForFollowers(1)
        let ended = Atomic<Bool>(false)
        let waiting = OwnedTask<Void, Never> {
            _ = await run.outcome()
            ended.store(true, ordering: .sequentiallyConsistent)
        }
        run.cancel()
        _ = try await world.cluster.wait(for: "Job") { $0.isEmpty ? true : nil }
        _ = try await world.cluster.wait(for: "Secret") { $0.isEmpty ? true : nil }
        // It lists pods to see which have not begun, lists them again, and watches.
        try await world.cluster.waitForRequests(
            3, after: { $0.method == "DELETE" && $0.path.contains("/jobs/") },
            where: { $0.method == "GET" && $0.path.hasSuffix("/pods") })
        // The kubelet gives it a minute to publish what it has stored.
        let pod = try #require(world.cluster.all("Pod").first)
        let hasEnded = ended.load(ordering: .sequentiallyConsistent)
        #expect(!hasEnded)
        world.cluster.remove(pod)
        _ = await waiting.outcome()
        await #expect(throws: (any Error).self) { try await run.value() }
        #expect(try await world.left() == [])
    }

    @Test("A mover that has not begun is not waited for")
    func pending() async throws {
        let world = try await MoverWorld()
        world.cluster.keepPods(true)
        world.cluster.onJob { [MoverCluster.pod(of: $0)] }
        await #expect(throws: Stop.self) {
            try await MoverRun.with(world.cluster.client, world.request(), report: world.heard.hear) { run in
                let moving = OwnedTask<MoverResult, any Error> {
                    try await run.move(.backup(shard: 0, of: 1), claim: "data", placement: MoverPlacement())
                }
                _ = try await world.cluster.wait(for: "Secret") { $0.first }
                moving.cancel()
                throw Stop()
            }
        }
        #expect(try await world.left() == [])
    }

    /// How a write fails.
    enum Trouble: CaseIterable { case refused, lost }

    @Test(
        "Whichever write the server refuses, or does without answering, what is left is told, and the next run takes it away",
        arguments: Trouble.allCases)
    func everyWrite(trouble: Trouble) async throws {
        var writes = 0
        var failures = 0
        for number in 0..<100 {
            let world = try await MoverWorld()
            world.answer { _ in Self.done() }
            let count = Atomic<Int>(0)
            world.cluster.refuse { request in
                guard request.method != "GET" else { return nil }
                guard count.wrappingAdd(1, ordering: .relaxed).oldValue == number else { return nil }
                return trouble == .refused ? 403 : MoverCluster.lost
            }
            let body: @Sendable () async throws -> MoverResult = {
                try await MoverRun.with(world.cluster.client, world.request(), report: world.heard.hear) { run in
                    try await run.move(.backup(shard: 0, of: 1), claim: "data", placement: MoverPlacement())
                }
            }
            do { #expect(try await body() == Self.done()) } catch { failures += 1 }
            writes = count.load(ordering: .relaxed)
            if writes <= number { break }
            world.cluster.refuse { _ in nil }
            let left = try await world.left()
            let told = world.heard.all.filter { $0.hasPrefix("remark: ") }
            #expect(left.isEmpty || !told.isEmpty, "write \(number): \(left)")
            // The one that failed is over, and somebody comes again.
            world.cluster.wait(seconds: 120)
            #expect(try await body() == Self.done())
            #expect(try await world.left() == [], "write \(number), at first \(left)")
        }
        // Lease, Job, Secret, annotation, and what takes them away.
        #expect(writes >= 6 && writes < 100, "\(writes)")
        // What was done without an answer was done; what was refused keeps a run from its end, but for what takes it away.
        #expect(trouble == .lost ? failures == 0 : failures >= 4, "\(failures)")
    }

    @Test(
        "What a dead run has left is taken away by the next: Job, Secret, Lease, key and parts; a living one's is not")
    func sweep() async throws {
        let world = try await MoverWorld()
        let client = world.cluster.client
        let repository = MoverSlots.identifier(try await world.open())
        for run in ["dead", "living"] {
            let lease = MoverLease(client, namespace: "train", run: run)
            try await lease.take(repository: repository, seconds: run == "dead" ? 60 : 600)
            var mover = try MoverJobTests.mover()
            mover.run = run
            let job = try await client.create(.jobs, mover.job())
            _ = try await client.create(.secrets, mover.secret(for: job, files: ["key": [1]]))
            _ = try await MoverSlots(open: { try await world.open() })
                .add(key: Array("key of \(run), thirty-two bytes long".utf8), role: .writer, run: run)
            _ = try await world.backUp(run, run: run)
        }
        world.cluster.wait(seconds: 120)
        try await MoverRun.with(client, world.request(), report: world.heard.hear) { _ in }
        let left = try await world.left()
        #expect(
            left == [
                "Job becalm-living-backup-data", "Secret becalm-living-backup-data", "Lease becalm-run-living",
                "slot mover living",
            ], "\(left)")
        #expect(try await world.snapshots().count == 1)
        #expect(world.heard.all == ["remark: a run of movers (dead) that was killed is cleaned up"])
    }

    @Test("A key of another repository is not taken away with this one, and its run stays until somebody can")
    func otherRepository() async throws {
        let world = try await MoverWorld()
        let lease = MoverLease(world.cluster.client, namespace: "train", run: "other")
        try await lease.take(repository: "0123456789abcdef", seconds: 60)
        world.cluster.wait(seconds: 120)
        try await MoverRun.with(world.cluster.client, world.request(), report: world.heard.hear) { _ in }
        #expect(try await world.left() == ["Lease becalm-run-other"])
        #expect(world.heard.all.contains { $0.contains("those of another repository, 01234567") }, "\(world.heard.all)")
    }

    @Test("Claims are bound together by a pod that is scheduled with all of them and mounts none")
    func bind() async throws {
        let world = try await MoverWorld()
        world.answer { _ in MoverResult(.done) }
        let jobs = Mutex<[KubernetesObject]>([])
        world.cluster.onJob { job in
            jobs.withLock { $0.append(job) }
            let word = MoverStandingTests.ended(MoverResult(.done))
            return [MoverCluster.pod(of: job, phase: "Succeeded", state: word)]
        }
        try await MoverRun.with(world.cluster.client, world.request(), report: world.heard.hear) { run in
            try await run.bind(
                ["data", "logs", "shared"], placement: MoverPlacement(like: ["spec": ["nodeSelector": ["a": "b"]]]))
        }
        let spec = try #require(jobs.withLock { $0.first })["spec", "template", "spec"]
        let claims = (spec?["volumes"]?.array ?? []).compactMap { $0["persistentVolumeClaim", "claimName"]?.string }
        #expect(claims.sorted() == ["data", "logs", "shared"] && spec?["nodeSelector", "a"] == "b")
        let volumes = (spec?["volumes"]?.array ?? []).filter { $0["persistentVolumeClaim"] != nil }
            .compactMap { $0["name"]?.string }
        let mounts = (spec?["containers", 0, "volumeMounts"]?.array ?? []).compactMap { $0["name"]?.string }
        #expect(Set(mounts).isDisjoint(with: volumes), "\(mounts)")
        #expect(spec?["containers", 0, "args"]?.array?.contains("inspect") == true)
        // Nobody asked for it.
        #expect(world.heard.all == [])
    }
}

/// What an entry of a Secret holds.
enum SecretText {
    /// Without base 64 (RFC 4648, section 4); nil for what is none.
    static func bytes(_ text: String) -> [UInt8]? {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var bytes: [UInt8] = []
        var (bits, count) = (0, 0)
        for character in text.utf8 where character != UInt8(ascii: "=") {
            guard let value = alphabet.firstIndex(of: character) else { return nil }
            bits = bits << 6 | value
            count += 6
            if count >= 8 {
                count -= 8
                bytes.append(UInt8(truncatingIfNeeded: bits >> count))
            }
        }
        return bytes
    }
}
