import Basics
import Commands
import Foundation
import ObjectStorage
import ObjectStorageTesting
import Orchestration
import Repository
import RepositoryFormat
import SystemPackage
import Testing

/// What `show`, `snapshots`, `restore` and `drill` make of a snapshot that lists its checkpoints.
@Suite("Snapshots that list their checkpoints")
struct StatesTests {
    /// A world with a run of a trainer: a whole checkpoint of step 2, one of step 4 whose state is half written, and a
    /// second snapshot of it, in which the weights of step 2 have changed a little, that lists both.
    private func world() async throws -> World {
        let world = try World()
        try #require(await world.run("init").status == .done)
        try world.addSample("Samples/trainer/run", as: "run")
        try FileManager.default.copyItem(
            atPath: world.path("run/checkpoint-2"), toPath: world.path("run/checkpoint-4"))
        try world.write("run/checkpoint-4/trainer_state.json", "{\"global_st")
        try world.age("run/checkpoint-4")
        try world.write("run/checkpoint-2/extra.safetensors", Self.weights)
        try #require(await world.run("backup", "run").status == .done)
        var weights = Self.weights
        for index in stride(from: 1000, to: weights.count, by: 5000) { weights[index] ^= 1 }
        try world.write("run/checkpoint-2/extra.safetensors", weights)
        try #require(await world.run("backup", "run").status == .done)
        try await commit(Self.inventory, in: world)
        return world
    }

    /// A safetensors file of one tensor of 1 MiB.
    private static let weights: [UInt8] = {
        let header = Array(
            "{\"w\":{\"dtype\":\"F32\",\"shape\":[\(1 << 18)],\"data_offsets\":[0,\(1 << 20)]}}".utf8)
        var state: UInt64 = 1
        return (0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) } + header
            + (0..<1 << 20).map { _ in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return UInt8(truncatingIfNeeded: state >> 33)
            }
    }()

    private static let inventory: StateInventory = {
        var inventory = StateInventory()
        for (step, judgement) in [(Int64(2), "complete"), (4, "torn")] {
            var state = StateInventory.State(
                path: "run/checkpoint-\(step)", kind: "checkpoint", format: "transformers-trainer", judgement: judgement
            )
            state.step = step
            state.bytes = 1 << 20
            state.commitMarkers = ["run/checkpoint-\(step)/trainer_state.json"]
            state.tensors = [
                .init(dtype: "BF16", tensors: 2, elements: 1_500_000, bytes: 3_000_000),
                .init(dtype: "F32", tensors: 1, elements: 1000, bytes: 4000),
            ]
            if judgement == "torn" {
                state.reasons = ["trainer_state.json: a whole JSON document expected, 11 bytes\nfound"]
                state.quarantineName = "checkpoint-\(step).torn"
            }
            inventory.states.append(state)
        }
        inventory.states.append(.init(path: "../escape", kind: "model", format: "x\u{1b}[2J", judgement: "complete"))
        var run = StateInventory.Run(path: "run", format: "transformers-trainer")
        run.resumesFrom = "run/checkpoint-4"
        run.newestComplete = "run/checkpoint-2"
        run.warnings = ["it would fail"]
        inventory.runs = [run]
        inventory.leftOut = [.init(path: "run/tmp-checkpoint-5", message: "is being written")]
        return inventory
    }()

    /// Commits the tree of the newest snapshot once more, with this inventory.
    private func commit(_ inventory: StateInventory, in world: World) async throws {
        let store = try await DirectoryObjectStore(root: FilePath(world.path("repository")))
        let repository = try await Repository.open(
            store: store, credential: .keyFile(Array(0..<32)),
            options: RepositoryOptions(memoryBytes: 96 << 20, processors: 2))
        let newest = try await repository.findSnapshot("latest")
        var manifest = try #require(newest.manifest)
        manifest.inventory = inventory
        manifest.timeNanoseconds += 1
        let session = try await WriteSession.begin(repository, index: try await repository.loadIndex(recovering: true))
        try await BlockingBridge.offload(name: "finish") { Result { try session.finish() } }
        let chain = SnapshotChain(
            source: newest.object.chain.source, counter: newest.object.chain.counter + 1,
            predecessor: .init(id: newest.id, digest: newest.object.digest))
        _ = try await session.commit(manifest, chain: chain)
    }

    @Test("Show lists checkpoints with how they are stored, what jobs resume from, and what was left out")
    func show() async throws {
        let world = try await world()
        let run = await world.run("show", "latest", "--json")
        let objects = try run.objects()
        #expect(
            objects.map { $0["type"] as? String } == [
                "snapshot", "left_out", "state", "state", "state", "run", "entry", "summary",
            ])
        #expect(objects[0]["complete_checkpoints"] as? Int == 1 && objects[0]["newest_step"] as? Int == 2)
        #expect(objects[1]["path"] as? String == "run/tmp-checkpoint-5")
        let state = objects[2]
        #expect(state["path"] as? String == "run/checkpoint-2" && state["step"] as? Int == 2)
        #expect(state["parameters"] as? Int == 1_501_000 && state["judgement"] as? String == "complete")
        #expect((state["dtypes"] as? [[String: any Sendable]])?.map { $0["dtype"] as? String } == ["BF16", "F32"])
        let storage = try #require(state["storage"] as? [String: any Sendable])
        let size = try #require(storage["bytes"] as? Int)
        let stored = try #require(storage["stored_bytes"] as? Int)
        // The changed weights are a difference, which is much smaller than they are; the rest is a few kilobytes.
        #expect(storage["files"] as? Int == 8 && size > 1 << 20 && stored > 0 && stored < size / 4, "\(storage)")
        #expect(try #require(storage["difference_bytes"] as? Int) >= 1 << 20, "\(storage)")
        #expect(storage["chunk_bytes"] as? Int == size && storage["missing_chunks"] as? Int == 0)
        let share = try #require(storage["difference_share"] as? Double)
        #expect(share > 0.9 && share < 1)
        let forms = try #require(storage["forms"] as? [String: [String: Int]])
        #expect(Set(forms.keys) == ["stored", "zstd", "planes", "difference", "unknown"])
        #expect(forms.values.reduce(0) { $0 + ($1["bytes"] ?? 0) } == size, "\(forms)")
        #expect(forms.values.reduce(0) { $0 + ($1["stored_bytes"] ?? 0) } == stored, "\(forms)")
        #expect(forms["difference"]?["bytes"] == storage["difference_bytes"] as? Int && forms["unknown"]?["bytes"] == 0)
        #expect(abs(try #require(storage["ratio"] as? Double) - Double(stored) / Double(size)) < 1e-9)
        #expect(objects[3]["quarantine_name"] as? String == "checkpoint-4.torn")
        #expect((objects[3]["reasons"] as? [String])?.count == 1)
        #expect(objects[4]["storage"] is NSNull)
        #expect(objects[5]["resumes_from"] as? String == "run/checkpoint-4")

        let text = await world.run("show", "latest").out
        #expect(text.contains("left out        run/tmp-checkpoint-5: is being written\n"), "\(text)")
        #expect(text.contains("1.5 M") && text.contains("differences 9"), "\(text)")
        #expect(text.contains("run/checkpoint-4: torn: trainer_state.json: a whole JSON document"), "\(text)")
        #expect(text.contains("run: transformers-trainer resumes from run/checkpoint-4\n  warning: it would fail\n"))
        #expect(!text.contains("\u{1b}") && text.hasSuffix("run/\n"), "\(text)")
        let inside = try await world.run("show", "latest", "run", "--json").objects()
        #expect(inside.map { $0["type"] as? String } == ["entry", "entry", "summary"])
    }

    @Test("What the repository lacks of a checkpoint shows in the list")
    func lacking() async throws {
        let world = try await world()
        let data = URL(fileURLWithPath: world.path("repository/data"))
        let packs = try FileManager.default.subpathsOfDirectory(atPath: data.path).map(data.appendingPathComponent)
        // The index in the cache and in the store knows nothing of the packs any more.
        for name in try FileManager.default.contentsOfDirectory(atPath: world.path("repository/index")) {
            try FileManager.default.removeItem(atPath: world.path("repository/index/\(name)"))
        }
        for pack in packs where try pack.resourceValues(forKeys: [.isRegularFileKey]).isRegularFile == true {
            try FileManager.default.removeItem(at: pack)
        }
        #expect(await world.run("verify", "--rebuild-index", "--cache-dir", "none").status != .noRepository)
        let run = await world.run("show", "latest", "--cache-dir", "none")
        #expect(run.out.contains("run/checkpoint-2: damaged: the repository lacks"), "\(run.out)\(run.err)")
    }

    @Test("Snapshots that list checkpoints say how many are complete, and the others nothing")
    func snapshots() async throws {
        let world = try await world()
        try world.write("notes/a.txt", "nothing to judge")
        try #require(await world.run("backup", "notes").status == .done)
        let lines = await world.run("snapshots").out.split(separator: "\n")
        #expect(lines.first?.contains("checkpoints") == true, "\(lines)")
        #expect(lines[3].contains("  1, step 2  ") && !lines[4].contains("step"), "\(lines)")
        let objects = try await world.run("snapshots", "--json").objects()
        #expect(objects[3]["complete_checkpoints"] as? Int == 0 && objects[2]["complete_checkpoints"] as? Int == 1)
    }

    @Test("Restore sets the torn one aside and says so; as stored it does not")
    func setAside() async throws {
        let world = try await world()
        let run = await world.run("restore", "latest", "--target", "out", "--verify", "--json")
        #expect(run.status == .done, "\(run.out)\(run.err)")
        let event = try #require(try run.objects().first { $0["type"] as? String == "set_aside" })
        #expect(event["path"] as? String == "run/checkpoint-4")
        #expect(event["new_path"] as? String == "run/checkpoint-4.torn" && event["reasons"] is [String])
        #expect(try run.summary()["set_aside"] as? Int == 1)
        #expect(try run.summary()["content_digest"] is NSNull)
        let text = await world.run("restore", "latest", "--target", "text", "--quiet")
        #expect(
            text.err == """
                becalm: set aside: run/checkpoint-4 is torn and is now run/checkpoint-4.torn: trainer_state.json: a whole \
                JSON document expected, 11 bytes found

                """, "\(text.err)")
        #expect(text.out.contains("\n1 torn checkpoint set aside"))
        let same = await world.run("restore", "latest", "--target", "same", "--as-stored", "--json")
        #expect(try same.summary()["set_aside"] as? Int == 0 && same.summary()["content_digest"] is String)
        #expect(try execute("/usr/bin/diff", ["-r", "run", "same/run"], in: world.path).status == 0)
    }

    @Test("Restore brings back one checkpoint, and ends with 21 for a torn one and 64 for one that is not there")
    func checkpoint() async throws {
        let world = try await world()
        let run = await world.run("restore", "latest", "--target", "out", "--checkpoint", "latest", "--json")
        #expect(run.status == .done, "\(run.out)\(run.err)")
        #expect(try run.summary()["checkpoint"] as? String == "run/checkpoint-2")
        #expect(try FileManager.default.contentsOfDirectory(atPath: world.path("out/run")) == ["checkpoint-2"])
        let torn = await world.run("restore", "latest", "--target", "torn", "--checkpoint", "4")
        #expect(torn.status == .checkpointTorn && torn.err.contains("run/checkpoint-4 (step 4) is torn"), "\(torn.err)")
        let none = await world.run("restore", "latest", "--target", "none", "--checkpoint", "3")
        #expect(none.status == .usage && none.err.contains("there are the steps 2, 4"), "\(none.err)")
        #expect(none.err.split(separator: "\n").count == 1 && torn.err.split(separator: "\n").count == 1)
        #expect(await world.run("restore", "latest", "--target", "x", "--checkpoint", "new").status == .usage)
        for name in ["torn", "none", "x"] { #expect(!FileManager.default.fileExists(atPath: world.path(name))) }
    }

    @Test("A drill judges what is stored: a torn newest checkpoint fails it, whatever a restore would call it")
    func drill() async throws {
        let world = try await world()
        try FileManager.default.createDirectory(atPath: world.path("place"), withIntermediateDirectories: true)
        let run = await world.run("drill", "--scratch", "place", "--json")
        #expect(run.status == .checkpointTorn, "\(run.out)\(run.err)")
        #expect(run.out.contains("would resume from run/checkpoint-4, which is torn"), "\(run.out)")
        #expect(try run.summary()["result"] as? String == "failed")
    }
}
