import FoundationEssentials
import Kubernetes
import Testing
import Velero

/// The files that users copy are ones that the plugin takes.
@Suite("The plugin's examples")
struct ExamplesTests {
    private static let directory =
        #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 } + "/plugin/examples"

    /// The documents of a file.
    private static func documents(_ name: String) throws -> [KubernetesObject] {
        let text = try String(contentsOfFile: "\(directory)/\(name)", encoding: .utf8)
        return try text.split(separator: "\n---\n").map { try KubernetesObject(JSONValue(yaml: String($0))) }
    }

    private static func texts(_ json: JSONValue?) -> [String: String] {
        Dictionary(
            uniqueKeysWithValues: (json?.object?.members ?? []).compactMap { member in
                member.value.string.map { (member.key, $0) }
            })
    }

    /// All of the files, in the order of their names.
    private static func files() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: directory).filter { $0.hasSuffix(".yaml") }.sorted()
    }

    @Test("Every file holds objects, and there are as many as are known here")
    func all() throws {
        let files = try Self.files()
        #expect(files.count == 13)
        for file in files { #expect(try !Self.documents(file).isEmpty, "\(file)") }
    }

    @Test("All files can be applied together: no object is in two of them, and no action has two ConfigMaps")
    func distinct() throws {
        var places: [String: String] = [:]
        for file in try Self.files() {
            for object in try Self.documents(file) {
                var names = ["\(object.kind) \(object.namespace)/\(object.name)"]
                if object.labels["velero.io/plugin-config"] != nil {
                    names += object.labels.keys.filter { $0.hasPrefix("becalm.io/") }
                }
                for name in names {
                    if let other = places.updateValue(file, forKey: name) {
                        Issue.record("\(name) is in \(other) and in \(file)")
                    }
                }
            }
        }
        for action in [
            PluginName.trainingGroup, .quiesce, .volumeBackup, .volumeRestore, .workloadRestore, .volumeDelete,
        ] {
            #expect(places[action.rawValue] != nil, "\(action) is configured by an example")
        }
    }

    @Test("What an example names is in an example: the image, the repository, the namespace of workloads")
    func placeholders() throws {
        for file in try Self.files() {
            let text = try String(contentsOfFile: "\(Self.directory)/\(file)", encoding: .utf8)
            for match in text.matches(of: /(?m)^ *(?:moverI|i)mage: (.+)$/) {
                #expect(match.output.1 == "REGISTRY/becalm:VERSION", "\(file)")
            }
            for match in text.matches(of: /(?m)^ *(?:repository|value): (s3:.+)$/) {
                #expect(match.output.1 == "s3://backups/becalm", "\(file)")
            }
        }
        let schedule = try #require(try Self.documents("schedule.yaml").first)
        let policies = try #require(try Self.documents("volume-policy.yaml").first)
        #expect(schedule["spec", "template", "resourcePolicy", "name"]?.string == policies.name)
        #expect(schedule["spec", "template", "includedNamespaces"] == ["train"])
    }

    @Test(
        "Locations of backups are understood",
        arguments: ["backup-location.yaml", "backup-location-minio.yaml", "backup-location-encrypted.yaml"])
    func locations(file: String) throws {
        let locations = try Self.documents(file).filter { $0.kind == "BackupStorageLocation" }
        #expect(locations.count == 1)
        for location in locations {
            #expect(location["spec", "provider"]?.string == PluginName.s3.rawValue)
            var config = Self.texts(location["spec", "config"])
            config["bucket"] = location["spec", "objectStorage", "bucket"]?.string
            config["prefix"] = location["spec", "objectStorage", "prefix"]?.string
            let read = try ObjectStoreConfiguration(config)
            #expect((read.encryptionKey != nil) == file.contains("encrypted"))
        }
    }

    @Test("The location of snapshots is understood")
    func snapshots() async throws {
        let location = try #require(try Self.documents("volume-snapshot-location.yaml").first)
        #expect(location["spec", "provider"]?.string == PluginName.volumes.rawValue)
        _ = try await VolumeSnapshotter.open(
            config: Self.texts(location["spec", "config"]), environment: ActionWorld().environment)
    }

    @Test("Settings are ones that the actions know, each with its default")
    func settings() async throws {
        var world = ActionWorld()
        for map in try Self.documents("plugin-config.yaml") { world.add(map, "configmaps") }
        let job = try ActionWorld.bytes(BackupActionTests.job)
        let (backup, restore) = (Array(ActionWorld.backup.utf8), Array(ActionWorld.restore.utf8))
        _ = try await world.group.relatedItems(item: job, backup: backup)
        let (with, without) = (
            try world.restoreAction(.workloadRestore), try ActionWorld().restoreAction(.workloadRestore)
        )
        let outcome = try await with.execute(item: job, original: job, restore: restore)
        #expect(try await without.execute(item: job, original: job, restore: restore).item == outcome.item)
        #expect(!world.log.lines.contains { $0.contains("default settings") }, "\(world.log.lines)")
    }

    @Test("The settings of movers are ones that all four actions know")
    func movers() async throws {
        var world = ActionWorld()
        for map in try Self.documents("volume-movers.yaml") { world.add(map, "configmaps") }
        let job = try ActionWorld.bytes(BackupActionTests.job)
        _ = try await world.backupAction(.quiesce).execute(item: job, backup: Array(ActionWorld.backup.utf8))
        var claim = try ActionWorld.object(VolumePolicyTests.claim)
        claim.setAnnotation("becalm.io/volume-backup", "true")
        let backup = Array(ActionWorld.backup.utf8)
        _ = try await world.backupAction(.volumeBackup).execute(item: claim.serialized(), backup: backup)
        #expect(!world.log.lines.contains { $0.contains("default settings") }, "\(world.log.lines)")
        // As far as the cluster, which is not there.
        #expect(world.log.lines.contains { $0.contains("knows of no cluster") }, "\(world.log.lines)")
        let (one, two) = (String(repeating: "4", count: 32), String(repeating: "5", count: 32))
        claim.setAnnotation("becalm.io/volume-snapshot", "becalm1:\(one):\(two):d")
        let item = claim.serialized()
        let action = try world.restoreAction(.volumeRestore)
        let refused = await #expect(throws: VeleroError.self) {
            _ = try await action.execute(item: item, original: item, restore: Array(ActionWorld.restore.utf8))
        }
        #expect(refused?.message.contains("knows of no cluster") == true)
        let delete = try world.delete
        let kept = await #expect(throws: VeleroError.self) { try await delete.execute(item: item, backup: backup) }
        #expect(kept?.message.contains("knows of no cluster") == true)
    }

    @Test("The volume policies give Becalm the volumes that they say they do")
    func policies() async throws {
        var world = ActionWorld()
        let map = try #require(try Self.documents("volume-policy.yaml").first)
        world.add(map, "configmaps")
        var volume = try ActionWorld.object(VolumePolicyTests.volume)
        try volume.set("training", at: ["spec", "storageClassName"])
        world.add(volume, "persistentvolumes")
        let backup =
            #"{"metadata":{"name":"b","namespace":"velero"},"spec":{"resourcePolicy":{"kind":"configmap","name":"\#(map.name)"}}}"#
        _ = try await world.backupAction(.volumeBackup).execute(
            item: try ActionWorld.bytes(VolumePolicyTests.claim), backup: Array(backup.utf8))
        #expect(
            world.log.lines.contains { $0.hasPrefix("error") && $0.contains("it is given to Becalm") },
            "\(world.log.lines)")
    }
}
