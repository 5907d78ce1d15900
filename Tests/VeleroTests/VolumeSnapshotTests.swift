import Foundation
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

@Suite struct VolumeSnapshotTests {
    @Test("A snapshot comes back as a new volume beside the original, with modes, owners, links and times")
    func roundTrip() async throws {
        let world = try VolumeWorld()
        try world.makeVolume()
        let (directory, file) = (world.path("host/data/pg"), world.path("host/data/pg/deep/a"))
        #expect(chmod(directory, 0o2750) == 0 && chmod(file, 0o640) == 0)
        if geteuid() == 0 { #expect(chown(file, 1234, 5678) == 0 && chown(directory, 999, 998) == 0) }
        let plugin = try await world.open()
        let tags = ["velero.io/backup": "nightly", "velero.io/pv": "pv1", "team": "ai"]
        let id = try await plugin.createSnapshot(volumeID: volume, zone: "", tags: tags)
        #expect(VolumeSnapshotID(id) != nil)
        // Another process, years later.
        let later = try await world.open()
        let new = try await later.createVolume(snapshotID: id, type: "becalm-hostpath", zone: "", iops: nil)
        let path = try #require(new.wholeMatch(of: #/becalm1:hostpath:(/data/pg\.becalm-[0-9a-f]{8})/#)?.1)
        let (was, is_) = (try facts(directory), try facts(world.path("host\(path)")))
        #expect(was.st_mode == is_.st_mode && was.st_uid == is_.st_uid && was.st_gid == is_.st_gid)
        #expect(was.st_mtim.tv_sec == is_.st_mtim.tv_sec && was.st_mtim.tv_nsec == is_.st_mtim.tv_nsec)
        let (fileWas, fileIs) = (try facts(file), try facts(world.path("host\(path)/deep/a")))
        #expect(fileWas.st_mode == fileIs.st_mode && fileWas.st_uid == fileIs.st_uid)
        #expect(try world.read("host\(path)/deep/a") == "first\n")
        #expect(FileManager.default.contentsEqual(atPath: directory, andPath: world.path("host\(path)")))
        #expect(try world.names("host/data").count == 2)
        let changed = try await plugin.setVolumeID(new, persistentVolume: SamplePV.hostPath("/data/pg"))
        #expect(try await plugin.volumeID(persistentVolume: changed) == new)
        #expect(world.log.warnings.isEmpty, "\(world.log.warnings)")
    }

    @Test("A snapshot has Velero's tags and its volume's id, and the next one reads only what changed")
    func incremental() async throws {
        let world = try VolumeWorld()
        try world.makeVolume()
        let plugin = try await world.open()
        let first = try await plugin.createSnapshot(volumeID: volume, zone: "", tags: ["velero.io/backup": "one"])
        let stored = try size(of: world.path("repository"))
        try world.write("host/data/pg/new", "more\n")
        let second = try await plugin.createSnapshot(volumeID: volume, zone: "", tags: ["velero.io/backup": "two"])
        #expect(first != second)
        #expect(try size(of: world.path("repository")) - stored < 50_000)
        let listed = try await InspectionJourney(repository: try await world.openRepository()).snapshots().snapshots
        #expect(
            listed.map { "\($0.id)" } == [first, second].compactMap { VolumeSnapshotID($0).map { "\($0.snapshot)" } })
        #expect(listed[1].manifest?.parent == "\(listed[0].id)")
        #expect(listed[1].manifest?.tags == ["velero.io/backup=two", "becalm.io/volume=\(volume)"])
        #expect(listed[1].manifest?.host == "n1")
    }

    @Test("A restored volume is a volume as any other, and its own restore has no longer name")
    func restoredTwice() async throws {
        let world = try VolumeWorld()
        try world.makeVolume()
        let plugin = try await world.open()
        let id = try await plugin.createSnapshot(volumeID: volume, zone: "", tags: [:])
        let once = try await plugin.createVolume(snapshotID: id, type: "", zone: "", iops: nil)
        let twice = try await plugin.createVolume(snapshotID: id, type: "", zone: "", iops: nil)
        #expect(once != twice && once.count == twice.count)
        let again = try await plugin.createSnapshot(volumeID: once, zone: "", tags: [:])
        let thrice = try await plugin.createVolume(snapshotID: again, type: "becalm-hostpath", zone: "", iops: nil)
        #expect(thrice.count == once.count && thrice != once && thrice != twice)
        #expect(try world.names("host/data").count == 4)
    }

    @Test("New volumes go to the restore root of their node or server, and there the PersistentVolume finds them")
    func restoreRoots() async throws {
        let world = try VolumeWorld()
        try world.makeVolume()
        try world.write("export/a/x", "on nfs\n")
        for name in ["host/restored", "other/restored"] { try world.makeDirectory(name) }
        let roots = [
            "nfsRoots": "s1:/export=\(world.path("export")),s2:/=\(world.path("other"))",
            "restoreRoots": "/restored,S2:/restored",
        ]
        let plugin = try await world.open(roots)
        let one = try await plugin.createSnapshot(volumeID: "becalm1:local:/data/pg", zone: "", tags: [:])
        let two = try await plugin.createSnapshot(volumeID: "becalm1:nfs:s1:/export/a", zone: "", tags: [:])
        let local = try await plugin.createVolume(snapshotID: one, type: "becalm-local", zone: "", iops: nil)
        #expect(local.hasPrefix("becalm1:local:/restored/pg.becalm-"))
        let nfs = try await plugin.createVolume(snapshotID: two, type: "becalm-nfs", zone: "", iops: nil)
        #expect(nfs.hasPrefix("becalm1:nfs:S2:/restored/a.becalm-"))
        #expect(try world.read("other/restored/\(try #require(nfs.split(separator: "/").last))/x") == "on nfs\n")
        let changed = try await plugin.setVolumeID(nfs, persistentVolume: SamplePV.nfs("s1", "/export/a"))
        #expect(try await plugin.volumeID(persistentVolume: changed) == nfs)
        // All of an export has nothing beside it.
        let whole = try await world.open(["nfsRoots": "s1:/export=\(world.path("export"))"])
        let three = try await whole.createSnapshot(volumeID: "becalm1:nfs:s1:/export", zone: "", tags: [:])
        let error = await volumeError {
            _ = try await whole.createVolume(snapshotID: three, type: "", zone: "", iops: nil)
        }
        #expect(error?.message.contains("restoreRoots") == true, "\(error?.message ?? "")")
        let wrong = await volumeError {
            _ = try await plugin.createVolume(snapshotID: two, type: "becalm-local", zone: "", iops: nil)
        }
        #expect(wrong?.code == .invalidArgument)
    }

    @Test("Snapshots of one volume may be taken at once, by one process and by several")
    func concurrent() async throws {
        let world = try VolumeWorld()
        try world.makeVolume()
        let first = try await world.open()
        _ = try await first.createSnapshot(volumeID: volume, zone: "", tags: [:])
        let plugins = [first, first, try await world.open(["memory": "192Mi"]), try await world.open()]
        let ids = try await withThrowingTaskGroup(of: String.self) { group in
            for plugin in plugins {
                group.addTask { try await plugin.createSnapshot(volumeID: volume, zone: "", tags: [:]) }
            }
            return try await group.reduce(into: Set<String>()) { $0.insert($1) }
        }
        #expect(ids.count == 4)
        for id in ids {
            let new = try await first.createVolume(snapshotID: id, type: "", zone: "", iops: nil)
            #expect(VolumeID(new) != nil)
        }
    }

    @Test(
        "Calls take turns as far as the memory goes, and one that is cancelled waits no longer", arguments: [96, 192])
    func turns(mebibytes: Int) async throws {
        let world = try VolumeWorld()
        try world.makeVolume()
        let plugin = try await world.open(["memory": "\(mebibytes)Mi"])
        _ = try await plugin.createSnapshot(volumeID: volume, zone: "", tags: [:])
        struct Turns {
            var begun = Set<String>(), committed = 0, most = 0
        }
        let turns = Mutex(Turns())
        world.log.onLine { line in
            turns.withLock { turns in
                if line.text.contains("put sessions/") { turns.begun.insert(line.text) }
                turns.most = max(turns.most, turns.begun.count - turns.committed)
                if line.text.contains("put snapshots/") { turns.committed += 1 }
            }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<5 {
                group.addTask { _ = try await plugin.createSnapshot(volumeID: volume, zone: "", tags: [:]) }
            }
            let cancelled = Task { try await plugin.createSnapshot(volumeID: volume, zone: "", tags: [:]) }
            cancelled.cancel()
            #expect(await volumeError { _ = try await cancelled.value }?.code == .cancelled)
            try await group.waitForAll()
        }
        world.log.onLine(nil)
        turns.withLock {
            #expect($0.committed == 5)
            #expect($0.most <= mebibytes / 96 && $0.most >= 1)
        }
    }

    @Test("A volume that does not exist, or is a file, fails its snapshot and leaves no snapshot behind")
    func missing() async throws {
        let world = try VolumeWorld()
        try world.makeVolume()
        let plugin = try await world.open()
        for (id, code) in [
            ("becalm1:hostpath:/data/none", VeleroError.Code.notFound),
            ("becalm1:hostpath:/data/pg/b", .invalidArgument),
            ("becalm1:nfs:s:/data", .invalidArgument), ("vol-1", .invalidArgument),
        ] {
            let error = await volumeError { _ = try await plugin.createSnapshot(volumeID: id, zone: "", tags: [:]) }
            #expect(error?.code == code, "\(error?.message ?? "no error")")
        }
        #expect(try world.names("repository").isEmpty)
    }

    @Test("Without leave to make one, no repository is made; in a directory of other things never")
    func noRepository() async throws {
        let world = try VolumeWorld()
        try world.makeVolume()
        let plugin = try await world.open(["createRepository": "false"])
        var error = await volumeError { _ = try await plugin.createSnapshot(volumeID: volume, zone: "", tags: [:]) }
        #expect(error?.code == .notFound)
        #expect(try world.names("repository").isEmpty)
        try world.write("repository/thesis.tex", "")
        let bold = try await world.open()
        error = await volumeError { _ = try await bold.createSnapshot(volumeID: volume, zone: "", tags: [:]) }
        #expect(error?.message.contains("thesis.tex") == true)
        let nowhere = try await world.open(["repository": world.path("unmounted/repository")])
        error = await volumeError { _ = try await nowhere.createSnapshot(volumeID: volume, zone: "", tags: [:]) }
        #expect(error?.code == .notFound)
        #expect(!world.exists("unmounted"))
    }

    @Test("A wrong key is told as such by every call, and changes nothing")
    func wrongKey() async throws {
        let world = try VolumeWorld()
        try world.makeVolume()
        let id = try await world.open().createSnapshot(volumeID: volume, zone: "", tags: [:])
        try world.write("key", [UInt8](repeating: 9, count: 32))
        let plugin = try await world.open()
        for call in [
            { _ = try await plugin.createSnapshot(volumeID: volume, zone: "", tags: [:]) },
            { _ = try await plugin.createVolume(snapshotID: id, type: "", zone: "", iops: nil) },
            { try await plugin.deleteSnapshot(id) },
        ] as [() async throws -> Void] {
            let error = await volumeError(call)
            #expect(error?.code == .accessDenied, "\(error?.message ?? "no error")")
        }
        try world.write("key", "short")
        let error = await volumeError { try await plugin.deleteSnapshot(id) }
        #expect(error?.code == .invalidArgument)
        #expect(try world.names("host/data") == ["pg"])
    }

    @Test("A key can be a password, a Secret, or an identity", arguments: ["password", "secret", "identity"])
    func keys(kind: String) async throws {
        let world = try VolumeWorld()
        try world.makeVolume()
        let identity = try IdentityText.generate().file
        try world.write("identity", identity)
        try world.write("password", "open sesame\n")
        struct Secrets: SecretSource {
            let key: [UInt8]
            func value(ofSecret name: String, key: String) async throws(VeleroError) -> [UInt8] {
                guard name == "becalm", key == "repository" else { throw VeleroError(.notFound, "no \(name)/\(key)") }
                return self.key
            }
        }
        var config = ["repositoryKeyFile": ""]
        switch kind {
        case "password": config["repositoryPasswordFile"] = world.path("password")
        case "secret": config["repositoryKeySecret"] = "becalm/repository"
        default: config["repositoryKeyFile"] = world.path("identity")
        }
        let plugin = try await world.open(config, secrets: Secrets(key: Array(0..<40)))
        let id = try await plugin.createSnapshot(volumeID: volume, zone: "", tags: [:])
        _ = try await plugin.createVolume(snapshotID: id, type: "", zone: "", iops: nil)
        if kind == "identity" {
            // Not merely its bytes as a key file's: the command line opens it with --identity.
            _ = try await world.openRepository(try IdentityText.credential(identity, file: "identity"))
        }
        if kind == "secret" {
            let other = try await world.open(
                ["repositoryKeyFile": "", "repositoryKeySecret": "becalm/other"], secrets: Secrets(key: []))
            #expect(await volumeError { try await other.deleteSnapshot(id) }?.code == .notFound)
        }
    }

    @Test("A volume that holds the repository, or lies in it, is refused")
    func repositoryInside() async throws {
        let world = try VolumeWorld()
        try world.makeVolume()
        try world.makeDirectory("host/data/pg/backups")
        let plugin = try await world.open(["repository": world.path("host/data/pg/backups")])
        let error = await volumeError { _ = try await plugin.createSnapshot(volumeID: volume, zone: "", tags: [:]) }
        #expect(error?.code == .invalidArgument)
        #expect(try world.names("host/data/pg/backups").isEmpty)
    }

    @Test("Deleting forgets the snapshot and no other, and what is gone already is deleted")
    func delete() async throws {
        let world = try VolumeWorld()
        try world.makeVolume()
        let plugin = try await world.open()
        let first = try await plugin.createSnapshot(volumeID: volume, zone: "", tags: [:])
        let second = try await plugin.createSnapshot(volumeID: volume, zone: "", tags: [:])
        try await plugin.deleteSnapshot(first)
        try await plugin.deleteSnapshot(first)
        let error = await volumeError {
            _ = try await plugin.createVolume(snapshotID: first, type: "", zone: "", iops: nil)
        }
        #expect(error?.code == .notFound)
        _ = try await plugin.createVolume(snapshotID: second, type: "", zone: "", iops: nil)
        // Another repository at the same place, then none, then not even the directory.
        try FileManager.default.moveItem(atPath: world.path("repository"), toPath: world.path("moved"))
        try world.makeDirectory("repository")
        let third = try await plugin.createSnapshot(volumeID: volume, zone: "", tags: [:])
        try await plugin.deleteSnapshot(second)
        let elsewhere = await volumeError {
            _ = try await plugin.createVolume(snapshotID: second, type: "", zone: "", iops: nil)
        }
        #expect(elsewhere?.code == .notFound)
        _ = try await plugin.createVolume(snapshotID: third, type: "", zone: "", iops: nil)
        try FileManager.default.removeItem(atPath: world.path("repository"))
        try world.makeDirectory("repository")
        try await plugin.deleteSnapshot(third)
        try FileManager.default.removeItem(atPath: world.path("repository"))
        #expect(await volumeError { try await plugin.deleteSnapshot(third) }?.code == .notFound)
        #expect(await volumeError { try await plugin.deleteSnapshot("snap-1") }?.code == .invalidArgument)
    }

    @Test("A restore from a repository that has lost data makes no volume")
    func damaged() async throws {
        let world = try VolumeWorld()
        try world.makeVolume()
        let plugin = try await world.open()
        let id = try await plugin.createSnapshot(volumeID: volume, zone: "", tags: [:])
        let packs = try FileManager.default.subpathsOfDirectory(atPath: world.path("repository"))
            .filter { $0.hasPrefix("data/") }.map { world.path("repository/\($0)") }.filter {
                try facts($0).st_size > 1000
            }
        for pack in packs where try facts(pack).st_mode & S_IFMT == S_IFREG {
            var bytes = try Data(contentsOf: URL(fileURLWithPath: pack))
            for index in stride(from: 200, to: bytes.count - 200, by: 97) { bytes[index] ^= 0xff }
            try bytes.write(to: URL(fileURLWithPath: pack))
        }
        #expect(!packs.isEmpty)
        let error = await volumeError {
            _ = try await plugin.createVolume(snapshotID: id, type: "", zone: "", iops: nil)
        }
        #expect(error?.code == .failed, "\(error?.message ?? "no error")")
        #expect(try world.names("host/data") == ["pg"])
    }
}

func facts(_ path: String) throws -> stat {
    var facts = stat()
    guard lstat(path, &facts) == 0 else { throw Errno(rawValue: errno) }
    return facts
}

private func size(of directory: String) throws -> Int {
    try FileManager.default.subpathsOfDirectory(atPath: directory).reduce(0) {
        $0 + Int(try facts("\(directory)/\($1)").st_size)
    }
}
