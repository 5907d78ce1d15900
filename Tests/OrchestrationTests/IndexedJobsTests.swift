import Basics
import Kubernetes
import KubernetesTesting
import Synchronization
import Testing
import Workloads

@testable import Orchestration

/// Movers that share a volume are the pods of one Indexed Job where the server has such.
@Suite("Movers side by side")
struct IndexedJobsTests {
    private static func result(_ index: Int, _ status: Orchestration.ExitStatus = .done) -> MoverResult {
        var result = MoverResult(status)
        result.snapshot = "snapshot-\(index)"
        return result
    }

    /// Pods of a Job, each of which ends at once; of one without indexes, that of its share.
    @Sendable private static func pods(_ job: KubernetesObject) -> [KubernetesObject] {
        guard job["spec", "completionMode"] == "Indexed" else {
            let words = (job["spec", "template", "spec", "containers", 0, "args"]?.array ?? []).compactMap(\.string)
            let shard = words.firstIndex(of: "--shard").map { words[$0 + 1] } ?? ""
            let index = Int(shard.prefix { $0 != "/" }).map { $0 - 1 } ?? -1
            return [
                MoverCluster.pod(of: job, phase: "Succeeded", state: MoverStandingTests.ended(result(index)))
            ]
        }
        return (0..<Int(job["spec", "completions"]?.int64 ?? 0)).reversed().map { index in
            MoverCluster.pod(
                of: job, index: index, phase: "Succeeded", state: MoverStandingTests.ended(result(index)))
        }
    }

    /// A server, as far as it matters here.
    enum Server: CaseIterable, Sendable {
        case none, indexed, limited, refusingTrials

        var support: IndexedJobs.Support {
            IndexedJobs.Support(isServed: self != .none, limitsEachIndex: self == .limited)
        }
    }

    @Test(
        "Shares are the pods of one Indexed Job where the server has such, which it is asked once, else of a Job each",
        arguments: Server.allCases)
    func servers(server: Server) async throws {
        let world = try await MoverWorld()
        world.cluster.serve(server.support)
        if server == .refusingTrials { world.cluster.refuse { $0.isTrial ? 400 : nil } }
        let jobs = Mutex<[KubernetesObject]>([])
        world.cluster.onJob { job in
            jobs.withLock { $0.append(job) }
            return Self.pods(job)
        }
        let found = try await MoverRun.with(world.cluster.client, world.request(), report: world.heard.hear) { run in
            let first = try await run.backUp(shards: 3, claim: "data", placement: MoverPlacement())
            let second = try await run.backUp(shards: 3, claim: "more", placement: MoverPlacement())
            let single = try await run.backUp(shards: 1, claim: "small", placement: MoverPlacement())
            #expect(single.count == 1)
            return first + second
        }
        let names = (0..<3).map { "snapshot-\($0)" }
        #expect(found.map(\.snapshot).sorted() == (names + names).sorted())
        #expect(world.cluster.requests.count(where: \.isTrial) == 1)
        let isIndexed = server == .indexed || server == .limited
        let made = jobs.withLock { $0 }
        #expect(made.count == (isIndexed ? 3 : 7))
        if isIndexed {
            let spec = try #require(made[0]["spec"])
            #expect(found.prefix(3).map(\.snapshot) == names)
            #expect(spec["completions"] == 3 && spec["parallelism"] == 3 && spec["completionMode"] == "Indexed")
            #expect(spec["backoffLimit"] == 18 && spec["backoffLimitPerIndex"] == (server == .limited ? 6 : nil))
            #expect(spec["maxFailedIndexes"] == (server == .limited ? 0 : nil))
            let words = (spec["template", "spec", "containers", 0, "args"]?.array ?? []).compactMap(\.string)
            #expect(words.suffix(2) == ["--shards", "3"])
        }
        #expect(made.last?["spec", "completionMode"] == nil)
        #expect(try await world.left() == [])
    }

    @Test("A trial that never reaches the server ends the backup; one whose answer is lost is made again")
    func trouble() async throws {
        for lost in [1, 1000] {
            let world = try await MoverWorld()
            world.cluster.serve(.init(isServed: true))
            world.cluster.onJob(Self.pods)
            let count = Atomic<Int>(0)
            world.cluster.refuse { request in
                guard request.isTrial else { return nil }
                return count.wrappingAdd(1, ordering: .relaxed).oldValue < lost ? MoverCluster.closed : nil
            }
            let body: @Sendable () async throws -> Int = {
                try await MoverRun.with(world.cluster.client(patience: 1), world.request(), report: world.heard.hear) {
                    try await $0.backUp(shards: 2, claim: "data", placement: MoverPlacement()).count
                }
            }
            if lost == 1 {
                #expect(try await body() == 2)
            } else {
                await #expect(throws: (any Error).self) { try await body() }
            }
            #expect(try await world.left() == [])
        }
    }

    @Test("The name of an Indexed Job leaves room for its pods' indexes")
    func names() throws {
        for claim in ["data", String(repeating: "x", count: 253)] {
            let all = try MoverJobTests.mover(.backup(shard: nil, of: 64), claim: claim)
            #expect("\(all.name)-63".utf8.count <= 63)
            let one = try MoverJobTests.mover(.backup(shard: 0, of: 64), claim: claim).name
            let plain = try MoverJobTests.mover(claim: claim).name
            // Of a claim whose name begins as the part of another's.
            let others = try ["all-", "shares-", "0-"].map { try MoverJobTests.mover(claim: $0 + claim).name }
            #expect(Set([all.name, one, plain] + others).count == 6)
        }
    }

    // MARK: How they stand

    private static func job(_ count: Int, backoffLimit: Int = 6, conditions: JSONValue = []) throws -> KubernetesObject
    {
        try KubernetesObject([
            "apiVersion": "batch/v1", "kind": "Job", "metadata": ["name": "j", "namespace": "n", "uid": "u"],
            "spec": ["backoffLimit": .integer(backoffLimit), "completions": .integer(count)],
            "status": ["conditions": conditions],
        ])
    }

    private static let killed: JSONValue = ["terminated": ["exitCode": 137, "reason": "OOMKilled"]]

    @Test("Each index stands as its own pods do; one that failed has its successor's standing")
    func standings() throws {
        let job = try Self.job(3)
        let pods = [
            MoverCluster.pod(
                of: job, index: 2, phase: "Succeeded", state: MoverStandingTests.ended(Self.result(2))),
            MoverCluster.pod(of: job, "b", index: 0, phase: "Running", state: ["running": [:]], minute: 1),
            MoverCluster.pod(of: job, "a", index: 0, phase: "Failed", state: Self.killed),
        ]
        let standings = MoverStanding.each(of: 3, job: job, pods: pods, claim: "c")
        #expect(standings == [.running("j-0-b"), .waiting(""), .ended(Self.result(2))])
        #expect(MoverStanding.failure(standings, pods: pods) == nil)
        var labelled = pods[0]
        labelled.setAnnotation(MoverJob.indexAnnotation, nil)
        labelled.setLabel(MoverJob.indexAnnotation, "1")
        #expect(MoverStanding.index(of: labelled) == 1)
        labelled.setLabel(MoverJob.indexAnnotation, nil)
        #expect(MoverStanding.index(of: labelled) == nil)
    }

    @Test("One index that fails again and again is a failure though the Job, which counts all together, would go on")
    func badIndex() throws {
        let job = try Self.job(3, backoffLimit: 6)
        for failures in 1...3 {
            let pods = (0..<failures).map {
                MoverCluster.pod(of: job, "\($0)", index: 1, phase: "Failed", state: Self.killed, minute: $0)
            }
            let reason = MoverStanding.failure(MoverStanding.each(of: 3, job: job, pods: pods, claim: "c"), pods: pods)
            #expect(
                reason
                    == (failures > 2
                        ? "share 2 of 3: its pods have failed 3 times, the last pod ended so: OOMKilled (exit code 137)"
                        : nil))
        }
    }

    @Test("When the whole Job fails, what is told is what the failing index said")
    func failure() throws {
        let job = try Self.job(
            2, conditions: [["type": "Failed", "status": "True", "reason": "MaxFailedIndexesExceeded"]])
        let pods = [MoverCluster.pod(of: job, index: 1, phase: "Failed", state: Self.killed)]
        let reason = MoverStanding.failure(MoverStanding.each(of: 2, job: job, pods: pods, claim: "c"), pods: pods)
        #expect(reason == "share 2 of 2: MaxFailedIndexesExceeded: OOMKilled (exit code 137)")
    }

    @Test("A Job that is complete, and a pod of which is gone without a word, is a failure and not waited for")
    func silence() throws {
        let job = try Self.job(1, conditions: [["type": "Complete", "status": "True"]])
        guard case .failed = MoverStanding(job: job, pods: [], claim: "c") else {
            Issue.record("nobody will hear of it")
            return
        }
    }

    // MARK: Followed

    /// An Indexed Job of two, followed.
    private struct World {
        let cluster: MoverCluster
        let heard = MoverWatchTests.Heard()
        let job: KubernetesObject
        let task: OwnedTask<[MoverResult], any Error>

        /// Where one index `runs`, its pod does before it is followed.
        init(startSeconds: Int = 600, runs index: Int? = nil) throws {
            let cluster = try MoverCluster.forMovers()
            cluster.serve(.init(isServed: true))
            let mover = try MoverJobTests.mover(
                .backup(shard: nil, of: 2), settings: "{image: i:1, startSeconds: \(startSeconds)}")
            var job = mover.job()
            job.uid = "job-1"
            cluster.put(job)
            let watch = MoverWatch(
                client: cluster.client, mover: mover, job: job.uid, report: heard.hear, tickSeconds: 0.02)
            self.cluster = cluster
            self.job = job
            if let index {
                cluster.put(MoverCluster.pod(of: job, "a", index: index, phase: "Running", state: ["running": [:]]))
            }
            task = OwnedTask { try await watch.results() }
        }

        func put(_ index: Int, _ suffix: String = "a", phase: String, state: JSONValue = .null, minute: Int = 0) {
            cluster.put(
                MoverCluster.pod(of: job, suffix, index: index, phase: phase, state: state, minute: minute))
        }
    }

    private static func line(_ bytes: UInt64) -> String {
        var progress = MoverProgress()
        (progress.bytes, progress.bytesTotal) = (bytes, 100)
        return String(decoding: progress.json.serialized(), as: UTF8.self)
    }

    @Test("Progress is the sum of all, and each index's last word is on the Job, though its pod is gone by then")
    func words() async throws {
        let world = try World()
        for index in 0..<2 { world.put(index, phase: "Running", state: ["running": [:]]) }
        try await world.cluster.waitForFollowers(2)
        world.cluster.say(Self.line(10), pod: "\(world.job.name)-0-a")
        try await world.heard.wait(for: "data has 10")
        world.cluster.say(Self.line(7), pod: "\(world.job.name)-1-a")
        try await world.heard.wait(for: "data has 17")
        let written = try await world.cluster.wait(for: "Job") { jobs -> String? in
            jobs.first?.annotations[MoverJob.progressAnnotation].flatMap { $0.contains("17") ? $0 : nil }
        }
        #expect(written.contains("200"))
        world.put(1, phase: "Succeeded", state: MoverStandingTests.ended(Self.result(1)))
        let text = try await world.cluster.wait(for: "Job") { $0.first?.annotations["becalm.io/result-1"] }
        #expect(MoverResult(parsing: text, claim: "") == Self.result(1))
        // Collected, as pods that have ended are, and nobody was told: its streams were cut.
        let pod = try #require(world.cluster.all("Pod").first { $0.name.hasSuffix("-1-a") })
        world.cluster.remove(pod)
        world.cluster.cut()
        // A pod of the other index that is killed has a successor.
        world.put(0, phase: "Failed", state: Self.killed)
        world.put(0, "b", phase: "Succeeded", state: MoverStandingTests.ended(Self.result(0)), minute: 1)
        #expect(try await world.task.value() == [Self.result(0), Self.result(1)])
    }

    @Test("An index that fails of what comes again ends all of it at once")
    func finalError() async throws {
        let world = try World()
        world.put(0, phase: "Running", state: ["running": [:]])
        let full = MoverResult(JourneyError(.noSpace, kind: "no_space", "the store is full"))
        world.put(1, phase: "Failed", state: MoverStandingTests.ended(full, code: 16))
        #expect(try await world.task.value() == [full])
    }

    @Test("An index that finds no room waits while another runs, and no longer")
    func room() async throws {
        let world = try World(startSeconds: 1, runs: 0)
        world.put(1, phase: "Pending")
        try await world.cluster.waitForFollowers(1)
        let clock = ContinuousClock()
        let begun = clock.now
        while clock.now - begun < .seconds(2) {
            try await world.cluster.waitForRequests(world.cluster.requests.count + 1)
        }
        world.put(0, phase: "Succeeded", state: MoverStandingTests.ended(Self.result(0)))
        await #expect(throws: JourneyError.self) { try await world.task.value() }
        #expect(clock.now - begun >= .seconds(3))
    }
}
