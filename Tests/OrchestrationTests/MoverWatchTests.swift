import Basics
import HTTPTestServer
import Kubernetes
import KubernetesTesting
import Testing

@testable import Orchestration

/// A mover's Job is followed to its end, whatever becomes of its pods, of the server and of the connections.
@Suite("Following a mover")
struct MoverWatchTests {
    /// What was told, as text, in order.
    final class Heard: Sendable {
        private let events = Monitor<[String]>([])

        @Sendable func hear(_ event: MoverEvent) {
            let text =
                switch event {
                case .waiting(let claim, let reason): "\(claim) waits: \(reason)"
                case .progress(let claim, let progress): "\(claim) has \(progress.bytes)"
                case .ended(let claim, _): "\(claim) has ended"
                case .remark(let text): "remark: \(text)"
                }
            events.signal { $0.append(text) }
        }

        var all: [String] { events.withLock { $0 } }

        /// Waits until something is told.
        func wait(for text: String) async throws {
            try await events.outcome(of: text) { $0.contains(text) ? () : nil }
        }
    }

    /// A mover whose Job is there, followed.
    private struct World {
        let cluster: MoverCluster
        let heard = Heard()
        let job: KubernetesObject
        let task: OwnedTask<MoverResult, any Error>

        /// `prepare` is called before it is followed.
        init(
            startSeconds: Int = 600, patience: Double = 0.05,
            _ prepare: (MoverCluster, KubernetesObject) -> Void = { _, _ in }
        ) throws {
            let cluster = try MoverCluster.forMovers()
            let mover = try MoverJobTests.mover(settings: "{image: i:1, startSeconds: \(startSeconds)}")
            var job = mover.job()
            job.uid = "job-1"
            cluster.put(job)
            let watch = MoverWatch(
                client: cluster.client(patience: patience), mover: mover, job: job.uid, report: heard.hear,
                tickSeconds: 0.02)
            self.cluster = cluster
            self.job = job
            prepare(cluster, job)
            task = OwnedTask { try await watch.results()[0] }
        }

        func put(_ pod: KubernetesObject) { cluster.put(pod) }

        /// What it came to.
        func failure() async -> String {
            switch await task.outcome() {
            case .success(let result): "no failure: \(result)"
            case .failure(let error): "\(error)"
            }
        }
    }

    private static func result(_ status: Orchestration.ExitStatus = .done) -> MoverResult {
        var result = MoverResult(status)
        result.snapshot = "abc"
        return result
    }

    private static let running: JSONValue = ["running": [:]]
    private static let unschedulable: JSONValue = [
        [
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/1 nodes are available",
        ]
    ]

    @Test("What no node takes is told once, and ends it when its time to begin is over")
    func unschedulable() async throws {
        let world = try World(startSeconds: 1)
        world.put(MoverCluster.pod(of: world.job, conditions: Self.unschedulable))
        let failure = await world.failure()
        #expect(failure.contains("claim train/data (backup) failed"), "\(failure)")
        #expect(failure.contains("it has not begun within 1 s: Unschedulable: 0/1 nodes are available"), "\(failure)")
        #expect(world.heard.all == ["data waits: Unschedulable: 0/1 nodes are available"])
    }

    @Test("An image that cannot be had is told, and may come; one that never will ends it at once")
    func image() async throws {
        let world = try World()
        let waits: JSONValue = ["waiting": ["reason": "ErrImagePull", "message": "no such host"]]
        world.put(MoverCluster.pod(of: world.job, state: waits))
        try await world.heard.wait(for: "data waits: ErrImagePull: no such host")
        let word = MoverStandingTests.ended(Self.result())
        world.put(MoverCluster.pod(of: world.job, phase: "Succeeded", state: word))
        #expect(try await world.task.value() == Self.result())

        let other = try World()
        other.put(MoverCluster.pod(of: other.job, state: ["waiting": ["reason": "InvalidImageName"]]))
        #expect(await other.failure().contains("failed: InvalidImageName"))
    }

    @Test(
        "A volume that cannot be mounted shows in events alone, the last of which is told; who may not read them waits")
    func mount() async throws {
        for mayRead in [true, false] {
            let world = try World(startSeconds: mayRead ? 600 : 1)
            if !mayRead { world.cluster.refuse { $0.path.hasSuffix("/events") ? 403 : nil } }
            let pod = MoverCluster.pod(of: world.job, state: ["waiting": ["reason": "ContainerCreating"]])
            world.put(pod)
            let uid = try #require(world.cluster.all("Pod").first).uid
            for (minute, message) in ["first\nline", "driver not found"].enumerated() {
                world.put(
                    try KubernetesObject([
                        "apiVersion": "v1", "kind": "Event", "type": "Warning", "reason": "FailedMount",
                        "metadata": ["name": .string("e\(minute)"), "namespace": "train"],
                        "involvedObject": ["uid": .string(uid)], "message": .string(message),
                        "lastTimestamp": .string("2026-01-01T00:0\(minute):00Z"),
                    ]))
            }
            if mayRead {
                try await world.heard.wait(for: "data waits: FailedMount: driver not found")
                // It is looked at again and again, and told once.
                try await world.cluster.waitForRequests(world.cluster.requests.count + 5)
                #expect(Set(world.heard.all).count == world.heard.all.count, "\(world.heard.all)")
            } else {
                #expect(await world.failure().hasSuffix("it has not begun within 1 s"))
                #expect(world.heard.all == [])
            }
        }
    }

    @Test(
        "A pod that is killed is run again by its Job, and what the second says counts; time to begin is over by then")
    func again() async throws {
        let world = try World(startSeconds: 1) { cluster, job in
            cluster.put(MoverCluster.pod(of: job, phase: "Running", state: Self.running))
        }
        try await world.cluster.waitForFollowers(1)
        let killed: JSONValue = ["terminated": ["reason": "OOMKilled", "exitCode": 137]]
        world.put(MoverCluster.pod(of: world.job, phase: "Failed", state: killed))
        world.put(MoverCluster.pod(of: world.job, "b", conditions: Self.unschedulable, minute: 1))
        try await world.heard.wait(for: "data waits: Unschedulable: 0/1 nodes are available")
        world.put(MoverCluster.pod(of: world.job, "b", phase: "Running", state: Self.running, minute: 1))
        try await world.cluster.waitForFollowers(2)
        let word = MoverStandingTests.ended(Self.result(.partial))
        world.put(MoverCluster.pod(of: world.job, "b", phase: "Succeeded", state: word, minute: 1))
        #expect(try await world.task.value() == Self.result(.partial))
        let annotation = world.cluster.all("Job").first?.annotations[MoverJob.resultAnnotation] ?? ""
        #expect(MoverResult(parsing: annotation, claim: "data") == Self.result(.partial))
    }

    @Test("A Job that somebody deletes ends it, with the last words of its pods; not where it had said how it went")
    func deleted() async throws {
        let world = try World()
        let killed: JSONValue = ["terminated": ["reason": "Error", "exitCode": 143]]
        world.cluster.keepPods(true)
        world.put(MoverCluster.pod(of: world.job, phase: "Failed", state: killed))
        try await world.heard.wait(for: "data waits: the last pod ended so: Error (exit code 143)")
        world.cluster.remove(world.job)
        #expect(await world.failure().hasSuffix("its Job was deleted; Error (exit code 143)"))

        // What a pod has come to may show only in what is told of its end.
        let unseen = try World()
        let running = MoverCluster.pod(of: unseen.job, phase: "Running", state: Self.running)
        unseen.put(running)
        try await unseen.cluster.waitForFollowers(1)
        let ended = MoverStandingTests.ended(Self.result())
        unseen.cluster.remove(running, last: MoverCluster.pod(of: unseen.job, phase: "Succeeded", state: ended))
        #expect(try await unseen.task.value() == Self.result())

        let other = try World()
        other.put(MoverCluster.pod(of: other.job, phase: "Running", state: Self.running))
        try await other.cluster.waitForFollowers(1)
        // Its pod goes with it: the last that is seen of that is its word.
        other.cluster.refuse { $0.method == "PATCH" ? 404 : nil }
        let word = MoverStandingTests.ended(Self.result())
        other.put(MoverCluster.pod(of: other.job, phase: "Succeeded", state: word))
        other.cluster.remove(other.job)
        #expect(try await other.task.value() == Self.result())
    }

    @Test("A server that is away for a while costs nothing; one that stays away ends it")
    func away() async throws {
        let world = try World(patience: 60)
        world.put(MoverCluster.pod(of: world.job, phase: "Running", state: Self.running))
        try await world.cluster.waitForFollowers(1)
        let asked = world.cluster.requests.count
        world.cluster.refuse { _ in 503 }
        world.cluster.cut()
        try await world.cluster.waitForRequests(asked + 6)
        let word = MoverStandingTests.ended(Self.result())
        world.put(MoverCluster.pod(of: world.job, phase: "Succeeded", state: word))
        world.cluster.refuse { _ in nil }
        #expect(try await world.task.value() == Self.result())

        let other = try World()
        try await other.cluster.waitForRequests(2)
        other.cluster.refuse { _ in MoverCluster.closed }
        other.cluster.cut()
        await #expect(throws: KubernetesError.self) { try await other.task.value() }
    }

    @Test("Progress comes from the log, through streams that break off and end, and is written on the Job")
    func progress() async throws {
        let world = try World()
        world.put(MoverCluster.pod(of: world.job, phase: "Running", state: Self.running))
        let pod = "\(world.job.name)-a"
        for (streams, bytes) in [(1, 10), (2, 20), (3, 30)] {
            try await world.cluster.waitForFollowers(streams)
            var progress = MoverProgress()
            progress.bytes = UInt64(bytes)
            world.cluster.say("a word of a library", pod: pod)
            world.cluster.say(String(decoding: progress.json.serialized(), as: UTF8.self), pod: pod)
            try await world.heard.wait(for: "data has \(bytes)")
            let written = try await world.cluster.wait(for: "Job") { jobs -> String? in
                jobs.first?.annotations[MoverJob.progressAnnotation].flatMap { $0.contains("\(bytes)") ? $0 : nil }
            }
            #expect(MoverProgress(try JSONValue(parsing: Array(written.utf8)))?.bytes == UInt64(bytes))
            world.cluster.cut()
        }
    }

    @Test("Who gives up waiting is not kept")
    func cancelled() async throws {
        let world = try World()
        world.put(MoverCluster.pod(of: world.job, phase: "Running", state: Self.running))
        try await world.cluster.waitForFollowers(1)
        world.task.cancel()
        await #expect(throws: (any Error).self) { try await world.task.value() }
    }
}
