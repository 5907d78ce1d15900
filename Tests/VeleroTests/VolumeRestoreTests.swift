import Basics
import Foundation
import HTTPTestServer
import HTTPTransport
import Kubernetes
import KubernetesTesting
import ObjectStorageTesting
import Orchestration
import SystemPackage
import Testing
import Velero
import Workloads

/// Claims that the plugin restores and whose data its Jobs bring back, as `VolumeMoverTests` has them stored.
@Suite(
    "Volumes that movers bring back",
    .enabled(if: ServerProcess.find("moto_server") != nil, "needs moto_server on the PATH"), .serialized,
    .timeLimit(.minutes(10)))
struct VolumeRestoreTests {
    @Test("A claim's data is brought back into the namespace that it is restored to, and what waited for it is let go")
    func restores() async throws {
        let world = try await VolumeMoverWorld()
        let place = try await world.stored()
        var stored = try VolumeMoverWorld.claim()
        stored.setAnnotation("becalm.io/volume-snapshot", place)
        let restore = Array(
            #"{"metadata":{"name":"r","namespace":"velero","uid":"r-1"},"spec":{"backupName":"b","namespaceMapping":{"ml":"new"}}}"#
                .utf8)
        let process = world.process(.volumeRestore)
        let outcome = try await process.restoreAction(.volumeRestore).execute(
            item: stored.serialized(), original: stored.serialized(), restore: restore)
        let operation = try #require(outcome.operation)
        var made = try KubernetesObject(parsing: outcome.item)
        #expect(made["spec", "volumeName"] == nil && made.annotations["becalm.io/volume-snapshot"] == nil)
        #expect(made.annotations["becalm.io/restoring"] == place)
        let mover = try #require(world.api.all("Job").first)
        let id = String(place.split(separator: ":")[2])
        #expect(mover.namespace == "new")
        #expect(mover["spec", "template", "spec", "containers", 0, "args"]?.array?.contains(.string(id)) == true)

        made.namespace = "new"
        world.api.put(made)
        var job = try ActionWorld.object(BackupActionTests.job)
        job.namespace = "new"
        var held = try #require(WorkloadCatalog.standard.workload(job))
        #expect(try held.gate() == nil && held.object["spec", "suspend"] == true)
        world.api.put(held.object)
        var pod = try ActionWorld.object("{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: new}}")
        pod.setLabel("becalm.io/run", mover.labels["becalm.io/run"])
        let ended = VolumeMoverWorld.ended(#"{"status":0,"snapshot":"\#(id)","files":2,"bytes":10,"problems":0}"#)
        try pod.set(try JSONValue(yaml: ended), at: ["status"])
        world.api.put(pod)
        let status = try await world.process(.volumeRestore).restoreAction(.volumeRestore)
            .progress(operation: operation, restore: restore)
        #expect(status.outcome == .succeeded, "\(status)")
        let claim = try #require(world.api.all("PersistentVolumeClaim").first)
        #expect(claim.annotations["becalm.io/restoring"] == nil)
        let free = try #require(world.api.all("Job").first { $0.name == "run42" })
        #expect(free["spec", "suspend"] != true && free.annotations["becalm.io/gated"] == nil)
    }

    @Test("A claim that is there already keeps its data: no Job is begun for it")
    func keepsData() async throws {
        let world = try await VolumeMoverWorld()
        world.api.put(try VolumeMoverWorld.claim())
        var stored = try VolumeMoverWorld.claim()
        let repository = String(repeating: "4", count: 32)
        stored.setAnnotation("becalm.io/volume-snapshot", "becalm1:\(repository):\(VolumeMoverWorld.snapshot):d1")
        let process = world.process(.volumeRestore)
        let outcome = try await process.restoreAction(.volumeRestore).execute(
            item: stored.serialized(), original: stored.serialized(), restore: Array(ActionWorld.restore.utf8))
        #expect(outcome.operation == nil && world.api.all("Job").isEmpty)
        #expect(process.log.lines.contains { $0.hasPrefix("warning") && $0.contains("keeps the data") })
    }

    // MARK: Claims whose volume is made for the first pod

    private static let restore = Array(
        #"{"metadata":{"name":"r","namespace":"velero","uid":"r-1"},"spec":{"backupName":"b"}}"#.utf8)

    /// A cluster with classes of both kinds, and what the restore of the claim `ckpt` in the class answers.
    private func late(
        class name: String?, _ prepare: (VolumeMoverWorld) -> Void = { _ in }
    ) async throws -> (world: VolumeMoverWorld, operation: String, claim: KubernetesObject) {
        let world = try await VolumeMoverWorld()
        world.api.change { $0.kinds += ClusterKind.movers.filter { $0.kind == "StorageClass" } }
        for (name, mode) in [("late", "WaitForFirstConsumer"), ("soon", "Immediate")] {
            world.api.put(
                try ActionWorld.object(
                    """
                    {apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: \(name)}, volumeBindingMode: \(mode)}
                    """))
        }
        prepare(world)
        var stored = try VolumeMoverWorld.claim()
        try stored.set(name.map { JSONValue.string($0) } ?? .null, at: ["spec", "storageClassName"])
        stored.setAnnotation("becalm.io/volume-snapshot", try await world.stored())
        let outcome = try await world.process(.volumeRestore).restoreAction(.volumeRestore).execute(
            item: stored.serialized(), original: stored.serialized(), restore: Self.restore)
        let claim = try KubernetesObject(parsing: outcome.item)
        return (world, try #require(outcome.operation), claim)
    }

    private func progress(_ world: VolumeMoverWorld, _ operation: String) async throws -> OperationStatus {
        try await world.process(.volumeRestore).restoreAction(.volumeRestore)
            .progress(operation: operation, restore: Self.restore)
    }

    private static let begins = "becalm.io/restore-begins"

    /// Claims that a mover's pods name.
    private static func claims(_ job: KubernetesObject) -> [String] {
        (job["spec", "template", "spec", "volumes"]?.array ?? [])
            .compactMap { $0["persistentVolumeClaim", "claimName"]?.string }
    }

    /// Gives claims their volumes, as the cluster does once a pod is scheduled with them.
    private func bind(_ names: [String], _ world: VolumeMoverWorld) throws {
        for name in names {
            var claim = try #require(world.api.get("PersistentVolumeClaim", name, namespace: "ml"))
            try claim.set(.string("pv-\(name)"), at: ["spec", "volumeName"])
            world.api.put(claim)
        }
    }

    /// A StatefulSet that is held, whose pod has the claims `ckpt` and `logs`.
    private func putPair(_ world: VolumeMoverWorld, _ claim: KubernetesObject) throws {
        world.api.put(claim)
        for text in [
            """
            {apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: logs, namespace: ml}, spec: {storageClassName: late}}
            """,
            """
            {apiVersion: batch/v1, kind: Job, metadata: {name: run42, namespace: ml}, spec: {suspend: true, template: {spec: {
             containers: [{name: t, image: t}], volumes: [
             {name: a, persistentVolumeClaim: {claimName: ckpt}}, {name: b, persistentVolumeClaim: {claimName: logs}}]}}}}
            """,
        ] { world.api.put(try ActionWorld.object(text)) }
    }

    @Test("Where volumes cannot be made together, each is made by itself, with a warning")
    func apart() async throws {
        let (world, operation, claim) = try await late(class: "late")
        try putPair(world, claim)
        #expect(try await progress(world, operation).outcome == .running)
        var binder = try #require(world.api.all("Job").first { $0.name != "run42" })
        try binder.set(
            [["type": "Failed", "status": "True", "reason": "DeadlineExceeded"]], at: ["status", "conditions"])
        world.api.put(binder)
        let process = world.process(.volumeRestore)
        let status = try await process.restoreAction(.volumeRestore)
            .progress(operation: operation, restore: Self.restore)
        #expect(status.outcome == .running && world.api.all("Secret").count == 1)
        #expect(process.log.lines.contains { $0.hasPrefix("warning") && $0.contains("DeadlineExceeded") })
        #expect(world.api.get("PersistentVolumeClaim", "ckpt", namespace: "ml")?.annotations[Self.begins] == nil)
    }

    @Test("A claim that a pod has already is filled beside it")
    func beside() async throws {
        let (world, operation, claim) = try await late(class: "late")
        try putPair(world, claim)
        try bind(["ckpt", "logs"], world)
        world.api.put(
            try ActionWorld.object(
                """
                {apiVersion: v1, kind: Pod, metadata: {name: run42-x, namespace: ml}, spec: {nodeName: n7, volumes: [
                 {name: a, persistentVolumeClaim: {claimName: ckpt}}], containers: []}, status: {phase: Running}}
                """))
        #expect(try await progress(world, operation).outcome == .running)
        let mover = try #require(world.api.all("Job").first { $0.name != "run42" })
        let affinity = mover["spec", "template", "spec", "affinity", "nodeAffinity"]
        #expect("\(affinity ?? .null)".contains("n7"))
    }

    @Test(
        "A second restore of the same data takes over a claim that the first one has left, and the first begins nothing"
    )
    func second() async throws {
        let (world, operation, claim) = try await late(class: "late")
        world.api.put(claim)
        var stored = try VolumeMoverWorld.claim()
        try stored.set("late", at: ["spec", "storageClassName"])
        stored.setAnnotation("becalm.io/volume-snapshot", claim.annotations["becalm.io/restoring"])
        let restore = Array(
            #"{"metadata":{"name":"r2","namespace":"velero","uid":"r-2"},"spec":{"backupName":"b"}}"#.utf8)
        let outcome = try await world.process(.volumeRestore).restoreAction(.volumeRestore).execute(
            item: stored.serialized(), original: stored.serialized(), restore: restore)
        #expect(world.api.all("Job").isEmpty)
        guard case .failed = try await progress(world, operation).outcome else {
            Issue.record("the first one goes on")
            return
        }
        #expect(world.api.all("Job").isEmpty)
        let action = try world.process(.volumeRestore).restoreAction(.volumeRestore)
        let status = try await action.progress(operation: try #require(outcome.operation), restore: restore)
        #expect(status.outcome == .running && world.api.all("Job").count == 1)
    }

    @Test("What no place in a quota is left for is begun when there is one")
    func quota() async throws {
        let (world, operation, claim) = try await late(class: "late")
        world.api.put(claim)
        world.api.refuse(why: "exceeded quota: jobs") { $0.method == "POST" && $0.path.hasSuffix("/jobs") ? 403 : nil }
        let status = try await progress(world, operation)
        #expect(status.outcome == .running && status.description.contains("exceeded quota"), "\(status)")
        world.api.refuse { _ in nil }
        #expect(try await progress(world, operation).outcome == .running)
        #expect(world.api.all("Job").count == 1)
    }

    @Test("Settings with which no mover can work are told before a claim is made")
    func unreachable() async throws {
        let world = try await VolumeMoverWorld()
        var stored = try VolumeMoverWorld.claim()
        try stored.set(.null, at: ["spec", "storageClassName"])
        stored.setAnnotation("becalm.io/volume-snapshot", try await world.stored())
        let action = try world.process(.volumeRestore, ["credentialsFile": world.path("none")])
            .restoreAction(.volumeRestore)
        let item = stored.serialized()
        await #expect(throws: VeleroError.self) {
            try await action.execute(item: item, original: item, restore: Self.restore)
        }
    }

    @Test("Where a class waits for the first pod, the mover begins with all claims of the workload's pods, and as they")
    func together() async throws {
        let (world, operation, claim) = try await late(class: "late")
        #expect(world.api.all("Job").isEmpty && world.api.all("Lease").isEmpty && world.api.all("Secret").isEmpty)
        #expect(claim.annotations[Self.begins] != nil)
        world.api.put(claim)
        for text in [
            "{name: logs, namespace: ml}, spec: {storageClassName: late}",
            "{name: bound, namespace: ml}, spec: {storageClassName: late, volumeName: pv-2}",
            "{name: ready, namespace: ml}, spec: {storageClassName: soon}",
            "{name: others, namespace: ml}, spec: {storageClassName: late}",
        ] {
            world.api.put(
                try ActionWorld.object("{apiVersion: v1, kind: PersistentVolumeClaim, metadata: \(text)}"))
        }
        var job = try ActionWorld.object(
            """
            apiVersion: batch/v1
            kind: Job
            metadata: {name: run42, namespace: ml, annotations: {becalm.io/gated: "true"}}
            spec:
              suspend: true
              template:
                spec:
                  nodeSelector: {gpu: h100}
                  tolerations: [{key: gpu, operator: Exists}]
                  containers: [{name: t, image: t, resources: {limits: {nvidia.com/gpu: 8, cpu: 1}}}]
                  volumes:
                  - {name: a, persistentVolumeClaim: {claimName: ckpt}}
                  - {name: b, persistentVolumeClaim: {claimName: logs}}
                  - {name: c, persistentVolumeClaim: {claimName: bound}}
                  - {name: d, persistentVolumeClaim: {claimName: ready}}
                  - {name: e, persistentVolumeClaim: {claimName: gone}}
            """)
        job.uid = "j-1"
        world.api.put(job)
        for _ in 0..<2 {
            let status = try await progress(world, operation)
            #expect(
                status.outcome == .running && status.description.contains("made together: bound, ckpt, logs, ready"))
            #expect(world.api.all("Job").count == 2 && world.api.all("Secret").isEmpty)
            #expect(world.api.get("PersistentVolumeClaim", "ckpt", namespace: "ml")?.annotations[Self.begins] != nil)
        }
        let binder = try #require(world.api.all("Job").first { $0.name != "run42" })
        #expect(Self.claims(binder).sorted() == ["bound", "ckpt", "logs", "ready"])
        let container = try #require(binder["spec", "template", "spec", "containers", 0])
        #expect(container["volumeMounts"]?.array?.contains { $0["name"] == "volume" } == false)
        #expect(binder["spec", "activeDeadlineSeconds"] == 600)
        #expect(binder["spec", "template", "spec", "nodeSelector"] == ["gpu": "h100"])
        try bind(["ckpt", "logs", "ready"], world)
        for _ in 0..<2 {
            #expect(try await progress(world, operation).outcome == .running)
            #expect(world.api.all("Job").count == 2 && world.api.all("Secret").count == 1)
            #expect(world.api.get("PersistentVolumeClaim", "ckpt", namespace: "ml")?.annotations[Self.begins] == nil)
        }
        let mover = try #require(world.api.all("Job").first { $0.name != "run42" })
        #expect(mover.name != binder.name && Self.claims(mover) == ["ckpt"])
        let spec = try #require(mover["spec", "template", "spec"])
        #expect(spec["nodeSelector"] == ["gpu": "h100"])
        let tolerated = (spec["tolerations"]?.array ?? []).compactMap { $0["key"]?.string }
        #expect(tolerated == ["gpu", "nvidia.com/gpu"])
        let id = try #require(claim.annotations["becalm.io/restoring"]).split(separator: ":")[2]
        try world.pod(
            VolumeMoverWorld.ended(#"{"status":0,"snapshot":"\#(id)","files":2,"bytes":10,"problems":0}"#), of: mover)
        #expect(try await progress(world, operation).outcome == .succeeded)
        #expect(
            world.api.get("PersistentVolumeClaim", "ckpt", namespace: "ml")?.annotations["becalm.io/restoring"] == nil)
    }

    @Test(
        "A class that makes volumes at once has the mover begin at once; one that is not named or may not be read does not"
    )
    func classes() async throws {
        let (world, _, claim) = try await late(class: "soon")
        #expect(world.api.all("Job").count == 1 && claim.annotations[Self.begins] == nil)
        let unnamed = try await late(class: nil)
        #expect(unnamed.world.api.all("Job").isEmpty && unnamed.claim.annotations[Self.begins] != nil)
        let hidden = try await late(class: "soon") { $0.api.forbid("get storageclasses") }
        #expect(hidden.world.api.all("Job").isEmpty && hidden.claim.annotations[Self.begins] != nil)
        // It begins even where nothing of the workload is there, and where none of it may be listed.
        hidden.world.api.forbid("list jobs.batch")
        hidden.world.api.put(hidden.claim)
        #expect(try await progress(hidden.world, hidden.operation).outcome == .running)
        #expect(hidden.world.api.all("Job").count == 1)
    }

    @Test("What is cancelled before it begins never does")
    func cancelledEarly() async throws {
        let (world, operation, claim) = try await late(class: "late")
        world.api.put(claim)
        try await world.process(.volumeRestore).restoreAction(.volumeRestore)
            .cancel(operation: operation, restore: Self.restore)
        guard case .failed = try await progress(world, operation).outcome else {
            Issue.record("it goes on")
            return
        }
        #expect(world.api.all("Job").isEmpty && world.api.all("Lease").isEmpty)
    }

    @Test("A call that ends in the middle of beginning is gone on with by the next one")
    func interrupted() async throws {
        let (world, operation, claim) = try await late(class: "late")
        world.api.put(claim)
        for verb in ["PATCH", "POST"] {
            world.api.refuse { $0.method == verb ? 503 : nil }
            #expect(try await progress(world, operation).outcome == .running)
        }
        world.api.refuse { _ in nil }
        #expect(try await progress(world, operation).outcome == .running)
        #expect(
            world.api.all("Job").count == 1 && world.api.all("Secret").count == 1 && world.api.all("Lease").count == 1)
        #expect(world.api.get("PersistentVolumeClaim", "ckpt", namespace: "ml")?.annotations[Self.begins] == nil)
        world.api.forbid("get persistentvolumeclaims")
        guard case .failed(let why) = try await progress(world, operation).outcome else {
            Issue.record("it goes on")
            return
        }
        #expect(why.contains("persistentvolumeclaims"))
    }

    @Test("What does not get its data stays held, which the operation says; nothing is said where nothing waits")
    func stillHeld() async throws {
        let (world, operation, claim) = try await late(class: "late")
        world.api.put(claim)
        func failure() async throws -> String {
            world.api.forbid("create jobs")
            let status = try await self.progress(world, operation)
            return if case .failed(let why) = status.outcome { why } else { "" }
        }
        let alone = try await failure()
        #expect(!alone.isEmpty && !alone.contains("stays held"), "\(alone)")
        var held = try #require(WorkloadCatalog.standard.workload(try ActionWorld.object(BackupActionTests.job)))
        #expect(try held.gate() == nil)
        world.api.put(held.object)
        let why = try await failure()
        #expect(
            why.contains("; ml/jobs.batch/run42 stays held: ") && why.contains("resume --restored --force"), "\(why)")
    }

    @Test(
        "A mover that is begun while somebody takes the claim as it is ends at once", arguments: ["late", "soon"])
    func taken(class name: String) async throws {
        let (world, operation, claim) = try await late(class: name)
        var free = claim
        RestoredObject.carryMarks(&free)
        let taken = free
        if name == "late" {
            world.api.put(claim)
            world.api.onJob { _ in [taken] }
            _ = try await progress(world, operation)
            #expect(world.api.all("Job").isEmpty && world.api.all("Secret").isEmpty)
            guard case .failed = try await progress(world, operation).outcome else {
                Issue.record("it goes on")
                return
            }
        } else {
            for job in world.api.all("Job") { world.api.remove(job) }
            world.api.put(claim)
            world.api.onJob { _ in [taken] }
            var stored = try VolumeMoverWorld.claim()
            try stored.set("soon", at: ["spec", "storageClassName"])
            stored.setAnnotation("becalm.io/volume-snapshot", claim.annotations["becalm.io/restoring"])
            let restore = Array(
                #"{"metadata":{"name":"r2","namespace":"velero","uid":"r-2"},"spec":{"backupName":"b"}}"#.utf8)
            await #expect(throws: VeleroError.self) {
                _ = try await world.process(.volumeRestore).restoreAction(.volumeRestore).execute(
                    item: stored.serialized(), original: stored.serialized(), restore: restore)
            }
            #expect(world.api.all("Job").isEmpty)
        }
        let after = try #require(world.api.get("PersistentVolumeClaim", "ckpt", namespace: "ml"))
        #expect(
            after.annotations[RestoredObject.incomplete] != nil && after.annotations[RestoredObject.restoring] == nil)
    }

    @Test(
        "What was not whole when it was stored is not whole when it comes back; what is there keeps what it says of itself"
    )
    func storedMarks() async throws {
        let world = try await VolumeMoverWorld()
        var stored = try VolumeMoverWorld.claim()
        stored.setAnnotation(RestoredObject.restoring, "x")
        stored.setAnnotation(RestoredObject.restoreBegins, "y")
        func execute(_ stored: KubernetesObject) async throws -> (RestoreItemOutcome, [String: String], ActionWorld) {
            let process = world.process(.volumeRestore)
            let outcome = try await process.restoreAction(.volumeRestore).execute(
                item: stored.serialized(), original: stored.serialized(), restore: Self.restore)
            let marks = try KubernetesObject(parsing: outcome.item).annotations.filter {
                [
                    RestoredObject.restoring, RestoredObject.restoreBegins, RestoredObject.incomplete,
                    "becalm.io/volume-snapshot",
                ]
                .contains($0.key)
            }
            return (outcome, marks, process)
        }
        let (outcome, marks, process) = try await execute(stored)
        #expect(outcome.operation == nil && marks == [RestoredObject.incomplete: "x"])
        #expect(process.log.lines.contains { $0.hasPrefix("warning") && $0.contains("is not known to be whole") })
        // Its own data is brought back, and is what it was.
        stored.setAnnotation("becalm.io/volume-snapshot", try await world.stored())
        let (moved, both, _) = try await execute(stored)
        #expect(
            moved.operation != nil && both[RestoredObject.incomplete] == "x" && both[RestoredObject.restoring] != nil)
        // A restore that updates what is there writes what is so there.
        world.api.put(try VolumeMoverWorld.claim())
        #expect(try await execute(stored).1.isEmpty)
        stored.setAnnotation("becalm.io/volume-snapshot", nil)
        #expect(try await execute(stored).1.isEmpty)
    }

    @Test("A claim into which a mover of another restore still writes is not whole, and lets nothing go")
    func twoMovers() async throws {
        let world = try await VolumeMoverWorld()
        let place = try await world.stored()
        var stored = try VolumeMoverWorld.claim()
        stored.setAnnotation("becalm.io/volume-snapshot", place)
        let outcome = try await world.process(.volumeRestore).restoreAction(.volumeRestore).execute(
            item: stored.serialized(), original: stored.serialized(), restore: Self.restore)
        let operation = try #require(outcome.operation)
        world.api.put(try KubernetesObject(parsing: outcome.item))
        let first = try #require(world.api.all("Job").first)
        var held = try #require(WorkloadCatalog.standard.workload(try ActionWorld.object(BackupActionTests.job)))
        #expect(try held.gate() == nil)
        world.api.put(held.object)
        var other = first
        (other.name, other.uid) = ("other-restore", "")
        other.setLabel("becalm.io/run", "other")
        world.api.put(other)
        let id = String(place.split(separator: ":")[2])
        try world.pod(
            VolumeMoverWorld.ended(#"{"status":0,"snapshot":"\#(id)","files":2,"bytes":10,"problems":0}"#), of: first)
        #expect(try await progress(world, operation).outcome == .succeeded)
        func isHeld() -> Bool {
            world.api.all("Job").first { $0.name == "run42" }?.annotations["becalm.io/gated"] != nil
        }
        #expect(isHeld())
        #expect(
            world.api.get("PersistentVolumeClaim", "ckpt", namespace: "ml")?.annotations[RestoredObject.restoring]
                != nil)
        world.api.remove(other)
        #expect(try await progress(world, operation).outcome == .succeeded)
        #expect(!isHeld())
    }
}
