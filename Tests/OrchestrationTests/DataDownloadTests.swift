import Basics
import Kubernetes
import KubernetesTesting
import Testing

@testable import Orchestration

@Suite("DataDownloads that the data mover serves", .timeLimit(.minutes(10)))
struct DataDownloadTests {
    /// What stays: Velero's objects, and the volume with the data.
    private func leftovers(_ world: DataMoverWorld) async throws -> [String] {
        let known: Set = ["DataDownload velero/dd", "PersistentVolumeClaim new/ckpt", "StorageClass fast"]
        return try await world.leftovers(besides: known).filter { !$0.hasPrefix("PersistentVolume pvc-") }
    }

    private func check(_ world: DataMoverWorld, reclaim: String, _ when: String) async throws {
        let download = world.transfer(.download, "dd")
        #expect(download?.phase == .completed && download?.hasFinalizer == false, "\(when) \(world.troubles)")
        let claim = try #require(world.cluster.get("PersistentVolumeClaim", "ckpt", namespace: "new"))
        let volumes = world.cluster.all("PersistentVolume")
        #expect(volumes.count == 1, "\(when): \(volumes.map(\.label))")
        let volume = try #require(volumes.first)
        #expect(claim["spec", "volumeName"]?.string == volume.name && claim["status", "phase"] == "Bound", "\(when)")
        #expect(volume["spec", "claimRef", "uid"]?.string == claim.uid && volume["status", "phase"] == "Bound")
        #expect(volume["spec", "persistentVolumeReclaimPolicy"]?.string == reclaim, "\(when)")
        #expect(volume.labels == ["velero.io/dynamic-pv-restore": "new.ckpt.abcde"], "\(when): \(volume.labels)")
        #expect(volume.annotations.isEmpty, "\(when): \(volume.annotations)")
        #expect(try await leftovers(world) == [], "\(when)")
    }

    @Test(
        "A volume is filled in Velero's namespace and handed to the claim that asks for it",
        arguments: ["Delete", "Retain"])
    func restores(reclaim: String) async throws {
        let world = try await DataMoverWorld()
        let snapshot = try await world.makeSnapshot()
        try world.makeDownload(snapshot: snapshot, reclaim: reclaim)
        await world.step(.download, "dd", times: 5)
        let run = try #require(world.transfer(.download, "dd")).run
        let made = try #require(world.cluster.get("PersistentVolumeClaim", "becalm-\(run)"))
        #expect(made["spec", "accessModes"] == ["ReadWriteMany"] && made["spec", "selector"] == nil)
        #expect(made["spec", "resources", "requests", "storage"] == "3Gi" && made["spec", "storageClassName"] == "fast")
        let job = try #require(world.cluster.all("Job").first)
        let arguments = job["spec", "template", "spec", "containers", 0, "args"]?.array ?? []
        #expect(arguments.contains(.string(String(snapshot.split(separator: ":")[2]))) && arguments.contains("volume"))
        #expect(await world.finish(.download, "dd"))
        try await check(world, reclaim: reclaim, "once")
        #expect(world.transfer(.download, "dd")?.object["status", "progress", "bytesDone"] == 10)
    }

    @Test("A claim that is a block device gets a block device, which its mover writes")
    func block() async throws {
        let world = try await DataMoverWorld()
        let snapshot = try await world.makeSnapshot()
        try world.makeDownload(snapshot: snapshot, reclaim: "Delete")
        var target = try #require(world.cluster.get("PersistentVolumeClaim", "ckpt", namespace: "new"))
        try target.set("Block", at: ["spec", "volumeMode"])
        // The driver had made the origin larger than it was asked to: what it holds is a piece of 1 MiB.
        try target.set("512Ki", at: ["spec", "resources", "requests", "storage"])
        world.cluster.put(target)
        await world.step(.download, "dd", times: 5)
        let run = try #require(world.transfer(.download, "dd")).run
        let made = try #require(world.cluster.get("PersistentVolumeClaim", "becalm-\(run)"))
        #expect(made["spec", "volumeMode"] == "Block")
        #expect(made["spec", "resources", "requests", "storage"] == "1Mi")
        let container = try #require(world.cluster.all("Job").first)["spec", "template", "spec", "containers", 0]
        #expect(container?["volumeDevices", 0, "devicePath"] == "/dev/volume")
        #expect(await world.finish(.download, "dd"))
        try await check(world, reclaim: "Delete", "a device")
    }

    @Test("A data mover that dies at any of its writes is followed by one that goes on", arguments: [false, true])
    func survives(afterDoing: Bool) async throws {
        var deaths = 0
        for writes in 0..<200 {
            let world = try await DataMoverWorld()
            let reclaim = writes % 2 == 0 ? "Delete" : "Retain"
            try world.makeDownload(snapshot: try await world.makeSnapshot(), reclaim: reclaim)
            world.cluster.die(afterWrites: writes, afterDoing: afterDoing)
            #expect(await world.finish(.download, "dd"), "after \(writes) writes")
            try await check(world, reclaim: reclaim, "after \(writes) writes")
            if world.cluster.read({ $0.writesLeft != nil && !$0.isDead }) { break }
            deaths += 1
        }
        #expect(deaths > 15, "\(deaths)")
    }

    @Test("One whose end is asked for ends at any step: the volume goes, unless it is the claim's already")
    func cancels() async throws {
        var ends: [Transfer.Phase: Int] = [:]
        for steps in 0..<18 {
            let world = try await DataMoverWorld()
            try world.makeDownload(snapshot: try await world.makeSnapshot(), reclaim: "Retain")
            await world.step(.download, "dd", times: steps, advances: true)
            var download = try #require(world.transfer(.download, "dd")?.object)
            try download.set(true, at: ["spec", "cancel"])
            world.cluster.put(download)
            #expect(await world.finish(.download, "dd"), "after \(steps) steps")
            if world.transfer(.download, "dd")?.phase == .completed {
                try await check(world, reclaim: "Retain", "after \(steps) steps")
                ends[.completed, default: 0] += 1
                continue
            }
            #expect(world.transfer(.download, "dd")?.phase == .canceled, "after \(steps) steps")
            ends[.canceled, default: 0] += 1
            #expect(world.cluster.all("PersistentVolume").isEmpty, "after \(steps) steps")
            #expect(try await leftovers(world) == [], "after \(steps) steps")
        }
        let (canceled, completed) = (ends[.canceled, default: 0], ends[.completed, default: 0])
        #expect(canceled > 3 && completed > 3, "\(ends)")
    }

    @Test(
        "A snapshot that is not ours, of another repository, or gone: it fails and says which",
        arguments: [
            ("kopia-id", "none of this data mover's"),
            ("becalm1:\(String(repeating: "4", count: 32)):\(DataMoverWorld.snapshot):d", "in the repository 4444"),
            ("gone", "snapshot"),
        ])
    func strangers(text: String, word: String) async throws {
        let world = try await DataMoverWorld()
        let id = text == "gone" ? "becalm1:\(try await world.repositoryID):\(DataMoverWorld.snapshot):d" : text
        try world.makeDownload(snapshot: id)
        #expect(await world.finish(.download, "dd"))
        let download = try #require(world.transfer(.download, "dd"))
        #expect(download.phase == .failed && !download.hasFinalizer, "\(download.object.json)")
        #expect(download.object["status", "message"]?.string?.contains(word) == true, "\(download.object.json)")
        #expect(world.cluster.all("PersistentVolume").isEmpty && world.cluster.all("Job").isEmpty)
    }

    @Test("A claim that has a volume keeps it; one that comes late is waited for")
    func targets() async throws {
        var world = try await DataMoverWorld()
        try world.makeDownload(snapshot: try await world.makeSnapshot())
        var claim = try #require(world.cluster.get("PersistentVolumeClaim", "ckpt", namespace: "new"))
        try claim.set("pv-old", at: ["spec", "volumeName"])
        world.cluster.put(claim)
        #expect(await world.finish(.download, "dd"))
        #expect(world.transfer(.download, "dd")?.object["status", "message"]?.string?.contains("bound already") == true)
        #expect(world.cluster.get("PersistentVolumeClaim", "ckpt", namespace: "new")?["spec", "volumeName"] == "pv-old")

        world = try await DataMoverWorld()
        try world.makeDownload(snapshot: try await world.makeSnapshot())
        let late = try #require(world.cluster.get("PersistentVolumeClaim", "ckpt", namespace: "new"))
        world.cluster.change { $0.objects = $0.objects.filter { $0.value.uid != late.uid } }
        await world.step(.download, "dd", times: 3)
        #expect(
            world.transfer(.download, "dd")?.object["status", "message"]?.string?.contains("does not exist yet") == true
        )
        world.cluster.put(late)
        #expect(await world.finish(.download, "dd"))
        try await check(world, reclaim: "Delete", "late")
    }

    @Test("The volume of a class that waits for a consumer waits for the node, and not for ever")
    func consumers() async throws {
        let world = try await DataMoverWorld { $0.consumerSeconds = 60 }
        try world.makeDownload(snapshot: try await world.makeSnapshot())
        var kind = try #require(world.cluster.get("StorageClass", "fast"))
        try kind.set("WaitForFirstConsumer", at: ["volumeBindingMode"])
        world.cluster.put(kind)
        await world.step(.download, "dd", times: 4)
        #expect(world.cluster.all("Job").isEmpty)
        var claim = try #require(world.cluster.get("PersistentVolumeClaim", "ckpt", namespace: "new"))
        claim.setAnnotation("volume.kubernetes.io/selected-node", "gpu-7")
        world.cluster.put(claim)
        await world.step(.download, "dd", times: 3)
        let job = try #require(world.cluster.all("Job").first)
        #expect("\(job["spec", "template", "spec", "affinity"] ?? .null)".contains("gpu-7"))

        let other = try await DataMoverWorld { $0.consumerSeconds = 60 }
        try other.makeDownload(snapshot: try await other.makeSnapshot())
        other.cluster.put(kind)
        await other.step(.download, "dd", times: 4)
        #expect(other.cluster.all("Job").isEmpty)
        other.cluster.change { $0.ahead = 61 }
        await other.step(.download, "dd", times: 3)
        #expect(other.cluster.all("Job").count == 1)
    }

    @Test("A claim that is deleted while its data is on the way has it fail, and the volume goes")
    func vanished() async throws {
        let world = try await DataMoverWorld()
        try world.makeDownload(snapshot: try await world.makeSnapshot())
        #expect(await world.reach(.inProgress, .download, "dd"))
        let claim = try #require(world.cluster.get("PersistentVolumeClaim", "ckpt", namespace: "new"))
        world.cluster.change { $0.objects = $0.objects.filter { $0.value.uid != claim.uid } }
        #expect(await world.finish(.download, "dd"))
        let download = try #require(world.transfer(.download, "dd"))
        #expect(download.phase == .failed, "\(download.object.json)")
        #expect(download.object["status", "message"]?.string?.contains("new/ckpt was deleted") == true)
        #expect(world.cluster.all("PersistentVolume").isEmpty)
        #expect(try await leftovers(world) == [])
    }
}
