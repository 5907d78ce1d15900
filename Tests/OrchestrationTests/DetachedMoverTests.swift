import Kubernetes
import KubernetesTesting
import Testing
import Workloads

@testable import Orchestration

/// What becomes of movers without a process when nodes and tenants do as they like.
@Suite("Movers that no process stays with")
struct DetachedMoverTests {
    /// A run whose Job is as old as the hills.
    private struct Run {
        let world: MoverWorld
        let mover: DetachedMover
        let job: KubernetesObject

        init(shares: Int) async throws {
            world = try await MoverWorld()
            world.cluster.serve(.init(isServed: true))
            mover = DetachedMover(world.cluster.client, namespace: "train", run: "r1")
            let action: MoverAction = shares > 1 ? .backup(shard: nil, of: shares) : .backup(shard: 0, of: 1)
            try await mover.start(
                action, claim: "data", placement: MoverPlacement(), seconds: 86_400, world.request()
            ) { Issue.record("\($0)") }
            var job = try #require(world.cluster.all("Job").first)
            try job.set("2026-01-01T00:00:00Z", at: ["metadata", "creationTimestamp"])
            world.cluster.put(job)
            self.job = job
        }

        /// A pod of the run's, put there in the place of another one.
        func pod(
            _ name: String, instead of: KubernetesObject? = nil, phase: String, state: JSONValue = .null, since: String
        ) throws -> KubernetesObject {
            if let of { world.cluster.remove(of) }
            var pod = MoverCluster.pod(of: job, name, index: 0, phase: phase, state: state)
            try pod.set(.string(since), at: ["metadata", "creationTimestamp"])
            world.cluster.put(pod)
            return pod
        }
    }

    private static let longAgo = "2026-01-01T00:00:00Z"
    /// Later than any server's time.
    private static let justNow = "2199-01-01T00:00:00Z"

    @Test("One that has run once may wait for its next node as long as it likes", arguments: [1, 3])
    func drained(shares: Int) async throws {
        let run = try await Run(shares: shares)
        let first = try run.pod("a", phase: "Running", state: ["running": [:]], since: Self.longAgo)
        guard case .running = try await run.mover.standing() else {
            Issue.record("it does not run")
            return
        }
        let writes = run.world.cluster.requests.count { $0.method == "PUT" }
        _ = try await run.mover.standing()
        #expect(run.world.cluster.requests.count { $0.method == "PUT" } == writes)
        // A node's drain takes the pod, with all that it could have said.
        _ = try run.pod("b", instead: first, phase: "Pending", since: Self.longAgo)
        let standing = try await run.mover.standing()
        guard case .waiting = standing else {
            Issue.record("it does not wait: \(standing)")
            return
        }
    }

    @Test("One that has never run has its time from its newest pod on, and no longer", arguments: [1, 3])
    func late(shares: Int) async throws {
        let run = try await Run(shares: shares)
        let first = try run.pod("a", phase: "Pending", since: Self.justNow)
        let standing = try await run.mover.standing()
        guard case .waiting = standing else {
            Issue.record("it does not wait: \(standing)")
            return
        }
        _ = try run.pod("b", instead: first, phase: "Pending", since: Self.longAgo)
        guard case .ended(let ending) = try await run.mover.standing() else {
            Issue.record("it has not ended")
            return
        }
        #expect(ending.result.error.contains("it has not begun within"))
    }

    @Test("Why a Job makes no pod, and why a pod gets no volume, is told by events alone", arguments: [1, 3])
    func events(shares: Int) async throws {
        let run = try await Run(shares: shares)
        func happens(_ reason: String, _ message: String, to object: KubernetesObject, _ members: JSONValue) throws {
            var event = try KubernetesObject([
                "apiVersion": "v1", "kind": "Event", "type": "Warning", "reason": .string(reason),
                "message": .string(message), "metadata": ["name": .string(reason.lowercased()), "namespace": "train"],
                "involvedObject": ["uid": .string(object.uid)],
            ])
            for member in members.object?.members ?? [] { try event.set(member.value, at: [.key(member.key)]) }
            run.world.cluster.put(event)
        }
        func expectWaiting(_ words: String) async throws {
            guard case .waiting(let reason, _) = try await run.mover.standing() else {
                Issue.record("it does not wait for \(words)")
                return
            }
            #expect(reason == words)
        }
        var job = run.job
        try job.set(.string(Self.justNow), at: ["metadata", "creationTimestamp"])
        run.world.cluster.put(job)
        try await expectWaiting("")
        try happens(
            "FailedCreate", "pods \"a\" is forbidden:\nviolates PodSecurity", to: job,
            ["lastTimestamp": "2026-01-01T00:00:00Z"])
        try await expectWaiting("FailedCreate: pods \"a\" is forbidden: violates PodSecurity")
        _ = try run.pod("a", phase: "Pending", since: Self.justNow)
        let pod = try #require(run.world.cluster.all("Pod").first)
        try await expectWaiting("")
        try happens("FailedMount", "old", to: pod, ["eventTime": "2026-01-01T00:00:00.000000Z"])
        try happens(
            "FailedAttachVolume", "new", to: pod,
            ["eventTime": "2025-01-01T00:00:00.000000Z", "series": ["lastObservedTime": "2026-01-01T00:00:05.000000Z"]])
        try await expectWaiting("FailedAttachVolume: new")
        run.world.cluster.refuse { $0.path.hasSuffix("/events") ? 403 : nil }
        try await expectWaiting("")
    }

    @Test("A pod that anybody in the namespace has labelled speaks for no share")
    func foreignPods() async throws {
        let run = try await Run(shares: 3)
        _ = try run.pod("a", phase: "Pending", since: Self.justNow)
        var result = MoverResult(.done)
        result.snapshot = "abc"
        var pod = MoverCluster.pod(
            of: run.job, "x", index: 0, phase: "Succeeded", state: MoverStandingTests.ended(result))
        pod.ownerReferences = []
        run.world.cluster.put(pod)
        guard case .waiting = try await run.mover.standing() else {
            Issue.record("it does not wait")
            return
        }
        let lease = try #require(run.world.cluster.all("Lease").first)
        #expect(lease.annotations[MoverJob.resultAnnotation(index: 0)] == nil)
    }

    @Test("Numbers of a Lease that make no sense are held to what can be meant")
    func numbers() throws {
        var lease = KubernetesObject(APIResource.leases.groupVersionKind, namespace: "n", name: "l")
        for (text, count) in [("9000000000000000000", 64), ("-3", 1), ("x", 1), ("7", 7)] {
            lease.setAnnotation("becalm.io/shares", text)
            #expect(MoverLease.shares(lease) == count)
        }
        let client = try MoverCluster.forMovers().client
        for (seconds, word) in [("9000000000000000000", "604800"), ("-9000000000000000000", "0")] {
            lease.setAnnotation(
                "becalm.io/copy-of",
                #"{"cut_seconds":\#(seconds),"ready_seconds":\#(seconds),"snapshot":"s"}"#)
            let copy = try #require(DetachedCopy(client, run: "r", lease: lease))
            #expect(copy.leaseText == #"{"cut_seconds":\#(word),"ready_seconds":\#(word),"snapshot":"s"}"#)
        }
    }

    @Test("What many say they have done adds up to the largest number at most")
    func sums() {
        var one = MoverProgress()
        (one.files, one.filesTotal, one.bytes, one.bytesTotal) = (3, 4, UInt64(Int64.max), UInt64(Int64.max))
        let sum = MoverProgress(sum: [one, one, one])
        #expect(sum.files == 9 && sum.filesTotal == 12)
        #expect(sum.bytes == UInt64(Int64.max) && sum.bytesTotal == UInt64(Int64.max))
        #expect(MoverProgress(sum.json) == sum)
    }
}
