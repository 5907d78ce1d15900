import Basics
import Kubernetes
import KubernetesTesting
import Testing
import Workloads

/// What a journal is good for when objects, annotations, kinds or holders change behind it.
@Suite("The journal", .timeLimit(.minutes(5)))
struct JournalTests {
    private static let quiesced = "becalm.io/quiesced"

    private static func options(_ holder: String) -> QuiesceOptions {
        var options = QuiesceOptions(holder: holder)
        options.isManual = true
        options.deadlineSeconds = 100
        options.stopSeconds = 20
        options.settleSeconds = 0
        return options
    }

    @discardableResult
    private static func quiesce(
        _ cluster: FakeCluster, _ reference: WorkloadReference, _ holder: String = "tester"
    ) async throws -> QuiesceRecord {
        let client = cluster.client
        let live = try await WorkloadFinder(client).find(reference)
        return try await Quiescer(client, options: options(holder)).quiesce(live)
    }

    private static func resume(
        _ cluster: FakeCluster, _ reference: WorkloadReference, _ holder: String = "another"
    ) async throws -> Resumer.Resumption {
        try await Resumer(cluster.client, holder: holder).resume(reference)
    }

    /// A world of `QuiescerTests` whose controllers do `body` after each write, too.
    private static func world(
        _ name: String, _ body: @escaping @Sendable (inout ClusterState, _ journal: KubernetesObject) -> Void
    ) throws -> (cluster: FakeCluster, reference: WorkloadReference) {
        let (plain, reference) = try QuiescerTests.world(name)
        let cluster = try FakeCluster { state in
            WorkloadControllers.run(&state)
            if let lease = state.objects.values.first(where: { $0.kind == "Lease" }) { body(&state, lease) }
        }
        for object in plain.read({ Array($0.objects.values) }) { cluster.put(object) }
        return (cluster, reference)
    }

    private static func step(_ journal: KubernetesObject) -> String? { journal.annotations["becalm.io/step"] }

    /// Does what `kubectl replace` does with an annotation that the user's file does not have.
    private static func removeAnnotations(_ cluster: FakeCluster) {
        for var object in cluster.read({ Array($0.objects.values) }) where object.annotations[quiesced] != nil {
            object.setAnnotation(quiesced, nil)
            if object.annotations.isEmpty { object.remove(at: ["metadata", "annotations"]) }
            cluster.put(object)
        }
    }

    private static func set(_ value: JSONValue, at path: JSONPath, _ kind: String, _ cluster: FakeCluster) throws {
        var object = try #require(cluster.get(kind, "w"))
        try object.set(value, at: path)
        cluster.put(object)
    }

    // MARK: Annotations that are gone

    @Test(
        "A workload whose annotation somebody removed is let go by what the journal says, and that is told",
        arguments: QuiescerTests.kinds.filter { $0 != "llm-d" })
    func removed(_ name: String) async throws {
        for isTakenOver in [false, true] {
            let (cluster, reference) = try QuiescerTests.world(name)
            let before = QuiescerTests.specs(cluster)
            try await Self.quiesce(cluster, reference)
            Self.removeAnnotations(cluster)
            if isTakenOver {
                // The next one must not take what is stopped for what was.
                cluster.wait(seconds: 101)
                try await Self.quiesce(cluster, reference, "next")
                Self.removeAnnotations(cluster)
            }
            let resumption = try await Self.resume(cluster, reference)
            #expect(QuiescerTests.specs(cluster) == before, "\(name) \(isTakenOver)")
            #expect(resumption.remarks.contains { $0.contains("removed its annotation") }, "\(resumption.remarks)")
            #expect(cluster.all("Lease").isEmpty)
            if name == "volcano" { #expect(cluster.get("Job", "w")?["status", "state", "phase"] == "Running") }
        }
    }

    @Test("What a user changed after the annotation was removed stays, and is told")
    func removedAndChanged() async throws {
        let (cluster, reference) = try QuiescerTests.world("deployment")
        try await Self.quiesce(cluster, reference)
        Self.removeAnnotations(cluster)
        try Self.set(7, at: ["spec", "replicas"], "Deployment", cluster)
        let resumption = try await Self.resume(cluster, reference)
        #expect(cluster.get("Deployment", "w")?["spec", "replicas"] == 7)
        #expect(resumption.remarks.count == 1 && resumption.remarks[0].contains("/spec/replicas was changed"))
    }

    @Test("The journal has what a field was when it was set, though that changed after it was first noted")
    func lateChange() async throws {
        let (cluster, reference) = try Self.world("deployment") { state, journal in
            guard Self.step(journal) == "stopping", var object = state.objects.values.first(where: { $0.name == "w" }),
                object["spec", "replicas"] == 3
            else { return }
            try? object.set(5, at: ["spec", "replicas"])
            state.store(object)
        }
        try await Self.quiesce(cluster, reference)
        Self.removeAnnotations(cluster)
        _ = try await Self.resume(cluster, reference)
        #expect(cluster.get("Deployment", "w")?["spec", "replicas"] == 5)
    }

    @Test("What is back is its user's again, though the rest of the workload is not back yet")
    func restoredOnce() async throws {
        let (cluster, reference) = try QuiescerTests.world("cronjob")
        try await Self.quiesce(cluster, reference)
        cluster.refuse { $0.method == "PUT" && $0.path.hasSuffix("/jobs/w-1") ? 403 : nil }
        await #expect(throws: (any Error).self) { try await Self.resume(cluster, reference) }
        #expect(cluster.get("CronJob", "w")?["spec", "suspend"] != true)
        try Self.set(true, at: ["spec", "suspend"], "CronJob", cluster)
        cluster.refuse { _ in nil }
        cluster.wait(seconds: 101)
        let resumption = try await Self.resume(cluster, reference)
        #expect(cluster.get("CronJob", "w")?["spec", "suspend"] == true)
        #expect(cluster.get("Job", "w-1")?["spec", "suspend"] == false)
        #expect(resumption.remarks.isEmpty)
    }

    @Test("What a user sets while nobody is at work is what the next one puts back")
    func changedBetween() async throws {
        let (cluster, reference) = try QuiescerTests.world("deployment")
        try await Self.quiesce(cluster, reference)
        try Self.set(5, at: ["spec", "replicas"], "Deployment", cluster)
        cluster.wait(seconds: 101)
        try await Self.quiesce(cluster, reference, "next")
        #expect(cluster.get("Deployment", "w")?["spec", "replicas"] == 0)
        _ = try await Self.resume(cluster, reference)
        #expect(cluster.get("Deployment", "w")?["spec", "replicas"] == 5)
    }

    // MARK: Objects and kinds that are gone

    @Test("What a dead holder stopped and somebody made anew keeps nobody from stopping it")
    func madeAnew() async throws {
        let (cluster, reference) = try QuiescerTests.world("kueue")
        try await Self.quiesce(cluster, reference)
        cluster.wait(seconds: 101)
        var workload = try #require(cluster.get("Workload", "pytorchjob-w-1"))
        cluster.remove(workload)
        workload.setAnnotation(Self.quiesced, nil)
        workload.uid = "u-k2"
        try workload.set(true, at: ["spec", "active"])
        cluster.put(workload)
        try await Self.quiesce(cluster, reference, "next")
        let targets = try #require(cluster.all("Lease").first?.annotations["becalm.io/targets"])
        #expect(targets.contains("u-k2") && !targets.contains(#""u-k""#))
        #expect(cluster.get("Workload", "pytorchjob-w-1")?["spec", "active"] == false)
        _ = try await Self.resume(cluster, reference)
        #expect(cluster.get("Workload", "pytorchjob-w-1")?["spec", "active"] == true)
    }

    @Test(
        "A Job that goes before it is stopped does not keep its CronJob from being stopped; a workload that goes does")
    func goneMeanwhile() async throws {
        for name in ["w-1", "w"] {
            let (cluster, reference) = try Self.world("cronjob") { state, journal in
                guard Self.step(journal) == "stopping",
                    let job = state.objects.values.first(where: { $0.name == name })
                else { return }
                state.delete(job)
            }
            if name == "w" {
                await #expect(throws: WorkloadError.self) { try await Self.quiesce(cluster, reference) }
                #expect(cluster.get("Job", "w-1")?["spec", "suspend"] == false)
                continue
            }
            try await Self.quiesce(cluster, reference)
            #expect(cluster.get("CronJob", "w")?["spec", "suspend"] == true)
            _ = try await Self.resume(cluster, reference)
            #expect(cluster.all("Lease").isEmpty)
        }
    }

    @Test("A kind that is not served for a while keeps the journal; one whose definition is gone does not")
    func unservedKind() async throws {
        let definitions = ClusterKind(
            "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", isNamespaced: false)
        let kueue = try #require(ClusterKind.workloads.first { $0.kind == "Workload" })
        let (cluster, reference) = try QuiescerTests.world("kueue")
        let before = QuiescerTests.specs(cluster)
        try await Self.quiesce(cluster, reference)
        let definition = try Fixtures.object(
            """
            apiVersion: apiextensions.k8s.io/v1
            kind: CustomResourceDefinition
            metadata: {name: workloads.kueue.x-k8s.io}
            """
        )
        cluster.change { state in
            state.kinds.removeAll { $0.kind == "Workload" }
            state.kinds.append(definitions)
        }
        cluster.put(definition)
        for _ in 1...2 {
            let error = await #expect(throws: QuiesceError.self) { try await Self.resume(cluster, reference) }
            #expect(error?.code == .notServed)
            #expect(error?.message.contains("Workload ml/pytorchjob-w-1") == true, "\(String(describing: error))")
            #expect(cluster.all("Lease").count == 1)
            cluster.wait(seconds: 101)
        }
        // Who may not see definitions does not know.
        cluster.forbid("get customresourcedefinitions")
        cluster.wait(seconds: 101)
        let sweep = try await Resumer(cluster.client, holder: "sweep").resumeExpired(namespace: "")
        #expect(sweep.failed.count == 1 && sweep.resumed.isEmpty && cluster.all("Lease").count == 1)
        cluster.change { state in
            state.forbidden = []
            state.kinds.append(kueue)
        }
        cluster.wait(seconds: 101)
        _ = try await Self.resume(cluster, reference)
        #expect(QuiescerTests.specs(cluster) == before && cluster.all("Lease").isEmpty)

        try await Self.quiesce(cluster, reference)
        cluster.remove(definition)
        cluster.change { state in state.kinds.removeAll { $0.kind == "Workload" } }
        let resumption = try await Self.resume(cluster, reference)
        #expect(resumption.remarks.contains { $0.contains("was deleted") } && cluster.all("Lease").isEmpty)
    }

    // MARK: Holders

    @Test("Who loses the journal while he lets a workload go starts nothing that another one holds")
    func lostWhileResuming() async throws {
        let (cluster, reference) = try Self.world("cronjob") { state, journal in
            guard Self.step(journal) == "resuming", journal["spec", "holderIdentity"] == "late" else { return }
            var journal = journal
            try? journal.set("next", at: ["spec", "holderIdentity"])
            state.store(journal)
        }
        try await Self.quiesce(cluster, reference)
        let stopped = QuiescerTests.specs(cluster)
        let error = await #expect(throws: QuiesceError.self) { try await Self.resume(cluster, reference, "late") }
        #expect(error?.code == .lost)
        #expect(QuiescerTests.specs(cluster) == stopped)
    }

    @Test("Who quiesces again what he holds by hand moves its deadline on, and nothing is asked or changed")
    func extended() async throws {
        let (cluster, reference) = try QuiescerTests.world("deployment")
        try await Self.quiesce(cluster, reference)
        let client = cluster.client
        let live = try await WorkloadFinder(client).find(reference)
        let journal = QuiesceJournal(client, of: live.reference)
        let first = try #require(try await journal.read().entry?.deadline)
        let stopped = QuiescerTests.specs(cluster)
        func extend(
            _ holder: String, _ seconds: Double, _ consistency: QuiescePolicy.Consistency = .pause
        ) async throws -> QuiesceJournal.Entry? {
            try await journal.extend(live, holder: holder, consistency: consistency, deadlineSeconds: seconds)
        }
        #expect(try await extend("tester", 10)?.deadline == first)
        #expect(try await extend("other", 1000) == nil)
        let busy = await #expect(throws: QuiesceError.self) { try await extend("tester", 1000, .checkpoint) }
        #expect(busy?.code == .busy)
        let later = try #require(try await extend("tester", 1000))
        #expect(later.deadline.map { $0 - first > 800 } == true && later.lease.end >= first)
        // The lease lasts as long.
        cluster.wait(seconds: 500)
        let sweep = try await Resumer(client, holder: "sweep").resumeExpired(namespace: "")
        #expect(sweep.left.count == 1 && sweep.resumed.isEmpty)
        #expect(try await extend("tester", 10, .stop).map { $0.deadline == nil } == true)
        #expect(QuiescerTests.specs(cluster) == stopped)
        // One that runs again is to be brought to a standstill again.
        try Self.set(1, at: ["spec", "replicas"], "Deployment", cluster)
        #expect(try await extend("tester", 1000) == nil)
    }
}
