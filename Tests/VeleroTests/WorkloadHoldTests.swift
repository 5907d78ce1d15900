import Basics
import Kubernetes
import KubernetesTesting
import Orchestration
import Testing
import Velero
import Workloads

/// Workloads that a backup holds, each call as if of a process of its own, and processes that die at each request.
@Suite("Workloads that a backup holds", .timeLimit(.minutes(5)))
struct WorkloadHoldTests {
    /// A StatefulSet with its pod, and the claim that the pod mounts.
    private struct World {
        let cluster: FakeCluster
        /// What Velero hands over, in the order of Velero's collection.
        var pod, claim, workload: KubernetesObject

        init(pod annotations: String = "{}", workload marks: String = "{becalm.io/consistency: pause}") throws {
            cluster = try FakeCluster()
            workload = try ActionWorld.object(
                """
                apiVersion: apps/v1
                kind: StatefulSet
                metadata: {name: run42, namespace: ml, uid: s-1, annotations: \(marks)}
                spec:
                  replicas: 1
                  selector: {matchLabels: {app: run42}}
                  template: {spec: {volumes: [{name: c, persistentVolumeClaim: {claimName: ckpt}}]}}
                """)
            pod = try ActionWorld.object(
                """
                apiVersion: v1
                kind: Pod
                metadata:
                  name: run42-0
                  namespace: ml
                  uid: p-1
                  labels: {app: run42}
                  annotations: \(annotations)
                  ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: run42, uid: s-1, controller: true}]
                spec: {volumes: [{name: c, persistentVolumeClaim: {claimName: ckpt}}]}
                status: {phase: Running}
                """)
            claim = try ActionWorld.object(
                """
                apiVersion: v1
                kind: PersistentVolumeClaim
                metadata: {name: ckpt, namespace: ml, uid: c-1}
                spec: {volumeName: pv-1}
                status: {phase: Bound}
                """)
            for object in [workload, pod, claim] { cluster.put(object) }
        }

        /// What one process of the plugin sees.
        func process(_ settings: [String: String] = [:]) -> ActionWorld {
            var world = ActionWorld(.quiesce, ["mode": "hold", "deadline": "100s"].merging(settings) { $1 })
            world.connect(cluster.client)
            return world
        }

        var replicas: Int64? { cluster.get("StatefulSet", "run42")?["spec", "replicas"]?.int64 }
        var isMarked: Bool { cluster.get("StatefulSet", "run42")?.annotations["becalm.io/quiesced"] != nil }
        var journals: Int { cluster.all("Lease").count { $0.labels["becalm.io/journal"] == "quiesce" } }

        /// The VolumeSnapshot that the mover of the claim reads a copy of, with this status; its Lease says so.
        func snapshot(_ status: String) throws {
            let run = DetachedMover.run(for: ["volume-backup", "b-1", "ml", "ckpt", "c-1"])
            try mover(isAtWork: true)
            var lease = try #require(cluster.all("Lease").first { $0.name == DetachedMover.leaseName(run: run) })
            lease.setAnnotation("becalm.io/copy-of", #"{"cut_seconds":300,"ready_seconds":7200,"snapshot":"s"}"#)
            cluster.put(lease)
            cluster.put(
                try ActionWorld.object(
                    "{apiVersion: snapshot.storage.k8s.io/v1, kind: VolumeSnapshot, metadata: {name: s, namespace: ml}, status: \(status)}"
                ))
        }

        /// The mover of the claim in this backup, as another action began it: at work, or ended.
        func mover(isAtWork: Bool) throws {
            let run = DetachedMover.run(for: ["volume-backup", "b-1", "ml", "ckpt", "c-1"])
            var lease = try ActionWorld.object(
                """
                apiVersion: coordination.k8s.io/v1
                kind: Lease
                metadata:
                  name: \(DetachedMover.leaseName(run: run))
                  namespace: ml
                  annotations: {becalm.io/repository: ""}
                spec: {}
                """)
            if isAtWork {
                cluster.put(
                    try ActionWorld.object(
                        "{apiVersion: batch/v1, kind: Job, metadata: {name: mover, namespace: ml, labels: {becalm.io/run: \(run)}}}"
                    ))
            } else {
                lease.setAnnotation(
                    "becalm.io/result",
                    #"{"status":0,"snapshot":"\#(String(repeating: "5", count: 32))","files":1,"bytes":1,"problems":0}"#
                )
            }
            cluster.put(lease)
        }
    }

    private let backup = Array(ActionWorld.backup.utf8)

    @Test("A workload whose volumes are read from snapshots is let go when they are cut, long before they are stored")
    func snapshots() async throws {
        let world = try World()
        let outcome = try await world.process().backupAction(.quiesce)
            .execute(item: world.workload.serialized(), backup: backup)
        let operation = try #require(outcome.operation)
        for (status, isLetGo) in [
            ("{}", false), ("{readyToUse: false}", false), ("{creationTime: \"2026-01-01T00:00:00Z\"}", true),
        ] {
            try world.snapshot(status)
            let answer = try await world.process().backupAction(.quiesce).progress(
                operation: operation, backup: backup)
            #expect(answer.outcome == (isLetGo ? .succeeded : .running), "\(status) \(answer)")
            #expect(world.replicas == (isLetGo ? 1 : 0) && world.isMarked != isLetGo)
            if isLetGo { #expect(answer.description.hasPrefix("it runs, stood still for "), "\(answer)") }
        }
    }
    private let finalizing = Array(
        #"{"metadata":{"name":"b","namespace":"velero","uid":"b-1"},"status":{"phase":"Finalizing"}}"#.utf8)

    @Test("The first item that comes by has the workload stopped, once, and its pod is not to be restored beside it")
    func holds() async throws {
        let world = try World()
        let process = world.process()
        let action = try process.backupAction(.quiesce)
        #expect(try await action.appliesTo().includedResources.suffix(2) == ["pods", "persistentvolumeclaims"])
        let outcome = try await action.execute(item: world.pod.serialized(), backup: backup)
        let operation = try #require(outcome.operation, "\(process.log.lines)")
        #expect(world.replicas == 0 && world.isMarked && world.journals == 1)
        #expect(outcome.postOperationItems.isEmpty)
        let stored = try KubernetesObject(parsing: outcome.item).annotations["becalm.io/captured"] ?? ""
        #expect(stored.contains(#""held_with":"ml/statefulsets.apps/run42""#))
        for item in [world.claim, world.workload] {
            let next = try await action.execute(item: item.serialized(), backup: backup)
            #expect(next.operation == nil && world.journals == 1)
        }
        // A process that did not tell the operation does.
        let again = try await world.process().backupAction(.quiesce)
            .execute(item: world.workload.serialized(), backup: backup)
        #expect(again.operation == operation)
        #expect(!process.log.lines.contains { $0.hasPrefix("error") }, "\(process.log.lines)")
    }

    @Test(
        "What Velero asks first, what belongs into a block, has it stopped, also by a mark on its pod; an item tells of it"
    )
    func block() async throws {
        let world = try World(pod: "{becalm.io/consistency: pause}", workload: "{}")
        let process = world.process()
        _ = try await process.group.relatedItems(item: world.pod.serialized(), backup: backup)
        #expect(world.replicas == 0 && world.journals == 1)
        let outcome = try await process.backupAction(.quiesce).execute(item: world.pod.serialized(), backup: backup)
        #expect(outcome.operation != nil, "\(process.log.lines)")
    }

    @Test("It is let go when its volumes are stored, and the operation says how long it stood still")
    func letsGo() async throws {
        let world = try World()
        let outcome = try await world.process().backupAction(.quiesce)
            .execute(item: world.claim.serialized(), backup: backup)
        let operation = try #require(outcome.operation)
        try world.mover(isAtWork: true)
        let action = try world.process().backupAction(.quiesce)
        let running = try await action.progress(operation: operation, backup: backup)
        #expect(running.outcome == .running && world.replicas == 0)
        try world.mover(isAtWork: false)
        for _ in 0..<2 {
            let done = try await world.process().backupAction(.quiesce).progress(operation: operation, backup: backup)
            #expect(done.outcome == .succeeded && world.replicas == 1 && !world.isMarked && world.journals == 0)
            #expect(done.description.contains("stood still for"))
        }
        // What is stored is the workload as it was before, which may have ended by now.
        let now = try #require(world.cluster.get("StatefulSet", "run42")).serialized()
        #expect(try await action.execute(item: now, backup: finalizing).item == now)
    }

    /// A route that leads to the workload's pod, which is Ready. Answers the pod, for it to come back.
    private func putRoute(_ world: World) throws -> KubernetesObject {
        var pod = world.pod
        try pod.set(.array([["type": "Ready", "status": "True"]]), at: ["status", "conditions"])
        world.cluster.put(pod)
        for yaml in [
            """
            apiVersion: inference.networking.k8s.io/v1
            kind: InferencePool
            metadata: {name: pool, namespace: ml}
            spec: {selector: {matchLabels: {app: run42}}, targetPorts: [{number: 8000}]}
            """,
            """
            apiVersion: gateway.networking.k8s.io/v1
            kind: HTTPRoute
            metadata: {name: chat, namespace: ml}
            spec: {rules: [{backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: pool, weight: 7}]}]}
            """,
        ] { world.cluster.put(try ActionWorld.object(yaml)) }
        world.cluster.answerPods { _ in (200, "sglang:num_running_reqs 0\nsglang:num_queue_reqs 0\n") }
        return pod
    }

    private func weight(_ world: World) -> Int64? {
        world.cluster.get("HTTPRoute", "chat")?["spec", "rules", 0, "backendRefs", 0, "weight"]?.int64
    }

    @Test(
        "A model server's route is closed for the backup; the operation goes on until its pods are Ready, whatever somebody does with the route",
        arguments: [false, true])
    func route(_ isChanged: Bool) async throws {
        let world = try World()
        let pod = try putRoute(world)
        let outcome = try await world.process().backupAction(.quiesce)
            .execute(item: world.claim.serialized(), backup: backup)
        let operation = try #require(outcome.operation)
        #expect(world.replicas == 0 && weight(world) == 0)
        try world.mover(isAtWork: false)
        // Its pod is not there yet: no call waits for it.
        for _ in 0..<2 {
            let status = try await world.process().backupAction(.quiesce).progress(operation: operation, backup: backup)
            #expect(status.outcome == .running && world.replicas == 1 && weight(world) == 0 && world.journals == 1)
        }
        if isChanged {
            var route = try #require(world.cluster.get("HTTPRoute", "chat"))
            try route.set(9, at: ["spec", "rules", 0, "backendRefs", 0, "weight"])
            world.cluster.put(route)
        }
        world.cluster.put(pod)
        let done = try await world.process().backupAction(.quiesce).progress(operation: operation, backup: backup)
        #expect(done.outcome == .succeeded && weight(world) == (isChanged ? 9 : 7) && world.journals == 0, "\(done)")
        #expect(world.cluster.get("HTTPRoute", "chat")?.annotations.isEmpty == true)
    }

    @Test("Cancel opens the route at once, for nobody asks again")
    func cancelledRoute() async throws {
        let world = try World()
        _ = try putRoute(world)
        let action = try world.process().backupAction(.quiesce)
        let outcome = try await action.execute(item: world.claim.serialized(), backup: backup)
        let operation = try #require(outcome.operation)
        #expect(world.replicas == 0 && weight(world) == 0)
        try world.mover(isAtWork: true)
        try await action.cancel(operation: operation, backup: backup)
        #expect(world.replicas == 1 && weight(world) == 7 && world.journals == 0)
    }

    @Test("A route that the sweep opens between two calls is as good as opened by the operation")
    func sweptRoute() async throws {
        let world = try World()
        let pod = try putRoute(world)
        let outcome = try await world.process().backupAction(.quiesce)
            .execute(item: world.claim.serialized(), backup: backup)
        let operation = try #require(outcome.operation)
        try world.mover(isAtWork: false)
        let action = try world.process().backupAction(.quiesce)
        let first = try await action.progress(operation: operation, backup: backup)
        #expect(first.outcome == .running && world.replicas == 1 && weight(world) == 0)
        // Nobody has to wait for the lease of a call that is over.
        world.cluster.put(pod)
        world.cluster.revive(secondsLater: 5)
        let sweep = try await Resumer(world.cluster.client, holder: "sweep").resumeExpired(namespace: "ml")
        #expect(sweep.resumed.count == 1 && weight(world) == 7 && world.journals == 0)
        let done = try await action.progress(operation: operation, backup: backup)
        #expect(done.outcome == .succeeded, "\(done)")
    }

    @Test("What stands still no more is let go, and the operation has failed")
    func disturbances() async throws {
        for way in ["somebody let", "changed", "runs"] {
            let world = try World()
            let action = try world.process().backupAction(.quiesce)
            let outcome = try await action.execute(item: world.claim.serialized(), backup: backup)
            let operation = try #require(outcome.operation)
            try world.mover(isAtWork: true)
            var held = try #require(world.cluster.get("StatefulSet", "run42"))
            switch way {
            case "somebody let": held.setAnnotation("becalm.io/quiesced", nil)
            case "changed": try held.set(2, at: ["spec", "replicas"])
            default: world.cluster.put(world.pod)
            }
            world.cluster.put(held)
            let status = try await action.progress(operation: operation, backup: backup)
            guard case .failed(let reason) = status.outcome else {
                Issue.record("\(way): \(status)")
                return
            }
            #expect(reason.contains(way), "\(reason)")
            #expect(!world.isMarked && world.journals == 0, "\(way)")
        }
    }

    @Test("What stands still for as long as somebody likes is as good as held, and is not let go")
    func others() async throws {
        let world = try World()
        var options = QuiesceOptions(holder: "me")
        options.isManual = true
        options.policy.consistency = .stop
        let reference = try WorkloadReference(parsing: "ml/statefulset/run42")
        _ = try await Quiescer(world.cluster.client, options: options)
            .quiesce(WorkloadFinder(world.cluster.client).find(reference))
        let process = world.process()
        let item = try #require(world.cluster.get("StatefulSet", "run42")).serialized()
        let outcome = try await process.backupAction(.quiesce).execute(item: item, backup: backup)
        #expect(
            outcome.operation == nil && !process.log.lines.contains { $0.hasPrefix("error") }, "\(process.log.lines)")
        let captured = try KubernetesObject(parsing: outcome.item).annotations["becalm.io/captured"] ?? ""
        #expect(captured.contains(#""standing":"stopped""#) && world.replicas == 0 && world.journals == 1)
        // One that is stopped until a deadline may run before the volumes are stored.
        let brief = try World()
        options.policy.consistency = .pause
        _ = try await Quiescer(brief.cluster.client, options: options)
            .quiesce(WorkloadFinder(brief.cluster.client).find(reference))
        let told = brief.process()
        _ = try await told.backupAction(.quiesce).execute(item: item, backup: backup)
        #expect(
            told.log.lines.count { $0.hasPrefix("error") && $0.contains("is held by me") } == 1, "\(told.log.lines)")
    }

    @Test("Two calls at once stop it once")
    func atOnce() async throws {
        let world = try World()
        let process = world.process()
        let items = [world.pod, world.claim, world.workload].map { $0.serialized() }
        let operations = try await withThrowingTaskGroup(of: String?.self) { group in
            for item in items {
                group.addTask {
                    try await process.backupAction(.quiesce).execute(item: item, backup: backup).operation
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(operations.count { $0 != nil } == 1 && world.journals == 1 && world.replicas == 0)
        #expect(process.log.lines.count { $0.contains("brought to a standstill") } >= 1)
    }

    @Test("A backup never stops Velero, the control plane or, by a default, what makes pods of its own")
    func never() async throws {
        for (namespace, owner) in [("velero", "StatefulSet"), ("kube-system", "StatefulSet"), ("ml", "DaemonSet")] {
            let world = try World(workload: "{}")
            var pod = world.pod
            pod.namespace = namespace
            try pod.set(.string(owner), at: ["metadata", "ownerReferences", 0, "kind"])
            var workload = world.workload
            workload.namespace = namespace
            if owner == "StatefulSet" { world.cluster.put(workload) }
            world.cluster.put(pod)
            let process = world.process(["consistency": "pause"])
            _ = try await process.backupAction(.quiesce).execute(item: pod.serialized(), backup: backup)
            #expect(world.journals == 0, "\(namespace) \(owner)")
            #expect(!process.log.lines.contains { $0.hasPrefix("error") }, "\(process.log.lines)")
        }
    }

    @Test("Somebody who lets it go before, a deadline and Cancel are told as the operation's failure, and it runs")
    func failures() async throws {
        for way in ["by hand", "deadline", "cancel"] {
            let world = try World()
            let action = try world.process().backupAction(.quiesce)
            let outcome = try await action.execute(item: world.claim.serialized(), backup: backup)
            let operation = try #require(outcome.operation)
            try world.mover(isAtWork: true)
            switch way {
            case "by hand":
                _ = try await Resumer(world.cluster.client, holder: "me").resume(
                    WorkloadReference(parsing: "ml/statefulset/run42"))
            case "deadline": world.cluster.revive(secondsLater: 101)
            default: try await action.cancel(operation: operation, backup: backup)
            }
            let status = try await action.progress(operation: operation, backup: backup)
            guard case .failed(let reason) = status.outcome else {
                Issue.record("\(way): \(status)")
                return
            }
            #expect(
                reason.contains(["by hand": "somebody", "deadline": "deadline", "cancel": "cancelled"][way] ?? "?"))
            #expect(world.replicas == 1 && !world.isMarked && world.journals == 0, "\(way)")
        }
    }

    @Test("What needs pods that run keeps them running, with a warning")
    func obstacles() async throws {
        for (pod, spec) in [
            ("{backup.velero.io/backup-volumes: c}", "{}"), ("{}", #"{"defaultVolumesToFsBackup":true}"#),
            (#"{post.hook.backup.velero.io/command: sync}"#, "{}"),
            (#"{pre.hook.backup.velero.io/command: sync}"#, "{}"),
            (
                #"{backup.velero.io/backup-volumes-excludes: "a, b"}"#, #"{"defaultVolumesToFsBackup":true}"#
            ),
            ("{}", #"{"hooks":{"resources":[{"name":"h","post":[{"exec":{"command":["sync"]}}]}]}}"#),
        ] {
            let world = try World(pod: pod)
            let process = world.process()
            let action = try process.backupAction(.quiesce)
            let backup = #"{"metadata":{"name":"b","namespace":"velero","uid":"b-1"},"spec":\#(spec)}"#
            for item in [world.pod, world.claim, world.workload] {
                let outcome = try await action.execute(item: item.serialized(), backup: Array(backup.utf8))
                #expect(outcome.operation == nil)
            }
            #expect(world.replicas == 1 && world.journals == 0)
            #expect(process.log.lines.count { $0.hasPrefix("warning") && $0.contains("is not stopped") } == 1)
        }
        // What is excluded, or not asked for, is no obstacle.
        for (pod, spec) in [
            (#"{backup.velero.io/backup-volumes-excludes: "a, c"}"#, #"{"defaultVolumesToFsBackup":true}"#),
            ("{backup.velero.io/backup-volumes-excludes: c}", "{}"),
        ] {
            let world = try World(pod: pod)
            let backup = #"{"metadata":{"name":"b","namespace":"velero","uid":"b-1"},"spec":\#(spec)}"#
            _ = try await world.process().backupAction(.quiesce)
                .execute(item: world.pod.serialized(), backup: Array(backup.utf8))
            #expect(world.replicas == 0)
        }
    }

    @Test("Without `mode: hold`, and for a workload that is not marked, nothing is stopped")
    func observes() async throws {
        let observed = try World()
        let action = try observed.process(["mode": "observe"]).backupAction(.quiesce)
        #expect(try await !action.appliesTo().includedResources.contains("pods"))
        _ = try await action.execute(item: observed.workload.serialized(), backup: backup)
        #expect(observed.replicas == 1)
        let unmarked = try World(workload: "{}")
        let hold = try unmarked.process().backupAction(.quiesce)
        let item = unmarked.pod.serialized()
        #expect(try await hold.execute(item: item, backup: backup).item == item && unmarked.replicas == 1)
        // Nor is one of a kind that the settings leave out, whatever comes by first.
        let others = try unmarked.process(["consistency": "pause", "resources": "jobs.batch"]).backupAction(.quiesce)
        _ = try await others.execute(item: item, backup: backup)
        #expect(unmarked.replicas == 1 && unmarked.journals == 0)
        // Where the settings say so for all, it is.
        let all = try unmarked.process(["consistency": "pause"]).backupAction(.quiesce)
        _ = try await all.execute(item: item, backup: backup)
        #expect(unmarked.replicas == 0)
    }

    @Test(
        "A process that dies at any of its writes leaves a workload that its deadline lets go, or the next call holds")
    func deaths() async throws {
        for (afterDoing, goesOn, isPodMarked) in [
            (false, false, false), (false, true, false), (true, false, false), (true, true, false), (true, true, true),
        ] {
            do {
                var writes = 0
                while true {
                    let mark = "{becalm.io/consistency: pause}"
                    let world = try isPodMarked ? World(pod: mark, workload: "{}") : World()
                    let before = try #require(world.cluster.get("StatefulSet", "run42"))
                    world.cluster.die(afterWrites: writes, afterDoing: afterDoing)
                    _ = try? await world.process().backupAction(.quiesce)
                        .execute(item: world.pod.serialized(), backup: backup)
                    guard world.cluster.isDead else { break }
                    world.cluster.revive(secondsLater: goesOn ? 0 : 200)
                    let action = try world.process().backupAction(.quiesce)
                    if goesOn {
                        let outcome = try await action.execute(item: world.claim.serialized(), backup: backup)
                        let operation = try #require(outcome.operation, "write \(writes)")
                        #expect(world.replicas == 0, "write \(writes)")
                        let done = try await action.progress(operation: operation, backup: backup)
                        #expect(done.outcome == .succeeded, "write \(writes): \(done)")
                    } else {
                        _ = try await Resumer(world.cluster.client, holder: "sweeper").resumeExpired(namespace: "ml")
                    }
                    let after = try #require(world.cluster.get("StatefulSet", "run42"))
                    #expect(
                        after["spec"] == before["spec"] && after.annotations == before.annotations
                            && world.journals == 0,
                        "write \(writes)")
                    writes += 1
                }
                #expect(writes >= 5)
            }
        }
    }

    @Test("A process that dies while it lets go leaves what the next question finishes")
    func deathsOfProgress() async throws {
        for afterDoing in [false, true] {
            var writes = 0
            while true {
                let world = try World()
                let outcome = try await world.process().backupAction(.quiesce)
                    .execute(item: world.pod.serialized(), backup: backup)
                let operation = try #require(outcome.operation)
                world.cluster.die(afterWrites: writes, afterDoing: afterDoing)
                _ = try await world.process().backupAction(.quiesce).progress(operation: operation, backup: backup)
                guard world.cluster.isDead else { break }
                world.cluster.revive(secondsLater: 0)
                let done = try await world.process().backupAction(.quiesce).progress(
                    operation: operation, backup: backup)
                #expect(
                    done.outcome == .succeeded && world.replicas == 1 && world.journals == 0, "write \(writes): \(done)"
                )
                writes += 1
            }
            #expect(writes >= 4)
        }
    }
}
