import Kubernetes
import Logging
import Orchestration
import Testing
import Velero

@Suite struct VolumeIDTests {
    @Test(
        "An id says kind and path, and any process reads it back",
        arguments: [
            "becalm1:hostpath:/data/pg", "becalm1:local:/mnt/disks/ssd 1:a", "becalm1:nfs:fs.example.org:/export/a",
            "becalm1:nfs:[fd00::1]:/export", "becalm1:nfs:fd00::1:/", "becalm1:hostpath:/ü/数",
        ])
    func roundTrip(text: String) throws {
        let id = try #require(VolumeID(text))
        #expect(id.description == text)
        #expect(VolumeID(id.description) == id)
    }

    @Test(
        "What is no id of this version is refused",
        arguments: [
            "", "becalm1:", "becalm2:hostpath:/a", "becalm1:csi:/a", "becalm1:hostpath:a", "becalm1:hostpath:/a/../b",
            "becalm1:hostpath:/a/", "becalm1:hostpath://a", "becalm1:hostpath:/a\nb", "becalm1:nfs:/a",
            "becalm1:nfs::/a", "becalm1:nfs:server/x:/a", "becalm1:hostpath:/a/./b", "vol-0123456789",
            "becalm1:hostpath:/" + String(repeating: "x", count: 4096),
        ])
    func refused(text: String) { #expect(VolumeID(text) == nil) }

    @Test func aLongPathStaysWholeInItsId() throws {
        let path = "/" + Array(repeating: String(repeating: "p", count: 99), count: 20).joined(separator: "/")
        let id = try #require(VolumeID("becalm1:local:\(path)"))
        #expect("\(id.path)" == path)
    }

    @Test func aSnapshotsIdNamesItsRepositoryAndNothingElseIsOne() {
        let hex = String(repeating: "0f", count: 16)
        #expect(VolumeSnapshotID("becalm1:\(hex):\(hex)")?.description == "becalm1:\(hex):\(hex)")
        for text in ["", hex, "becalm1:\(hex)", "becalm2:\(hex):\(hex)", "becalm1:\(hex):\(hex):", "becalm1:\(hex):0f"]
        {
            #expect(VolumeSnapshotID(text) == nil, "\(text)")
        }
    }
}

@Suite struct PersistentVolumeTests {
    @Test(
        "Volumes that are directories below a root get an id",
        arguments: [
            (SamplePV.hostPath("/data/pg"), "becalm1:hostpath:/data/pg"),
            (SamplePV.hostPath("//data/./pg/", type: "DirectoryOrCreate"), "becalm1:hostpath:/data/pg"),
            (SamplePV.local("/data/pg"), "becalm1:local:/data/pg"),
            (SamplePV.hostPath("/data/pg", node: "n1"), "becalm1:hostpath:/data/pg"),
            (SamplePV.nfs("FS.example.org", "/export/a"), "becalm1:nfs:FS.example.org:/export/a"),
            // It is not there: its snapshot will say so.
            (SamplePV.hostPath("/data/none"), "becalm1:hostpath:/data/none"),
        ])
    func ours(json: [UInt8], id: String) async throws {
        let world = try VolumeWorld()
        try world.makeVolume()
        try world.makeDirectory("nfs/a")
        let plugin = try await world.open(["nfsRoots": "fs.example.org:/export=\(world.path("nfs"))"])
        #expect(try await plugin.volumeID(persistentVolume: json) == id)
        #expect(try await plugin.info(volumeID: id, zone: "").iops == nil)
    }

    @Test(
        "What is not ours gets the empty id, and a line in the log says why",
        arguments: [
            (SamplePV.make(#""csi":{"driver":"d","volumeHandle":"h"}"#), "source"),
            (SamplePV.make(#""hostPath":{"path":"/data/pg"}"#, mode: "Block"), "block device"),
            (SamplePV.hostPath("/data/pg", type: "Socket"), "Socket"),
            (SamplePV.hostPath("/data/pg/b"), "a file"),
            (SamplePV.hostPath("/"), "all of a node"),
            (SamplePV.local("/data/pg", node: "n2"), "another node"),
            (SamplePV.nfs("other", "/export/a"), "none of the configured roots"),
            (SamplePV.nfs("fs", "/exported/a"), "none of the configured roots"),
        ])
    func foreign(json: [UInt8], reason: String) async throws {
        let world = try VolumeWorld()
        try world.makeVolume()
        let plugin = try await world.open(["nfsRoots": "fs:/export=\(world.path("host"))"])
        #expect(try await plugin.volumeID(persistentVolume: json) == "")
        #expect(world.log.all.contains { $0.level == .info && $0.text.contains(reason) }, "\(world.log.all)")
    }

    @Test(
        "What is malformed or leads upwards is refused",
        arguments: [
            SamplePV.hostPath("/data/../../etc"), SamplePV.local("/data/.."), SamplePV.nfs("s", "/x/../y"),
            SamplePV.hostPath("data/pg"), SamplePV.hostPath("/data/a\\nb"), SamplePV.make(#""hostPath":{"path":7}"#),
            SamplePV.nfs("", "/x"), SamplePV.nfs("a b", "/x"), Array("[]".utf8), Array("".utf8), Array("{".utf8),
        ])
    func refused(json: [UInt8]) async throws {
        let plugin = try await VolumeWorld().open()
        let error = await volumeError { _ = try await plugin.volumeID(persistentVolume: json) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains("\n") == false)
    }

    @Test("Only the path changes in a volume that is given another directory, and its affinity stays")
    func set() async throws {
        let plugin = try await VolumeWorld().open()
        for (old, new, id) in [
            (
                SamplePV.hostPath("/data/pg", node: "n1"), SamplePV.hostPath("/data/new", node: "n1"),
                "hostpath:/data/new"
            ),
            (SamplePV.local("/data/pg"), SamplePV.local("/data/new"), "local:/data/new"),
            (SamplePV.nfs("a", "/x"), SamplePV.nfs("b", "/y"), "nfs:b:/y"),
        ] {
            let changed = try await plugin.setVolumeID("becalm1:\(id)", persistentVolume: old)
            #expect(String(decoding: changed, as: UTF8.self) == String(decoding: new, as: UTF8.self))
        }
        // White space and all, where nothing changes.
        let pretty = Array(#"{ "kind":"PersistentVolume", "spec":{ "hostPath":{ "path":"/data/pg" }}}"#.utf8)
        #expect(try await plugin.setVolumeID("becalm1:hostpath:/data/pg", persistentVolume: pretty) == pretty)
    }

    @Test("A volume of another kind, or one that is bound to another node, is not changed")
    func setRefused() async throws {
        let plugin = try await VolumeWorld().open()
        for (json, id) in [
            (SamplePV.nfs("a", "/x"), "becalm1:hostpath:/x"), (SamplePV.local("/x", node: "n2"), "becalm1:local:/y"),
            (SamplePV.local("/x"), "vol-1"),
        ] {
            let error = await volumeError { _ = try await plugin.setVolumeID(id, persistentVolume: json) }
            #expect(error?.code == .invalidArgument, "\(id)")
        }
    }

    @Test(
        "Without a node's name every node's volumes are taken, and only one that has the node among its terms otherwise"
    )
    func affinity() async throws {
        let world = try VolumeWorld()
        try world.makeVolume()
        let any = try await world.open(["nodeName": "*"])
        #expect(try await any.volumeID(persistentVolume: SamplePV.local("/data/pg", node: "n2")) != "")
        let terms =
            #""local":{"path":"/data/pg"},"nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"kubernetes.io/hostname","operator":"In","values":["n2"]}]},{"matchExpressions":[{"key":"zone","operator":"In","values":["a"]},{"key":"kubernetes.io/hostname","operator":"NotIn","values":["n3"]}]}]}}"#
        for (node, isOurs) in [("n1", true), ("n2", true), ("n3", false)] {
            let plugin = try await world.open(["nodeName": node])
            #expect(try await plugin.volumeID(persistentVolume: SamplePV.make(terms)).isEmpty != isOurs, "\(node)")
        }
    }
}
