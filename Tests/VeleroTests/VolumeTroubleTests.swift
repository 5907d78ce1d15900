import Basics
import Foundation
import Logging
import Orchestration
import Repository
import RepositoryFormat
import Synchronization
import SystemPackage
import Testing
import Velero

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

private let volume = "becalm1:hostpath:/data/pg"

/// What goes wrong while a volume is worked on.
@Suite struct VolumeTroubleTests {
    // MARK: Links

    @Test(
        "A link leads where it leads on the node, and out of the roots never",
        arguments: [
            // Link in the volume's path, what it leads to, the volume behind it; nil: refused.
            ("host/alias", "/data", "/alias/pg", true), ("host/alias", "data", "/alias/pg", true),
            ("host/data/alias", "../data/pg", "/data/alias", true), ("host/alias", "/alias", "/alias/pg", false),
            ("host/alias", "../outside", "/alias/pg", false),
            ("host/data/alias", "/../../outside/pg", "/data/alias", false),
        ])
    func links(link: String, target: String, path: String, isThere: Bool) async throws {
        let world = try VolumeWorld()
        try world.makeVolume()
        try world.write("outside/pg/secret", "not yours\n")
        try FileManager.default.createSymbolicLink(atPath: world.path(link), withDestinationPath: target)
        let plugin = try await world.open()
        let id = "becalm1:hostpath:\(path)"
        let error = await volumeError {
            let snapshot = try await plugin.createSnapshot(volumeID: id, zone: "", tags: [:])
            let new = try await plugin.createVolume(snapshotID: snapshot, type: "", zone: "", iops: nil)
            // Beside the original as it was named.
            let name = try #require(new.split(separator: "/").last)
            #expect(try world.read("host/data/\(name)/deep/a") == "first\n")
        }
        #expect((error == nil) == isThere, "\(error?.message ?? "no error")")
        #expect(try !everything(below: world.path("host")).contains("secret"))
    }

    @Test(
        "A link that leads out of a root that is only a part of the node's files is refused, by the id's call as well")
    func partialRoot() async throws {
        let world = try VolumeWorld()
        try world.makeVolume()
        try world.write("elsewhere/pg/secret", "not yours\n")
        try world.write("host/data/pg/x", "y")
        for (name, target) in [("absolute", "/elsewhere"), ("upwards", "../elsewhere"), ("deep", "/etc")] {
            try FileManager.default.createSymbolicLink(
                atPath: world.path("host/data/\(name)"), withDestinationPath: target)
        }
        let plugin = try await world.open(["nodeRoots": "/srv/data=\(world.path("host/data"))"])
        for name in ["absolute", "upwards", "deep"] {
            let json = SamplePV.hostPath("/srv/data/\(name)/pg")
            #expect(
                await volumeError { _ = try await plugin.volumeID(persistentVolume: json) }?.code == .invalidArgument)
            let id = "becalm1:hostpath:/srv/data/\(name)"
            let error = await volumeError { _ = try await plugin.createSnapshot(volumeID: id, zone: "", tags: [:]) }
            #expect(error?.code == .invalidArgument, "\(error?.message ?? "no error")")
        }
        let error = await volumeError {
            _ = try await plugin.createSnapshot(volumeID: "becalm1:hostpath:/srv/data/../x", zone: "", tags: [:])
        }
        #expect(error?.code == .invalidArgument)
    }

    @Test("A link of an NFS volume to a place of its server is refused, for it would lead into this pod")
    func nfsLink() async throws {
        let world = try VolumeWorld()
        try world.write("export/real/x", "x")
        for (name, target) in [("relative", "real"), ("absolute", "/etc")] {
            try FileManager.default.createSymbolicLink(
                atPath: world.path("export/\(name)"), withDestinationPath: target)
        }
        let plugin = try await world.open(["nfsRoots": "s:/export=\(world.path("export"))"])
        _ = try await plugin.createSnapshot(volumeID: "becalm1:nfs:s:/export/relative", zone: "", tags: [:])
        let error = await volumeError {
            _ = try await plugin.createSnapshot(volumeID: "becalm1:nfs:s:/export/absolute", zone: "", tags: [:])
        }
        #expect(error?.code == .invalidArgument)
    }

    // MARK: Incomplete copies

    @Test("What changes while it is read fails the snapshot, and is tolerated where that was asked for")
    func changes() async throws {
        let world = try VolumeWorld()
        try world.makeVolume()
        try world.write("host/data/pg/busy", [UInt8](repeating: 1, count: 24 << 20))
        let busy = Atomic<Bool>(true)
        let path = world.path("host/data/pg/busy")
        let writer = WorkerThreads(count: 1, name: "test-writer") { _ in
            let file = open(path, O_WRONLY)
            var byte: UInt8 = 0
            while busy.load(ordering: .relaxed) {
                byte &+= 1
                _ = pwrite(file, &byte, 1, Int(byte))
            }
            close(file)
        }
        let strict = try await world.open()
        let error = await volumeError { _ = try await strict.createSnapshot(volumeID: volume, zone: "", tags: [:]) }
        let kind = try await world.open(["tolerate": "changes"])
        let id = try await kind.createSnapshot(volumeID: volume, zone: "", tags: [:])
        busy.store(false, ordering: .relaxed)
        writer.join()
        #expect(error?.code == .failed)
        #expect(error?.message.contains("busy") == true && error?.message.contains("tolerate: changes") == true)
        #expect(world.log.warnings.count == 1, "\(world.log.warnings)")
        // The incomplete one is forgotten.
        let listed = try await InspectionJourney(repository: try await world.openRepository()).snapshots().snapshots
        #expect(listed.map { "\($0.id)" } == [VolumeSnapshotID(id).map { "\($0.snapshot)" }])
    }

    /// Nobody may read it, not even root: the kernel has nothing to show.
    private static let writeOnly = "/sys/bus/cpu/uevent"

    @Test(
        "What cannot be read fails the snapshot, and is left out where that was asked for",
        .enabled(if: geteuid() != 0 || Mount.works && access(writeOnly, F_OK) == 0, "root reads everything"))
    func unreadable() async throws {
        let world = try VolumeWorld()
        try world.makeVolume()
        let broken = world.path("host/data/pg/broken")
        try world.write("host/data/pg/broken", "secret")
        let mount = geteuid() == 0 ? try Mount(bind: Self.writeOnly, on: broken) : nil
        defer { withExtendedLifetime(mount) {} }
        if mount == nil { #expect(chmod(broken, 0) == 0) }
        for tolerate in ["none", "changes"] {
            let plugin = try await world.open(["tolerate": tolerate])
            let error = await volumeError { _ = try await plugin.createSnapshot(volumeID: volume, zone: "", tags: [:]) }
            #expect(error?.code == .failed && error?.message.contains("broken") == true, "\(error?.message ?? "none")")
        }
        let plugin = try await world.open(["tolerate": "unreadable"])
        _ = try await plugin.createSnapshot(volumeID: volume, zone: "", tags: [:])
        #expect(world.log.warnings.count == 1, "\(world.log.warnings)")
    }

    @Test(
        "A volume that goes away meanwhile has no snapshot, whatever is tolerated",
        arguments: ["sessions/", "snapshots/"], [false, true])
    func vanishes(when: String, isReplaced: Bool) async throws {
        let world = try VolumeWorld()
        try world.makeVolume()
        let (from, to) = (world.path("host/data/pg"), world.path("away"))
        // A repository that is there: its own making writes no session and no snapshot.
        let plugin = try await world.open(["tolerate": "unreadable"])
        world.log.onLine { line in
            guard line.text.contains("put \(when)"), rename(from, to) == 0, isReplaced else { return }
            mkdir(from, 0o755)
        }
        let error = await volumeError { _ = try await plugin.createSnapshot(volumeID: volume, zone: "", tags: [:]) }
        world.log.onLine(nil)
        #expect(world.exists("away"))
        #expect(error != nil)
        let listed = try await InspectionJourney(repository: try await world.openRepository()).snapshots().snapshots
        #expect(listed.isEmpty)
    }

    @Test("A checkpoint that is being written is left out, and the log says so in one warning")
    func leftOut() async throws {
        let world = try VolumeWorld()
        try world.makeVolume()
        // A safetensors file whose header promises more than there is.
        let header = #"{"w":{"dtype":"F32","shape":[1000],"data_offsets":[0,4000]}}"#
        var bytes = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) } + Array(header.utf8)
        bytes += [UInt8](repeating: 0, count: 100)
        try world.write("host/data/pg/model.safetensors", bytes)
        let plugin = try await world.open()
        let id = try await plugin.createSnapshot(volumeID: volume, zone: "", tags: [:])
        #expect(world.log.warnings.count == 1, "\(world.log.warnings)")
        #expect(world.log.warnings.first?.contains("model.safetensors") == true)
        let new = try await plugin.createVolume(snapshotID: id, type: "", zone: "", iops: nil)
        #expect(try world.names("host/data/\(try #require(new.split(separator: "/").last))") == ["b", "deep", "link"])
    }

    @Test("An empty volume is a snapshot, with a warning")
    func empty() async throws {
        let world = try VolumeWorld()
        try world.makeDirectory("host/data/pg")
        let plugin = try await world.open()
        let id = try await plugin.createSnapshot(volumeID: volume, zone: "", tags: [:])
        #expect(world.log.warnings.contains { $0.contains("mountPropagation") })
        let new = try await plugin.createVolume(snapshotID: id, type: "", zone: "", iops: nil)
        #expect(try world.names("host/data/\(try #require(new.split(separator: "/").last))").isEmpty)
    }

    // MARK: Restores that end early

    @Test(
        "A full disk is told as such, and nothing is left on it",
        .enabled(if: Mount.works, "only root mounts a small disk"))
    func fullDisk() async throws {
        let world = try VolumeWorld()
        try world.makeVolume()
        try world.write(
            "host/data/pg/large", (0..<(4 << 20)).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> 13) })
        try world.makeDirectory("host/small")
        let mount = try Mount(sizeMebibytes: 2, on: world.path("host/small"))
        defer { withExtendedLifetime(mount) {} }
        let plugin = try await world.open(["restoreRoots": "/small"])
        let id = try await plugin.createSnapshot(volumeID: volume, zone: "", tags: [:])
        let error = await volumeError {
            _ = try await plugin.createVolume(snapshotID: id, type: "", zone: "", iops: nil)
        }
        #expect(error?.message.contains("is full") == true, "\(error?.message ?? "no error")")
        #expect(try world.names("host/small").isEmpty)
    }

    @Test("What a killed restore has left goes with the next one, and what is nobody's stays")
    func killedRestore() async throws {
        let world = try VolumeWorld()
        try world.makeVolume()
        let plugin = try await world.open()
        let id = try await plugin.createSnapshot(volumeID: volume, zone: "", tags: [:])
        // Claimed by somebody who is gone: the lock goes with its descriptor, so a file with the right words will do.
        let name = ".becalm-volume-" + String(repeating: "a", count: 32)
        try world.write("host/data/\(name)/half", "half\n")
        try world.write(
            "host/data/\(name).lock", "becalm volume: the directory beside this file is removed with all in it\n")
        try world.write("host/data/.becalm-volume-mine/keep", "keep\n")
        _ = try await plugin.createVolume(snapshotID: id, type: "", zone: "", iops: nil)
        #expect(!world.exists("host/data/\(name)") && !world.exists("host/data/\(name).lock"))
        #expect(world.exists("host/data/.becalm-volume-mine/keep"))
    }

    @Test("A cancelled call ends, leaves nothing in the way, and the next one works", arguments: [true, false])
    func cancelled(isRestore: Bool) async throws {
        let world = try VolumeWorld()
        try world.makeVolume()
        let plugin = try await world.open()
        let id = try await plugin.createSnapshot(volumeID: volume, zone: "", tags: [:])
        try world.write("host/data/pg/more", (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 9) })
        let task = Mutex<Task<VeleroError?, Never>?>(nil)
        // In the middle of it: when a session has begun, or a pack is read.
        world.log.onLine { line in
            guard line.text.contains(isRestore ? "get snapshots/" : "put sessions/") else { return }
            task.withLock { $0?.cancel() }
        }
        task.withLock { slot in
            slot = Task {
                await volumeError {
                    if isRestore {
                        _ = try await plugin.createVolume(snapshotID: id, type: "", zone: "", iops: nil)
                    } else {
                        _ = try await plugin.createSnapshot(volumeID: volume, zone: "", tags: [:])
                    }
                }
            }
        }
        let running = try #require(task.withLock { $0 })
        let error = await running.value
        world.log.onLine(nil)
        #expect(error?.code == .cancelled, "\(error?.message ?? "no error")")
        #expect(try world.names("host/data") == ["pg"])
        let next = try await plugin.createSnapshot(volumeID: volume, zone: "", tags: [:])
        _ = try await plugin.createVolume(snapshotID: next, type: "", zone: "", iops: nil)
    }
}

/// Names of everything below a directory.
private func everything(below path: String) throws -> Set<String> {
    Set(
        try FileManager.default.subpathsOfDirectory(atPath: path).compactMap {
            $0.split(separator: "/").last.map(String.init)
        })
}

/// A file system on a directory, or a file on a file, until the last reference goes. Only root can.
final class Mount: Sendable {
    private let path: String

    /// Whether this process may mount.
    static let works: Bool = {
        let path = NSTemporaryDirectory() + "/becalm-mount-\(UUID().uuidString)"
        guard geteuid() == 0, mkdir(path, 0o700) == 0 else { return false }
        defer { rmdir(path) }
        return (try? Mount(sizeMebibytes: 1, on: path)) != nil
    }()

    init(sizeMebibytes: Int, on path: String) throws {
        guard mount("tmpfs", path, "tmpfs", 0, "size=\(sizeMebibytes)m") == 0 else { throw Errno(rawValue: errno) }
        self.path = path
    }

    init(bind source: String, on path: String) throws {
        guard mount(source, path, nil, UInt(MS_BIND), nil) == 0 else { throw Errno(rawValue: errno) }
        self.path = path
    }

    deinit { umount2(path, Int32(MNT_DETACH)) }
}
