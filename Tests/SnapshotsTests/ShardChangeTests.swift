import Basics
import Checkpoints
import FoundationEssentials
import ObjectStorage
import ObjectStorageTesting
import Repository
import RepositoryFormat
import SystemPackage
import Testing

@testable import Snapshots

/// Shards of a tree that changes from one to the next.
@Suite("Shards of a changing tree")
struct ShardChangeTests {
    private static let samples = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "CheckpointsTests/Samples/trainer/run/checkpoint-2")

    private let world: JoinWorld
    private let tree: SourceTree

    init() async throws {
        world = try await JoinWorld()
        tree = try SourceTree("run")
        for number in 0..<40 { try tree.put("logs/\(number)", "\(number)") }
        try add("out/checkpoint-2")
        try add("out/checkpoint-4")
    }

    private func place(_ name: String) -> String { tree.path.appending(name).string }

    private func add(_ name: String) throws {
        try FileManager.default.createDirectory(
            at: URL(filePath: place(name)).deletingLastPathComponent(), withIntermediateDirectories: true)
        try FileManager.default.copyItem(atPath: Self.samples.path, toPath: place(name))
        try age(name, 3600)
    }

    private func age(_ name: String, _ seconds: Double) throws {
        let date = Date(timeIntervalSinceNow: -seconds)
        for entry in try FileManager.default.subpathsOfDirectory(atPath: place(name)).map({ "\(name)/\($0)" }) + [name]
        {
            try FileManager.default.setAttributes([.modificationDate: date], ofItemAtPath: place(entry))
        }
    }

    /// Takes both shards, with `change` between them, and joins them.
    private func joined(_ change: () throws -> Void) async throws -> JoinResult {
        var parts: [JoinPart] = []
        for index in 0..<2 {
            if index == 1 { try change() }
            let part = try await world.backUp([tree.bytes], judging: true) { $0.shard = Shard(index: index, count: 2) }
            parts.append(JoinWorld.part(part, at: ""))
        }
        return try await world.join(parts)
    }

    private func names(_ result: JoinResult) async throws -> Set<String> {
        Set(try await world.entries(result.snapshot).keys)
    }

    @Test("A checkpoint that was written anew between them is left out and named, and the other one stays")
    func rewritten() async throws {
        let result = try await joined {
            let weights = try #require(
                try FileManager.default.contentsOfDirectory(atPath: place("out/checkpoint-4")).first {
                    $0.hasSuffix(".safetensors")
                })
            // The same bytes, saved again.
            try FileManager.default.setAttributes(
                [.modificationDate: Date(timeIntervalSinceNow: -1800)],
                ofItemAtPath: place("out/checkpoint-4/\(weights)"))
        }
        let names = try await names(result)
        #expect(names.contains("run/out/checkpoint-2/") && !names.contains("run/out/checkpoint-4/"))
        #expect(
            names.allSatisfy { !$0.hasPrefix("run/out/checkpoint-4") }
                && names.count { $0.hasPrefix("run/logs/") } == 41)
        let inventory = try #require(result.manifest.inventory)
        #expect(inventory.states.map(\.path) == ["run/out/checkpoint-2"])
        #expect(inventory.leftOut.map(\.path) == [place("out/checkpoint-4")], "\(inventory.leftOut)")
        #expect(result.problems.isEmpty, "\(result.problems)")
        #expect(inventory.runs.allSatisfy { $0.resumesFrom != "run/out/checkpoint-4" })
    }

    @Test("One that came or went between them is left out, as a whole, and so is any directory")
    func cameOrWent() async throws {
        let result = try await joined {
            try add("out/checkpoint-6")
            try FileManager.default.removeItem(atPath: place("out/checkpoint-2"))
            try tree.put("new/file", "new")
        }
        let names = try await names(result)
        for gone in ["run/out/checkpoint-6", "run/out/checkpoint-2", "run/new"] {
            #expect(names.allSatisfy { !$0.hasPrefix(gone) }, "\(gone)")
        }
        #expect(names.contains("run/out/checkpoint-4/"))
        #expect(result.manifest.inventory?.states.map(\.path) == ["run/out/checkpoint-4"])
        #expect(
            result.manifest.inventory?.leftOut.map(\.path).sorted() == [
                place("out/checkpoint-2"), place("out/checkpoint-6"),
            ])
        // The sample says step 2: the one called 4 is not known to be complete, and no other is left.
        #expect(result.problems.map(\.path) == [place("new"), "run/out"], "\(result.problems)")
    }

    @Test("What one of them has left out as being written, none has", arguments: [true, false])
    func leftOut(isFirst: Bool) async throws {
        let config = "out/checkpoint-4/trainer_state.json"
        let content = try Data(contentsOf: URL(filePath: place(config)))
        func tear() throws {
            try FileManager.default.removeItem(atPath: place(config))
            try age("out/checkpoint-4", 0)
        }
        if isFirst { try tear() }
        let result = try await joined {
            if isFirst {
                try content.write(to: URL(filePath: place(config)))
                try age("out/checkpoint-4", 0)
            } else {
                try tear()
            }
        }
        #expect(try await names(result).allSatisfy { !$0.hasPrefix("run/out/checkpoint-4") })
        #expect(result.manifest.inventory?.states.map(\.path) == ["run/out/checkpoint-2"])
        #expect(result.manifest.inventory?.leftOut.map(\.path).contains(place("out/checkpoint-4")) == true)
        let target = try ObjectStorageTesting.TemporaryDirectory()
        let back = try await world.restore(result.snapshot, to: target.path) { $0.checkpoint = .latest }
        #expect(back.checkpoint == "run/out/checkpoint-2" && back.failed.isEmpty)
    }

    @Test("When no complete checkpoint of a run is left, that is a problem")
    func bereft() async throws {
        let result = try await joined {
            try age("out/checkpoint-2", 1800)
            try age("out/checkpoint-4", 1800)
        }
        #expect(result.manifest.inventory?.states.isEmpty == true && result.isPartial)
        #expect(result.problems.map(\.path) == ["run/out"], "\(result.problems)")
    }

    @Test("A file that became a directory meanwhile, or a directory a file, is left out and named")
    func types() async throws {
        try tree.put("dir/x", "x")
        let result = try await joined {
            try FileManager.default.removeItem(atPath: place("dir"))
            try tree.put("dir", "a file")
            for number in 0..<20 {
                try FileManager.default.removeItem(atPath: place("logs/\(number)"))
                try tree.put("logs/\(number)/inner", "y")
            }
        }
        let names = try await names(result)
        #expect(names.allSatisfy { !$0.hasPrefix("run/dir") })
        #expect((0..<20).allSatisfy { !names.contains("run/logs/\($0)/") && !names.contains("run/logs/\($0)") })
        #expect(result.problems.count == 21, "\(result.problems)")
        try await world.verify()
    }

    @Test("All shards of one backup are joined, each once, or nothing is")
    func missing() async throws {
        let parts = try await [0, 1, 2].asyncMap { index in
            JoinWorld.part(try await world.backUp([tree.bytes]) { $0.shard = Shard(index: index, count: 3) }, at: "p")
        }
        let other = JoinWorld.part(
            try await world.backUp([tree.bytes]) { $0.shard = Shard(index: 2, count: 4) }, at: "p")
        for (wrong, message) in [
            ([parts[0], parts[2]], "shard 2/3 of what comes to p is missing"),
            ([parts[0], parts[1], parts[1]], "not different shards of the same"),
            ([parts[0], parts[1], other], "not different shards of the same"),
        ] {
            let error = await #expect(throws: SnapshotError.self) { try await world.join(wrong) }
            #expect(
                error?.code == .invalidArgument && error?.message.contains(message) == true, "\(error?.message ?? "")")
        }
        #expect(try await world.join(parts).manifest.totals.files > 40)
    }
}

extension Sequence {
    /// As `map`, one after another.
    fileprivate func asyncMap<R>(_ body: (Element) async throws -> R) async throws -> [R] {
        var results: [R] = []
        for element in self { results.append(try await body(element)) }
        return results
    }
}
