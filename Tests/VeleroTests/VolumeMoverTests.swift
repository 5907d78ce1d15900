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

/// Claims' data through the plugin's actions: every call as if of a process of its own, the pods played by the test, the
/// repository in a bucket of moto's.
@Suite(
    "Volumes that movers move", .enabled(if: ServerProcess.find("moto_server") != nil, "needs moto_server on the PATH"),
    .serialized, .timeLimit(.minutes(10)))
struct VolumeMoverTests {
    private let backup = Array(ActionWorld.backup.utf8)
    private let finalizing = Array(
        #"{"metadata":{"name":"b","namespace":"velero","uid":"b-1"},"status":{"phase":"Finalizing"}}"#.utf8)

    @Test("A claim's data is moved by a Job that other processes follow, and the stored claim says where it is")
    func backsUp() async throws {
        let world = try await VolumeMoverWorld()
        let item = try VolumeMoverWorld.claim().serialized()
        var process = world.process(.volumeBackup)
        let outcome = try await process.backupAction(.volumeBackup).execute(item: item, backup: backup)
        let operation = try #require(outcome.operation, "\(process.log.lines)")
        #expect(outcome.item == item && outcome.postOperationItems.map(\.name) == ["ckpt"])
        #expect(
            world.api.all("Job").count == 1 && world.api.all("Secret").count == 1 && world.api.all("Lease").count == 1)
        // A process that died after the call, and is asked again, begins nothing anew.
        process = world.process(.volumeBackup)
        let again = try await process.backupAction(.volumeBackup).execute(item: item, backup: backup)
        #expect(again.operation == operation && world.api.all("Job").count == 1)

        try world.pod("{phase: Running, containerStatuses: [{state: {running: {}}}]}")
        world.api.change {
            $0.log = #"{"type":"progress","bytes":7,"bytes_total":10,"files":1,"files_total":2}"# + "\n"
        }
        let action = try world.process(.volumeBackup).backupAction(.volumeBackup)
        let half = try await action.progress(operation: operation, backup: backup)
        #expect(half.outcome == .running && half.completed == 7 && half.total == 10 && half.units == "Bytes")
        world.api.refuse { _ in 503 }
        #expect(try await action.progress(operation: operation, backup: backup).outcome == .running)
        world.api.refuse { _ in nil }

        try world.pod(
            VolumeMoverWorld.ended(
                #"{"status":0,"snapshot":"\#(VolumeMoverWorld.snapshot)","content_digest":"d1","files":2,"bytes":10,"problems":0}"#
            )
        )
        for _ in 0..<2 {
            let done = try await world.process(.volumeBackup).backupAction(.volumeBackup)
                .progress(operation: operation, backup: backup)
            #expect(done.outcome == .succeeded && done.completed == 10)
        }
        #expect(world.api.all("Job").isEmpty && world.api.all("Secret").isEmpty)
        let stored = try await world.process(.volumeBackup).backupAction(.volumeBackup)
            .execute(item: item, backup: finalizing)
        let annotation = try KubernetesObject(parsing: stored.item).annotations["becalm.io/volume-snapshot"] ?? ""
        #expect(
            annotation.hasPrefix("becalm1:") && annotation.hasSuffix(":\(VolumeMoverWorld.snapshot):d1")
                && stored.operation == nil)
    }

    @Test("A claim that is being restored is stored with a warning, and no claim says where another backup's data is")
    func beingRestored() async throws {
        let world = try await VolumeMoverWorld()
        var claim = try VolumeMoverWorld.claim()
        claim.setAnnotation(RestoredObject.restoring, "x")
        claim.setAnnotation("becalm.io/volume-snapshot", "becalm1:r:s:d")
        let process = world.process(.volumeBackup)
        let outcome = try await process.backupAction(.volumeBackup).execute(item: claim.serialized(), backup: backup)
        #expect(outcome.operation != nil && world.api.all("Job").count == 1)
        #expect(process.log.lines.contains { $0.hasPrefix("warning") && $0.contains("is not known to be whole") })
        let stored = try KubernetesObject(parsing: outcome.item)
        #expect(
            stored.annotations["becalm.io/volume-snapshot"] == nil
                && stored.annotations[RestoredObject.restoring] == "x")
        let last = try await world.process(.volumeBackup).backupAction(.volumeBackup)
            .execute(item: claim.serialized(), backup: finalizing)
        #expect(try KubernetesObject(parsing: last.item).annotations["becalm.io/volume-snapshot"] == nil)
    }

    @Test("A claim that is a block device is given to its mover as a device")
    func block() async throws {
        let world = try await VolumeMoverWorld()
        var claim = try VolumeMoverWorld.claim()
        try claim.set("Block", at: ["spec", "volumeMode"])
        let process = world.process(.volumeBackup)
        let outcome = try await process.backupAction(.volumeBackup).execute(item: claim.serialized(), backup: backup)
        #expect(outcome.operation != nil, "\(process.log.lines)")
        let container = try #require(world.api.all("Job").first)["spec", "template", "spec", "containers", 0]
        #expect(container?["volumeDevices"] == [["devicePath": "/dev/volume", "name": "volume"]])
    }

    @Test("The copy of a block device is one, too")
    func blockCopy() async throws {
        let world = try await VolumeMoverWorld()
        try world.makeSnapshots(policy: "Delete")
        var claim = try VolumeMoverWorld.claim()
        try claim.set("Block", at: ["spec", "volumeMode"])
        let action = try world.process(.volumeBackup).backupAction(.volumeBackup)
        let operation = try #require(try await action.execute(item: claim.serialized(), backup: backup).operation)
        try world.snapshot("{readyToUse: true, restoreSize: 200Gi}")
        _ = try await action.progress(operation: operation, backup: backup)
        let copy = try #require(world.api.all("PersistentVolumeClaim").first)
        #expect(copy["spec", "volumeMode"] == "Block")
        let container = try #require(world.api.all("Job").first)["spec", "template", "spec", "containers", 0]
        #expect(container?["volumeDevices"] == [["devicePath": "/dev/volume", "name": "volume"]])
    }

    @Test("A claim is read from a snapshot that the call has cut, through a copy that a later process makes of it")
    func snapshots() async throws {
        let world = try await VolumeMoverWorld()
        try world.makeSnapshots(policy: "Retain")
        let item = try VolumeMoverWorld.claim().serialized()
        var process = world.process(.volumeBackup)
        let operation = try #require(
            try await process.backupAction(.volumeBackup).execute(item: item, backup: backup).operation,
            "\(process.log.lines)")
        let snapshot = try #require(world.api.all("VolumeSnapshot").first)
        #expect(snapshot["spec", "source", "persistentVolumeClaimName"] == "ckpt")
        #expect(snapshot.labels["velero.io/exclude-from-backup"] == "true")
        let job = try #require(world.api.all("Job").first)
        let claims = (job["spec", "template", "spec", "volumes"]?.array ?? [])
            .compactMap { $0["persistentVolumeClaim", "claimName"]?.string }
        #expect(claims == [snapshot.name] && job.labels["becalm.io/claim"] == "ckpt")
        // A process that died after the call, and is asked again, cuts no other.
        process = world.process(.volumeBackup)
        _ = try await process.backupAction(.volumeBackup).execute(item: item, backup: backup)
        #expect(world.api.all("VolumeSnapshot").map(\.uid) == [snapshot.uid])

        for (status, words) in [
            ("{}", "not cut yet"), ("{error: {message: no room}}", "not cut yet: no room"),
            ("{creationTime: \"2026-01-01T00:00:00Z\", readyToUse: false}", "not ready to use yet"),
        ] {
            try world.snapshot(status)
            let answer = try await world.process(.volumeBackup).backupAction(.volumeBackup)
                .progress(operation: operation, backup: backup)
            #expect(answer.outcome == .running && answer.description.contains(words), "\(answer)")
            #expect(world.api.all("PersistentVolumeClaim").isEmpty)
        }
        try world.snapshot("{readyToUse: true, restoreSize: 200Gi}")
        for _ in 0..<2 {
            let answer = try await world.process(.volumeBackup).backupAction(.volumeBackup)
                .progress(operation: operation, backup: backup)
            #expect(answer.outcome == .running, "\(answer)")
            let copy = try #require(world.api.all("PersistentVolumeClaim").first)
            #expect(copy.name == snapshot.name && copy["spec", "storageClassName"] == "fast")
            #expect(copy["spec", "resources", "requests", "storage"] == "200Gi")
            #expect(copy["spec", "dataSource", "name"]?.string == snapshot.name)
        }
        try world.pod(
            VolumeMoverWorld.ended(
                #"{"status":0,"snapshot":"\#(VolumeMoverWorld.snapshot)","files":2,"bytes":10,"problems":0}"#))
        let done = try await world.process(.volumeBackup).backupAction(.volumeBackup)
            .progress(operation: operation, backup: backup)
        #expect(done.outcome == .succeeded, "\(done)")
        for kind in ["Job", "Secret", "PersistentVolumeClaim", "VolumeSnapshot"] {
            #expect(world.api.all(kind).isEmpty, "\(kind)")
        }
        // Its class would have had the driver keep it for ever.
        #expect(world.api.all("VolumeSnapshotContent").map { $0["spec", "deletionPolicy"]?.string } == ["Delete"])
    }

    @Test(
        "A snapshot that is never cut has the operation fail with its driver's words, and goes; so it does with Cancel")
    func snapshotFails() async throws {
        for cancels in [false, true] {
            let world = try await VolumeMoverWorld()
            try world.makeSnapshots(policy: "Retain")
            let action = try world.process(.volumeBackup, ["snapshotTimeout": "60s"]).backupAction(.volumeBackup)
            let operation = try #require(
                try await action.execute(item: try VolumeMoverWorld.claim().serialized(), backup: backup).operation)
            var snapshot = try #require(world.api.all("VolumeSnapshot").first)
            try snapshot.set("2026-01-01T00:00:00Z", at: ["metadata", "creationTimestamp"])
            world.api.put(snapshot)
            try world.snapshot("{error: {message: quota}}")
            if cancels { try await action.cancel(operation: operation, backup: backup) }
            let status = try await action.progress(operation: operation, backup: backup)
            guard case .failed(let reason) = status.outcome else {
                Issue.record("not failed: \(status)")
                return
            }
            #expect(
                reason.contains(cancels ? "the mover was cancelled" : "not cut yet: quota, after 60 s"), "\(reason)")
            #expect(world.api.all("Job").isEmpty && world.api.all("VolumeSnapshot").isEmpty)
            #expect(world.api.all("VolumeSnapshotContent").map { $0["spec", "deletionPolicy"]?.string } == ["Delete"])
        }
    }

    @Test("A copy that a quota has no room for is waited for, and the workload need not wait with it")
    func overQuota() async throws {
        let world = try await VolumeMoverWorld()
        try world.makeSnapshots(policy: "Delete")
        let action = try world.process(
            .volumeBackup, ["snapshotTimeout": "60s", "snapshotReadyTimeout": "60s"]
        ).backupAction(.volumeBackup)
        let operation = try #require(
            try await action.execute(item: try VolumeMoverWorld.claim().serialized(), backup: backup).operation)
        world.api.refuse(
            why: "persistentvolumeclaims is forbidden: exceeded quota: gpu, used: persistentvolumeclaims=5"
        ) { $0.method == "POST" && $0.path.hasSuffix("/persistentvolumeclaims") ? 403 : nil }
        let mover = try world.mover()
        #expect(try await !mover.hasTaken())
        try world.snapshot("{readyToUse: true, restoreSize: 200Gi}")
        #expect(try await mover.hasTaken())
        let waits = try await action.progress(operation: operation, backup: backup)
        #expect(waits.outcome == .running && waits.description.contains("exceeded quota: gpu"), "\(waits)")
        var snapshot = try #require(world.api.all("VolumeSnapshot").first)
        try snapshot.set("2026-01-01T00:00:00Z", at: ["metadata", "creationTimestamp"])
        world.api.put(snapshot)
        guard case .failed(let reason) = try await action.progress(operation: operation, backup: backup).outcome else {
            Issue.record("it has not failed")
            return
        }
        #expect(reason.contains("exceeded quota: gpu") && reason.contains("raise the quota"), "\(reason)")
        try await world.expectNothingLeft()
    }

    @Test(
        "What the cluster refuses to a mover for good has the operation fail, and nothing but the reason is left",
        arguments: [
            ("POST", "/persistentvolumeclaims", 403), ("POST", "/persistentvolumeclaims", 422),
            ("GET", "/volumesnapshots/", 403), ("GET", "/pods", 403),
        ])
    func refused(method: String, path: String, code: Int) async throws {
        let world = try await VolumeMoverWorld()
        try world.makeSnapshots(policy: "Delete")
        let action = try world.process(.volumeBackup).backupAction(.volumeBackup)
        let operation = try #require(
            try await action.execute(item: try VolumeMoverWorld.claim().serialized(), backup: backup).operation)
        try world.snapshot("{readyToUse: true, restoreSize: 200Gi}")
        world.api.refuse(why: "no, and no again") { $0.method == method && $0.path.contains(path) ? code : nil }
        for _ in 0..<2 {
            guard case .failed(let reason) = try await action.progress(operation: operation, backup: backup).outcome
            else {
                Issue.record("it has not failed")
                return
            }
            #expect(reason.contains("no, and no again"), "\(reason)")
        }
        #expect(try await world.mover().hasTaken())
        world.api.refuse { _ in nil }
        _ = try await action.progress(operation: operation, backup: backup)
        try await world.expectNothingLeft()
    }

    @Test("A volume's shares have failed when the pods of all of them are gone")
    func sharesEnd() async throws {
        let world = try await VolumeMoverWorld()
        var claim = try VolumeMoverWorld.claim()
        try claim.set(["ReadWriteMany"], at: ["spec", "accessModes"])
        let action = try world.process(.volumeBackup, ["shards": "3"]).backupAction(.volumeBackup)
        let operation = try #require(try await action.execute(item: claim.serialized(), backup: backup).operation)
        for job in world.api.all("Job") {
            let share = job.labels["becalm.io/share"] ?? ""
            try world.pod(
                share == "0"
                    ? VolumeMoverWorld.ended(
                        #"{"status":12,"kind":"wrong_key","error":"no such key","files":0,"bytes":0,"problems":0}"#)
                    : "{phase: Running, containerStatuses: [{state: {running: {}}}]}", of: job, "p\(share)")
        }
        let status = try await action.progress(operation: operation, backup: backup)
        #expect(status.outcome == .running && status.description == "its pods end: no such key", "\(status)")
        #expect(world.api.all("Job").isEmpty && world.api.all("Secret").isEmpty)
        for pod in world.api.all("Pod") {
            var pod = pod
            try pod.set("Failed", at: ["status", "phase"])
            world.api.put(pod)
        }
        let end = try await action.progress(operation: operation, backup: backup)
        #expect(end.outcome == .failed("no such key"), "\(end)")
        try await world.expectNothingLeft()
    }

    @Test("Where no snapshot can be had, the volume itself is read, unless a snapshot is asked for")
    func noSnapshots() async throws {
        for (hasClass, source, words) in [
            (false, "auto", ""),
            (true, "auto", "ml/ckpt is read itself, not from a snapshot: creating volumesnapshots"), (true, "live", ""),
            (false, "snapshot", "error: the data of"), (true, "snapshot", "is not allowed"),
        ] {
            let world = try await VolumeMoverWorld()
            if hasClass { try world.makeSnapshots(policy: "Delete", mayCreate: false) }
            let process = world.process(.volumeBackup, ["source": source])
            let outcome = try await process.backupAction(.volumeBackup)
                .execute(item: try VolumeMoverWorld.claim().serialized(), backup: backup)
            #expect((outcome.operation != nil) == (source != "snapshot"), "\(source) \(process.log.lines)")
            #expect(words.isEmpty || process.log.lines.contains { $0.contains(words) }, "\(process.log.lines)")
            #expect(world.api.all("VolumeSnapshot").isEmpty)
            guard let job = world.api.all("Job").first else { continue }
            let volumes = job["spec", "template", "spec", "volumes"]?.array ?? []
            #expect(volumes.contains { $0["persistentVolumeClaim", "claimName"] == "ckpt" })
        }
    }

    @Test(
        "Where classes of snapshots may not be read, the volume itself is, with a warning, unless a snapshot is asked for"
    )
    func hiddenClasses() async throws {
        for (rule, words) in [
            ("list volumesnapshotclasses", "VolumeSnapshotClasses may not be read"),
            ("get persistentvolumes", "its volume may not be read"),
        ] {
            for source in ["auto", "snapshot", "live"] {
                let world = try await VolumeMoverWorld()
                try world.makeSnapshots(policy: "Delete")
                world.api.forbid(rule)
                let process = world.process(.volumeBackup, ["source": source])
                let outcome = try await process.backupAction(.volumeBackup)
                    .execute(item: try VolumeMoverWorld.claim().serialized(), backup: backup)
                #expect((outcome.operation == nil) == (source == "snapshot"), "\(source): \(process.log.lines)")
                let said = process.log.lines.filter { $0.contains(words) }
                #expect(said.count == (source == "live" ? 0 : 1), "\(source): \(process.log.lines)")
                #expect(said.allSatisfy { $0.hasPrefix(source == "auto" ? "warning" : "error") }, "\(said)")
                #expect(world.api.all("VolumeSnapshot").isEmpty)
            }
        }
    }

    @Test("A volume that many nodes can mount is stored by as many movers as the settings say, any other by one")
    func shards() async throws {
        for (mode, count) in [("ReadWriteMany", 3), ("ReadWriteOnce", 1)] {
            let world = try await VolumeMoverWorld()
            var claim = try VolumeMoverWorld.claim()
            try claim.set([.string(mode)], at: ["spec", "accessModes"])
            let action = try world.process(.volumeBackup, ["shards": "3"]).backupAction(.volumeBackup)
            let operation = try #require(
                try await action.execute(item: claim.serialized(), backup: backup).operation)
            let jobs = world.api.all("Job")
            let shares = jobs.compactMap { job in
                let words = (job["spec", "template", "spec", "containers", 0, "args"]?.array ?? []).compactMap(\.string)
                return words.firstIndex(of: "--shard").map { words[$0 + 1] }
            }
            #expect(jobs.count == count && shares.sorted() == (count == 3 ? ["1/3", "2/3", "3/3"] : []))
            #expect(world.api.all("Secret").count == 1)
            try await action.cancel(operation: operation, backup: backup)
            #expect(world.api.all("Job").isEmpty && world.api.all("Secret").isEmpty)
        }
    }

    @Test("Cancel takes the Job and what it opens the repository with, and the operation has failed")
    func cancels() async throws {
        let world = try await VolumeMoverWorld()
        let outcome = try await world.process(.volumeBackup).backupAction(.volumeBackup)
            .execute(item: try VolumeMoverWorld.claim().serialized(), backup: backup)
        let operation = try #require(outcome.operation)
        for _ in 0..<2 {
            try await world.process(.volumeBackup).backupAction(.volumeBackup).cancel(
                operation: operation, backup: backup)
        }
        #expect(world.api.all("Job").isEmpty && world.api.all("Secret").isEmpty)
        let status = try await world.process(.volumeBackup).backupAction(.volumeBackup)
            .progress(operation: operation, backup: backup)
        #expect(status.outcome == .failed("the mover was cancelled"))
        let stored = try await world.process(.volumeBackup).backupAction(.volumeBackup)
            .execute(item: try VolumeMoverWorld.claim().serialized(), backup: finalizing)
        #expect(try KubernetesObject(parsing: stored.item).annotations["becalm.io/volume-snapshot"] == nil)
    }

    @Test("A mover that lacks something or fails has the operation fail, with why")
    func fails() async throws {
        for (message, word) in [
            (
                #"{"status":3,"snapshot":"\#(VolumeMoverWorld.snapshot)","files":2,"bytes":10,"problems":1,"remarks":["a: changed"]}"#,
                "a: changed"
            ),
            (
                #"{"status":12,"kind":"wrong_key","error":"no such key","files":0,"bytes":0,"problems":0}"#,
                "no such key"
            ),
        ] {
            let world = try await VolumeMoverWorld()
            let action = try world.process(.volumeBackup).backupAction(.volumeBackup)
            let outcome = try await action.execute(item: try VolumeMoverWorld.claim().serialized(), backup: backup)
            try world.pod(VolumeMoverWorld.ended(message))
            let status = try await action.progress(operation: try #require(outcome.operation), backup: backup)
            guard case .failed(let reason) = status.outcome else {
                Issue.record("not failed: \(status)")
                return
            }
            #expect(reason.contains(word))
        }
    }

    @Test("The snapshot goes with its backup, and one that is gone already is no error")
    func deletes() async throws {
        let world = try await VolumeMoverWorld()
        let place = try await world.stored()
        var stored = try VolumeMoverWorld.claim()
        stored.setAnnotation("becalm.io/volume-snapshot", place)
        for word in ["is forgotten", "was not there any more"] {
            let process = world.process(.volumeDelete)
            try await process.delete.execute(item: stored.serialized(), backup: backup)
            #expect(process.log.lines.contains { $0.contains(word) }, "\(process.log.lines)")
        }
    }

    @Test("The snapshot that a DataUpload of the data mover names goes with its backup, however often it is asked")
    func deletesMoved() async throws {
        let world = try await VolumeMoverWorld()
        let place = try await world.stored()
        let upload = try ActionWorld.bytes(
            """
            {apiVersion: velero.io/v2alpha1, kind: DataUpload, metadata: {name: du, namespace: velero},
             spec: {datamover: becalm, snapshotType: CSI}, status: {phase: Completed, snapshotID: "\(place)"}}
            """)
        for word in ["is forgotten", "was not there any more"] {
            let process = world.process(.volumeDelete)
            try await process.delete.execute(item: upload, backup: backup)
            #expect(process.log.lines.contains { $0.contains(word) }, "\(process.log.lines)")
        }
        // Of another data mover: nothing is asked, not even for a repository.
        let other = try ActionWorld.bytes(
            """
            {apiVersion: velero.io/v2alpha1, kind: DataUpload, metadata: {name: du, namespace: velero},
             spec: {datamover: velero}, status: {phase: Completed, snapshotID: "\(place)"}}
            """)
        try await ActionWorld().delete.execute(item: other, backup: backup)
    }
}
