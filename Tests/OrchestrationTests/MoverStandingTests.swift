import Basics
import Kubernetes
import Testing
import Workloads

@testable import Orchestration

@Suite("How a mover stands")
struct MoverStandingTests {
    static func job(_ conditions: JSONValue = []) throws -> KubernetesObject {
        try KubernetesObject([
            "apiVersion": "batch/v1", "kind": "Job", "metadata": ["name": "j", "namespace": "n"],
            "status": ["conditions": conditions],
        ])
    }

    static func pod(
        _ name: String, phase: String, state: JSONValue = .null, conditions: JSONValue = [], minute: Int = 0
    ) throws -> KubernetesObject {
        let status: JSONValue = ["name": "mover", "state": state]
        return try KubernetesObject([
            "apiVersion": "v1", "kind": "Pod",
            "metadata": [
                "name": .string(name), "namespace": "n",
                "creationTimestamp": .string("2026-01-01T00:0\(minute):00Z"),
            ],
            "status": ["phase": .string(phase), "containerStatuses": [status], "conditions": conditions],
        ])
    }

    static func ended(_ result: MoverResult, code: Int64 = 0) -> JSONValue {
        ["terminated": ["exitCode": .integer(code), "message": .string(String(decoding: result.text, as: UTF8.self))]]
    }

    @Test("What a pod says at its end is the mover's word, though the Job shows nothing yet")
    func word() throws {
        var result = MoverResult(.partial)
        result.snapshot = "abc"
        result.problems = 2
        let pod = try Self.pod("p", phase: "Succeeded", state: Self.ended(result))
        #expect(MoverStanding(job: try Self.job(), pods: [pod], claim: "c") == .ended(result))
        // Gone with its time to live, and heard all the same.
        #expect(MoverStanding(job: nil, pods: [pod], claim: "c") == .ended(result))
    }

    @Test("What a pod of an earlier Job of its name has said counts for nothing")
    func earlierJob() throws {
        var result = MoverResult(.done)
        result.snapshot = "abc"
        func pod(_ name: String, of uid: String) throws -> KubernetesObject {
            var pod = try Self.pod(name, phase: "Succeeded", state: Self.ended(result))
            pod.ownerReferences = [
                OwnerReference(
                    apiVersion: "batch/v1", kind: "Job", name: "j", uid: uid, isController: true,
                    blocksOwnerDeletion: true)
            ]
            return pod
        }
        let pods = try [pod("old", of: "1"), pod("new", of: "2"), Self.pod("foreign", phase: "Running")]
        #expect(MoverStanding.pods(pods, ofJob: "2").map(\.name) == ["new"])
        #expect(MoverStanding.pods(pods, ofJob: "3").isEmpty)
    }

    @Test("An error that comes again ends it at once; one that may pass is tried again by the Job")
    func errors() throws {
        let key = MoverResult(JourneyError(.wrongKey, kind: "wrong_key", "no"))
        let pod = try Self.pod("p", phase: "Failed", state: Self.ended(key, code: 12))
        #expect(MoverStanding(job: try Self.job(), pods: [pod], claim: "c") == .ended(key))
        let storage = MoverResult(JourneyError(.storageUnreachable, kind: "unreachable", "no route"))
        let passing = try Self.pod("p", phase: "Failed", state: Self.ended(storage, code: 15))
        let job = try Self.job()
        #expect(
            MoverStanding(job: job, pods: [passing], claim: "c") == .waiting("the last pod ended so: no route"))
        let second = try Self.pod("q", phase: "Running", state: ["running": [:]], minute: 1)
        #expect(MoverStanding(job: job, pods: [second, passing], claim: "c") == .running("q"))
        let failed = try Self.job([["type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"]])
        #expect(
            MoverStanding(job: failed, pods: [passing], claim: "c") == .failed("BackoffLimitExceeded: no route"))
    }

    @Test("Of several pods the newest has the last word, in whatever order they are listed")
    func newest() throws {
        let pods = try [(1, "second"), (0, "first")].map { minute, reason in
            let state: JSONValue = ["terminated": ["exitCode": 1, "reason": .string(reason)]]
            return try Self.pod("p\(minute)", phase: "Failed", state: state, minute: minute)
        }
        let standing = MoverStanding(job: try Self.job(), pods: pods, claim: "c")
        #expect(standing == .waiting("the last pod ended so: second (exit code 1)"))
    }

    @Test("A pod that is being deleted is not waited for: the Job makes another")
    func beingDeleted() throws {
        var going = try Self.pod("p", phase: "Running", state: ["running": [:]])
        try going.set("2026-01-01T00:00:00Z", at: ["metadata", "deletionTimestamp"])
        #expect(MoverStanding(job: try Self.job(), pods: [going], claim: "c") == .waiting(""))
        let next = try Self.pod("q", phase: "Running", state: ["running": [:]], minute: 1)
        #expect(MoverStanding(job: try Self.job(), pods: [next, going], claim: "c") == .running("q"))
    }

    @Test("What keeps a pod from beginning is told in the cluster's words")
    func obstacles() throws {
        let job = try Self.job()
        let condition: JSONValue = [
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available",
        ]
        let pending = try Self.pod("p", phase: "Pending", conditions: [condition])
        #expect(
            MoverStanding(job: job, pods: [pending], claim: "c") == .waiting("Unschedulable: 0/3 nodes are available"))
        let pulling = try Self.pod(
            "p", phase: "Pending", state: ["waiting": ["reason": "ErrImagePull", "message": "no such image"]])
        #expect(MoverStanding(job: job, pods: [pulling], claim: "c") == .waiting("ErrImagePull: no such image"))
        let ordinary = try Self.pod("p", phase: "Pending", state: ["waiting": ["reason": "ContainerCreating"]])
        #expect(MoverStanding(job: job, pods: [ordinary], claim: "c") == .waiting(""))
        #expect(MoverStanding(job: job, pods: [], claim: "c") == .waiting(""))
    }

    @Test("A pod that dies without a word is told by how it died; a Job that is gone is a failure")
    func silence() throws {
        let killed = try Self.pod(
            "p", phase: "Failed",
            state: ["terminated": ["exitCode": 137, "reason": "OOMKilled", "message": "line\nlast line"]])
        #expect(
            MoverStanding(job: nil, pods: [killed], claim: "c")
                == .failed("its Job was deleted; OOMKilled (exit code 137): last line"))
        let foreign = try Self.pod("p", phase: "Succeeded", state: ["terminated": ["exitCode": 0, "message": "hello"]])
        guard case .failed = MoverStanding(job: try Self.job(), pods: [foreign], claim: "c") else {
            Issue.record("a pod that says nothing of ours is no success")
            return
        }
    }

    @Test("A last word comes back as it was, and is never longer than the kubelet takes")
    func length() throws {
        var result = MoverResult(.failed)
        result.kind = "failed"
        result.error = "a\nb"
        result.verified = 7
        result.checkpoint = SeenCheckpoint(
            claim: "c", path: "x/step-5", format: "torch", step: 5, modified: Timestamp(nanoseconds: 9))
        #expect(MoverResult(parsing: String(decoding: result.text, as: UTF8.self), claim: "c") == result)
        result.remarks = (0..<20).map { "\($0) " + String(repeating: "é", count: 400) }
        result.error = String(repeating: "\u{1}", count: 9000)
        let text = result.text
        #expect(text.count <= MoverResult.maximumBytes)
        let read = try #require(MoverResult(parsing: String(decoding: text, as: UTF8.self), claim: "c"))
        #expect(read.status == .failed && !read.error.isEmpty)
        #expect(MoverResult(parsing: "{}", claim: "c") == nil && MoverResult(parsing: "", claim: "c") == nil)
    }

    @Test("A copy of a claim is as large as its snapshot needs, in its class, and belongs to the run")
    func copies() throws {
        let claim = try KubernetesObject([
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": ["name": "data", "namespace": "n"],
            "spec": ["storageClassName": "fast", "resources": ["requests": ["storage": "1Gi"]]],
            "status": ["capacity": ["storage": "2Gi"]],
        ])
        let cut = ClaimSnapshots.Cut(claim: claim, name: "becalm-r-data")
        for (size, expected) in [("1Gi", "2Gi"), ("3Gi", "3Gi")] {
            let snapshot = try KubernetesObject([
                "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "metadata": ["name": "s"],
                "status": ["restoreSize": .string(size)],
            ])
            let copy = ClaimSnapshots.copy(of: cut, snapshot: snapshot, run: "r")
            #expect(copy["spec", "resources", "requests", "storage"]?.string == expected)
            #expect(copy["spec", "dataSource", "name"] == "becalm-r-data" && copy["spec", "storageClassName"] == "fast")
            #expect(copy.labels[BecalmAnnotation.run] == "r" && copy.namespace == "n")
        }
    }
}
