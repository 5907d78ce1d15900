import Basics
import Kubernetes
import KubernetesTesting
import Repository
import Synchronization
import Testing

@testable import Orchestration

@Suite("DataUploads that the data mover serves", .timeLimit(.minutes(10)))
struct DataUploadTests {
    private static let kept: Set = ["DataUpload velero/du", "PersistentVolumeClaim ml/ckpt"]

    @Test(
        "A snapshot's data is stored under its claim's name, said in the DataUpload, and nothing is left",
        arguments: [
            false, true,
        ])
    func stores(hasStatusSubresource: Bool) async throws {
        let world = try await DataMoverWorld()
        world.cluster.change { $0.statusGroups = hasStatusSubresource ? ["velero.io"] : [] }
        try world.makeUpload()
        #expect(await world.finish(.upload, "du"))
        let upload = try #require(world.transfer(.upload, "du"))
        let status = upload.object["status"]
        #expect(upload.phase == .completed && !upload.hasFinalizer, "\(upload.object.json) \(world.troubles)")
        #expect(
            status?["snapshotID"]?.string == "becalm1:\(try await world.repositoryID):\(DataMoverWorld.snapshot):d1")
        #expect(
            status?["path"] == "/volume" && status?["incrementalBytes"] == 7 && status?["acceptedByNode"] == "node-1")
        #expect(status?["progress"] == ["bytesDone": 10, "totalBytes": 10] && status?["message"] == nil)
        for key in ["acceptedTimestamp", "startTimestamp", "completionTimestamp"] {
            #expect(status?[.key(key)]?.string != nil, "\(key)")
        }
        #expect(try await world.leftovers(besides: Self.kept) == [])
        let phases = world.events.withLock { events in
            events.compactMap { if case .phase(_, let phase, _) = $0 { phase } else { nil } }
        }
        #expect(phases == ["Accepted", "Prepared", "InProgress", "Completed"])
    }

    @Test("The copy that is read is as large as the snapshot needs, and the mover says whose data it is")
    func exposes() async throws {
        let world = try await DataMoverWorld()
        try world.makeUpload()
        world.scene.holdPods(true)
        await world.step(.upload, "du", times: 12)
        let run = try #require(world.transfer(.upload, "du")).run
        let claim = try #require(world.cluster.get("PersistentVolumeClaim", "becalm-\(run)"))
        #expect(
            claim["spec", "resources", "requests", "storage"] == "2Gi" && claim["spec", "storageClassName"] == "fast")
        #expect(claim["spec", "accessModes"] == ["ReadWriteOnce"])
        #expect(claim["spec", "dataSource", "name"]?.string == "becalm-\(run)")
        let content = try #require(world.cluster.get("VolumeSnapshotContent", "becalm-\(run)"))
        #expect(
            content["spec", "source", "snapshotHandle"] == "handle-du" && content["spec", "deletionPolicy"] == "Delete")
        #expect(content.annotations["snapshot.storage.kubernetes.io/deletion-secret-name"] == "s3cr3t")
        // The pair in the claim's namespace is gone, the snapshot of the storage is not.
        #expect(world.cluster.get("VolumeSnapshot", "vs-du", namespace: "ml") == nil)
        #expect(world.cluster.get("VolumeSnapshotContent", "content-du") == nil)
        #expect(world.scene.storage == ["handle-du"])
        let job = try #require(world.cluster.all("Job").first)
        let arguments = (job["spec", "template", "spec", "containers", 0, "args"]?.array ?? []).compactMap(\.string)
        #expect(arguments.contains("ml/ckpt") && arguments.contains("velero.io/backup=nightly"), "\(arguments)")
        #expect(job.namespace == "velero" && world.transfer(.upload, "du")?.phase == .accepted)
    }

    @Test("The node stands in the status also where the mover has ended before anybody saw it run")
    func fastMover() async throws {
        let world = try await DataMoverWorld()
        try world.makeUpload()
        await world.step(.upload, "du", times: 10)
        #expect(world.transfer(.upload, "du")?.object["status", "node"] == nil)
        for _ in 0..<2 { world.scene.advancePods(of: world.cluster) }
        #expect(await world.finish(.upload, "du"))
        let upload = try #require(world.transfer(.upload, "du"))
        #expect(upload.phase == .completed && upload.object["status", "node"] == "n1", "\(upload.object.json)")
    }

    @Test("Progress and the node stand in the status while data is moved")
    func progresses() async throws {
        let world = try await DataMoverWorld()
        try world.makeUpload()
        await world.step(.upload, "du", times: 10)
        world.scene.advancePods(of: world.cluster)
        await world.step(.upload, "du", times: 3)
        let upload = try #require(world.transfer(.upload, "du"))
        #expect(upload.phase == .inProgress && upload.object["status", "node"] == "n1", "\(upload.object.json)")
        #expect(upload.object["status", "progress"] == ["bytesDone": 7, "totalBytes": 10])
    }

    @Test("A data mover that dies at any of its writes is followed by one that goes on", arguments: [false, true])
    func survives(afterDoing: Bool) async throws {
        var deaths = 0
        for writes in 0..<200 {
            let world = try await DataMoverWorld()
            try world.makeUpload(policy: writes % 2 == 0 ? "Delete" : "Retain")
            world.cluster.die(afterWrites: writes, afterDoing: afterDoing)
            #expect(await world.finish(.upload, "du"), "after \(writes) writes")
            let upload = world.transfer(.upload, "du")
            #expect(upload?.phase == .completed, "after \(writes) writes: \(upload?.object.json ?? .null)")
            #expect(upload?.object["status", "snapshotID"] != nil && upload?.hasFinalizer == false)
            #expect(try await world.leftovers(besides: Self.kept) == [], "after \(writes) writes")
            // Not one write more than that was made.
            if world.cluster.read({ $0.writesLeft != nil && !$0.isDead }) { break }
            deaths += 1
        }
        #expect(deaths > 15, "\(deaths)")
    }

    @Test(
        "One whose end is asked for, or that is deleted, ends at any step, and nothing is left",
        arguments: [
            false, true,
        ])
    func cancels(byDeletion: Bool) async throws {
        for steps in 0..<16 {
            let world = try await DataMoverWorld()
            try world.makeUpload()
            await world.step(.upload, "du", times: steps, advances: true)
            guard var upload = world.transfer(.upload, "du")?.object else { return }
            let wasDone = Transfer(upload)?.phase == .completed
            if byDeletion {
                world.cluster.change { $0.delete(upload) }
            } else {
                try upload.set(true, at: ["spec", "cancel"])
                world.cluster.put(upload)
            }
            #expect(await world.finish(.upload, "du"), "after \(steps) steps")
            if byDeletion {
                // What nobody has claimed yet has nothing of ours to be removed.
                if steps == 0 { continue }
                #expect(world.transfer(.upload, "du") == nil, "after \(steps) steps")
            } else {
                #expect(world.transfer(.upload, "du")?.phase == (wasDone ? .completed : .canceled), "after \(steps)")
            }
            #expect(try await world.leftovers(besides: Self.kept) == [], "after \(steps) steps")
        }
    }

    @Test("What a mover publishes while it is stopped is forgotten again")
    func forgets() async throws {
        let world = try await DataMoverWorld()
        try world.makeUpload()
        #expect(await world.reach(.inProgress, .upload, "du"))
        var upload = try #require(world.transfer(.upload, "du"))
        _ = try await world.makeSnapshot(tags: [MoverJob.partTag(run: upload.run)])
        try upload.object.set(true, at: ["spec", "cancel"])
        world.cluster.put(upload.object)
        #expect(await world.finish(.upload, "du"))
        #expect(world.transfer(.upload, "du")?.phase == .canceled)
        #expect(try await world.open().listSnapshots().snapshots.isEmpty)
    }

    @Test("An API server that is gone for a while loses nothing")
    func outlives() async throws {
        for steps in [0, 3, 6, 9, 12] {
            let world = try await DataMoverWorld()
            try world.makeUpload()
            await world.step(.upload, "du", times: steps, advances: true)
            world.cluster.change { $0.isDead = true }
            await world.step(.upload, "du", times: 3)
            world.cluster.revive()
            #expect(await world.finish(.upload, "du"))
            #expect(world.transfer(.upload, "du")?.phase == .completed)
            #expect(try await world.leftovers(besides: Self.kept) == [])
        }
    }

    @Test(
        "A verb that is not granted ends it with the rule that would",
        arguments: [
            "create volumesnapshotcontents", "create persistentvolumeclaims", "create jobs", "create secrets",
            "patch volumesnapshotcontents",
        ])
    func refused(verb: String) async throws {
        let world = try await DataMoverWorld()
        try world.makeUpload()
        world.cluster.change { $0.forbidden = [verb] }
        await world.step(.upload, "du", times: 12, advances: true)
        let upload = try #require(world.transfer(.upload, "du"))
        let message = upload.object["status", "message"]?.string ?? ""
        let words = verb.split(separator: " ")
        #expect(upload.phase == .failed, "\(upload.object.json)")
        #expect(message.contains("verbs [\"\(words[0])\"]") && message.contains("\"\(words[1])\""), "\(message)")
        world.cluster.change { $0.forbidden = [] }
        #expect(await world.finish(.upload, "du"))
        #expect(try await world.leftovers(besides: Self.kept) == [])
    }

    @Test("A verb that cleaning lacks is told, tried again, and keeps no success from being one")
    func cannotClean() async throws {
        let world = try await DataMoverWorld()
        try world.makeUpload()
        world.cluster.change { $0.forbidden = ["delete persistentvolumeclaims"] }
        await world.step(.upload, "du", times: 25, advances: true)
        let upload = try #require(world.transfer(.upload, "du"))
        #expect(upload.phase == .completed && upload.hasFinalizer)
        #expect(world.troubles.contains { $0.contains("verbs [\"delete\"]") }, "\(world.troubles)")
        world.cluster.change { $0.forbidden = [] }
        #expect(await world.finish(.upload, "du"))
        #expect(try await world.leftovers(besides: Self.kept) == [])
    }

    @Test(
        "What makes no sense fails at once, with what is wrong",
        arguments: [
            ("snapshotType", "Floppy", "Floppy"), ("sourcePVC", "", "sourcePVC"),
        ])
    func senseless(field: String, value: String, word: String) async throws {
        let world = try await DataMoverWorld()
        try world.makeUpload { try? $0.set(.string(value), at: ["spec", .key(field)]) }
        #expect(await world.finish(.upload, "du"))
        let upload = try #require(world.transfer(.upload, "du"))
        #expect(upload.phase == .failed && !upload.hasFinalizer)
        #expect(upload.object["status", "message"]?.string?.contains(word) == true, "\(upload.object.json)")
        #expect(try await world.leftovers(besides: Self.kept) == [])
    }

    @Test("A snapshot that was deleted: it fails and says so")
    func unreadable() async throws {
        let world = try await DataMoverWorld()
        try world.makeUpload()
        world.cluster.change { state in
            state.objects = state.objects.filter { $0.value.kind != "VolumeSnapshot" }
        }
        await world.finish(.upload, "du")
        let message = world.transfer(.upload, "du")?.object["status", "message"]?.string ?? ""
        #expect(message.contains("VolumeSnapshot ml/vs-du") && message.contains("deleted"), "\(message)")
    }

    @Test("The snapshot of a block device is made a block device, and its mover reads that")
    func block() async throws {
        for isClaimGone in [false, true] {
            let world = try await DataMoverWorld()
            try world.makeUpload()
            var claim = try #require(world.cluster.get("PersistentVolumeClaim", "ckpt", namespace: "ml"))
            try claim.set("Block", at: ["spec", "volumeMode"])
            world.cluster.put(claim)
            if isClaimGone {
                world.cluster.change { state in
                    state.objects = state.objects.filter { $0.value.kind != "PersistentVolumeClaim" }
                }
                var content = try #require(world.cluster.get("VolumeSnapshotContent", "content-du"))
                try content.set("Block", at: ["spec", "sourceVolumeMode"])
                world.cluster.put(content)
            }
            world.scene.holdPods(true)
            await world.step(.upload, "du", times: 12)
            let run = try #require(world.transfer(.upload, "du")).run
            let copy = try #require(world.cluster.get("PersistentVolumeClaim", "becalm-\(run)"), "\(isClaimGone)")
            #expect(copy["spec", "volumeMode"] == "Block", "\(isClaimGone)")
            let job = try #require(world.cluster.all("Job").first)
            let container = job["spec", "template", "spec", "containers", 0]
            #expect(container?["volumeDevices", 0, "devicePath"] == "/dev/volume", "\(isClaimGone)")
        }
    }

    @Test("A volume of which nobody says whether it is a device is not taken for files")
    func noMode() async throws {
        let world = try await DataMoverWorld()
        try world.makeUpload()
        world.cluster.change { state in
            state.objects = state.objects.filter { $0.value.kind != "PersistentVolumeClaim" }
        }
        await world.finish(.upload, "du")
        let status = world.transfer(.upload, "du")?.object["status"]
        #expect(status?["phase"] == "Failed")
        #expect(
            status?["message"]?.string?.contains("neither the content of VolumeSnapshot ml/vs-du") == true,
            "\(status as Any)"
        )
    }

    @Test("A claim that was made anew since its snapshot was cut does not say what the snapshot is of")
    func otherMode() async throws {
        let world = try await DataMoverWorld()
        try world.makeUpload()
        var content = try #require(world.cluster.get("VolumeSnapshotContent", "content-du"))
        try content.set("Block", at: ["spec", "sourceVolumeMode"])
        world.cluster.put(content)
        await world.step(.upload, "du", times: 12)
        let run = try #require(world.transfer(.upload, "du")).run
        #expect(world.cluster.get("PersistentVolumeClaim", "becalm-\(run)")?["spec", "volumeMode"] == "Block")
    }

    @Test("What is not prepared in time fails with what it waited for")
    func late() async throws {
        let world = try await DataMoverWorld { $0.prepareSeconds = 60 }
        try world.makeUpload()
        var snapshot = try #require(world.cluster.get("VolumeSnapshot", "vs-du", namespace: "ml"))
        try snapshot.set(["readyToUse": false, "error": ["message": "quota exceeded"]], at: ["status"])
        world.cluster.put(snapshot)
        await world.step(.upload, "du", times: 3)
        #expect(world.transfer(.upload, "du")?.phase == .accepted)
        #expect(world.transfer(.upload, "du")?.object["status", "message"]?.string?.contains("quota exceeded") == true)
        world.cluster.change { $0.ahead = 61 }
        await world.step(.upload, "du")
        let upload = try #require(world.transfer(.upload, "du"))
        #expect(upload.phase == .failed)
        let message = upload.object["status", "message"]?.string ?? ""
        #expect(message.contains("60 s") && message.contains("quota exceeded"), "\(message)")
    }

    @Test("Storage that does not answer is waited for, and not longer than a preparation may take")
    func storageAway() async throws {
        for comesBack in [true, false] {
            let world = try await DataMoverWorld { $0.prepareSeconds = 60 }
            try world.makeUpload()
            world.isStorageAway.withLock { $0 = true }
            await world.step(.upload, "du", times: 12)
            #expect(world.transfer(.upload, "du")?.phase == .accepted)
            let message = world.transfer(.upload, "du")?.object["status", "message"]?.string ?? ""
            #expect(message.contains("no route to the storage"), "\(message)")
            if comesBack {
                world.isStorageAway.withLock { $0 = false }
                #expect(await world.finish(.upload, "du"))
                #expect(world.transfer(.upload, "du")?.phase == .completed)
            } else {
                world.cluster.change { $0.ahead = 61 }
                await world.step(.upload, "du")
                #expect(world.transfer(.upload, "du")?.phase == .failed)
                world.isStorageAway.withLock { $0 = false }
                #expect(await world.finish(.upload, "du"))
            }
            #expect(try await world.leftovers(besides: Self.kept) == [])
        }
    }

    @Test(
        "A mover that fails has it fail with its words; what was read in part is named, so that it goes with the backup"
    )
    func fails() async throws {
        for (word, message, hasSnapshot) in [
            (#"{"status":12,"kind":"wrong_key","error":"no such key","problems":0}"#, "no such key", false),
            (
                #"{"status":3,"snapshot":"\#(DataMoverWorld.snapshot)","problems":1,"remarks":["a: changed"]}"#,
                "a: changed", true
            ),
        ] {
            let world = try await DataMoverWorld()
            world.scene.say(word, of: "backup")
            try world.makeUpload()
            #expect(await world.finish(.upload, "du"))
            let status = world.transfer(.upload, "du")?.object["status"]
            #expect(status?["phase"] == "Failed" && status?["message"]?.string?.contains(message) == true)
            #expect((status?["snapshotID"] != nil) == hasSnapshot)
            #expect(try await world.leftovers(besides: Self.kept) == [])
        }
    }

    @Test("What one has left whose finalizer was taken off by force is found and removed; what others have stays")
    func orphans() async throws {
        let world = try await DataMoverWorld()
        try world.makeUpload()
        try world.makeUpload("alive", claim: "other")
        for name in ["du", "alive"] { #expect(await world.reach(.inProgress, .upload, name)) }
        let known = Set(
            ["PersistentVolumeClaim ml/other", "DataUpload velero/alive"] + Self.kept)
        let upload = try #require(world.transfer(.upload, "du")?.object)
        world.cluster.change { $0.objects = $0.objects.filter { $0.value.uid != upload.uid } }
        for _ in 0..<6 {
            try await OrphanSweep(worker: world.worker).run()
            world.scene.advancePods(of: world.cluster)
        }
        let run = DetachedMover.run(for: ["DataUpload", upload.uid])
        #expect(!world.cluster.inventory.contains { $0.contains(run) }, "\(world.cluster.inventory)")
        #expect(world.scene.storage == ["handle-alive"])
        #expect(await world.finish(.upload, "alive"))
        #expect(world.transfer(.upload, "alive")?.phase == .completed)
        #expect(try await world.leftovers(besides: known) == [])
    }

    @Test("What somebody else has written meanwhile is not overwritten: the step begins anew from it")
    func conflicts() async throws {
        let world = try await DataMoverWorld()
        try world.makeUpload()
        await world.step(.upload, "du", times: 3)
        let stale = try #require(world.transfer(.upload, "du"))
        var cancelled = stale.object
        try cancelled.set(true, at: ["spec", "cancel"])
        world.cluster.put(cancelled)
        let error = await #expect(throws: KubernetesError.self) {
            _ = try await world.worker.store.save(stale, TransferStatus(.prepared))
        }
        #expect(error?.code == .conflict)
        #expect(world.transfer(.upload, "du")?.object["spec", "cancel"] == true)
        await world.step(.upload, "du")
        #expect(world.transfer(.upload, "du")?.phase == .canceling)
    }

    @Test("Those of other data movers, and phases of other versions, are left alone")
    func others() async throws {
        let world = try await DataMoverWorld()
        try world.makeUpload("mine") { try? $0.set(["phase": "Thinking"], at: ["status"]) }
        try world.makeUpload("theirs") { try? $0.set("velero", at: ["spec", "datamover"]) }
        let before = world.cluster.read { $0.writes }
        for name in ["mine", "theirs", "nobody's"] { await world.step(.upload, name, times: 2) }
        #expect(world.cluster.read { $0.writes } == before)
        #expect(world.troubles.contains { $0.contains("phase") })
    }
}
