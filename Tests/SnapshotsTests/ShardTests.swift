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

/// Backups of shares of one tree, joined, are one backup of it.
@Suite("Shards")
struct ShardTests {
    private static let samples = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "CheckpointsTests/Samples/trainer/run/checkpoint-2")

    private static func addCheckpoint(_ name: String, to tree: SourceTree, secondsAgo: Double = 3600) throws {
        let place = tree.path.appending(name).string
        try FileManager.default.createDirectory(
            at: URL(filePath: place).deletingLastPathComponent(), withIntermediateDirectories: true)
        try FileManager.default.copyItem(atPath: samples.path, toPath: place)
        try touch(name, in: tree, secondsAgo: secondsAgo)
    }

    private static func touch(_ name: String, in tree: SourceTree, secondsAgo: Double) throws {
        let place = tree.path.appending(name).string
        let date = Date(timeIntervalSinceNow: -secondsAgo)
        for entry in try FileManager.default.subpathsOfDirectory(atPath: place).map({ "\(place)/\($0)" }) + [place] {
            try FileManager.default.setAttributes([.modificationDate: date], ofItemAtPath: entry)
        }
    }

    /// Links of all kinds, checkpoints, empty directories, large files, strange names, and many files in one directory.
    private static func varied() throws -> SourceTree {
        let tree = try SourceTree("run")
        try addCheckpoint("out/checkpoint-2", to: tree)
        try addCheckpoint("out/checkpoint-4", to: tree)
        // Torn for an hour: it is stored, and set aside by a restore.
        try FileManager.default.removeItem(atPath: tree.path.appending("out/checkpoint-4/trainer_state.json").string)
        try touch("out/checkpoint-4", in: tree, secondsAgo: 3600)
        for number in 0..<600 { try tree.write("file-\(number)", Array("\(number)".utf8)) }
        for number in 0..<3 {
            try tree.write("large-\(number)", SourceTree.noise((3 << 20) + number, seed: UInt64(number)))
        }
        for (name, content) in [
            ("empty/within/", ""), ("a b\n\\'\"*", "strange"), ("ünïcode/文", "text"), ("links/one", "linked"),
            ("links/two", "=>links/one"), ("links/deep/three", "=>links/one"), ("links/four", "=>large-0"),
            ("links/dangling", "->../nowhere"), ("links/latest", "->../out/checkpoint-2"), ("nothing", ""),
        ] { try tree.put(name, content) }
        let directory = try DirectoryHandle.open(path: tree.bytes)
        _ = try directory.makeDirectory(name: [0xff, 0xfe])
        try tree.put("other/x", "x")
        _ = try directory.openDirectory(name: [0xff, 0xfe]).makeSymbolicLink(name: [0x80], target: [0xc0])
        return tree
    }

    private static func shards(_ count: Int) -> [Shard] { (0..<count).compactMap { Shard(index: $0, count: count) } }

    private static func sharded(_ world: JoinWorld, _ tree: SourceTree, _ count: Int) async throws -> [BackupResult] {
        try await withThrowingTaskGroup(of: (Int, BackupResult).self) { group in
            for shard in shards(count) {
                group.addTask {
                    (shard.index, try await world.backUp([tree.bytes], judging: true) { $0.shard = shard })
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }.sorted { $0.0 < $1.0 }.map(\.1)
        }
    }

    @Test("Any number of them, side by side and joined, are what one backup is", arguments: [1, 3, 7])
    func same(count: Int) async throws {
        let tree = try Self.varied()
        let world = try await JoinWorld()
        let whole = try await JoinWorld().backUp([tree.bytes], judging: true)
        #expect(whole.manifest.inventory?.states.map(\.judgement).sorted() == ["complete", "torn"])
        let parts = try await Self.sharded(world, tree, count)
        #expect(parts.reduce(0) { $0 + $1.manifest.totals.files } == whole.manifest.totals.files)
        let joined = try await world.join(parts.map { JoinWorld.part($0, at: "") }, paths: [tree.path.string])
        #expect(joined.manifest.contentDigest == whole.manifest.contentDigest && whole.manifest.contentDigest != nil)
        #expect(joined.manifest.totals == whole.manifest.totals && joined.problems.isEmpty, "\(joined.problems)")
        #expect(joined.manifest.inventory == whole.manifest.inventory)
        #expect(joined.manifest.shard == nil && joined.counters.bytesRead == 0)
        try await world.forget(joined.parts)
        try await world.verify()
        let target = try ObjectStorageTesting.TemporaryDirectory()
        let result = try await world.restore(joined.snapshot, to: target.path) { $0.setsAside = false }
        #expect(result.contentDigest == whole.manifest.contentDigest && result.failed.isEmpty && result.damaged.isEmpty)
        // Links across shards are links again.
        let links = try ["run/links/one", "run/links/two", "run/links/deep/three"].map { path in
            let place = target.path.pushing(FilePath(path))
            return try DirectoryHandle.open(path: Array(place.removingLastComponent().string.utf8)).metadata(
                of: Array((place.lastComponent?.string ?? "").utf8), owners: OwnerNames(),
                includingExtendedAttributes: false)
        }
        #expect(Set(links.map(\.inode)).count == 1 && links[0].linkCount == 3)
        // The next shards find in it what has not changed, and 'latest' means none of them.
        guard count > 1 else { return }
        let next = try await world.backUp([tree.bytes]) { $0.shard = Self.shards(count)[0] }
        #expect(next.manifest.parent == joined.snapshot.description && next.counters.bytesRead == 0)
        #expect(next.manifest.shard == Shard(index: 0, count: count))
        #expect(try await world.reopened().findSnapshot("latest").id == joined.snapshot)
    }

    @Test("They come to nearly equal shares of a large directory, and each file falls to one")
    func shares() throws {
        var counts = [Int](repeating: 0, count: 7)
        for number in 0..<7000 {
            let path = [Array("data".utf8), Array("sample-\(number).npy".utf8)]
            let owners = Self.shards(7).filter { $0.holds(path) }
            #expect(owners.count == 1)
            counts[owners[0].index] += 1
        }
        #expect(counts.allSatisfy { (800...1200).contains($0) }, "\(counts)")
        #expect(Shard("2/3") == Shard(index: 1, count: 3) && Shard("2/3")?.description == "2/3")
        for text in ["", "0/3", "4/3", "1", "1/0", "a/b", "1/2/3", "-1/3", "1/1025"] { #expect(Shard(text) == nil) }
    }
}
