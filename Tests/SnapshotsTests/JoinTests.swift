import Basics
import ObjectStorage
import ObjectStorageTesting
import Repository
import RepositoryFormat
import SystemPackage
import Testing

@testable import Snapshots

/// One snapshot of several, which needs none of them.
@Suite("Joining snapshots")
struct JoinTests {
    private static let files: [(String, String)] = [
        ("a", "first"), ("b/c", "second"), ("b/d", "=>a"), ("b/l", "->../a"), ("empty/", ""), ("z/y/x", "deep"),
    ]

    @Test("Parts at disjoint places restore whole when they are forgotten and collected, each like its source")
    func disjoint() async throws {
        let world = try await JoinWorld()
        let one = try SourceTree("volume", Self.files)
        let two = try SourceTree("volume", [("w", ""), ("e/q", "other")])
        try two.write("w", SourceTree.noise(9 << 20, seed: 3))
        let objects = try SourceTree("objects", [("metadata/version", "1.1.0")])
        let parts = [
            try await world.backUp([one.bytes]), try await world.backUp([two.bytes]),
            try await world.backUp([objects.bytes]),
        ]
        let joined = try await world.join([
            JoinWorld.part(parts[0], from: "volume", at: "volumes/ns/one"),
            JoinWorld.part(parts[1], from: "volume", at: "volumes/ns/two"),
            JoinWorld.part(parts[2], from: "objects", at: ""),
        ])
        #expect(joined.counters.bytesRead == 0 && joined.problems.isEmpty)
        #expect(joined.manifest.totals.files == parts.reduce(0) { $0 + $1.manifest.totals.files })
        let entries = try await world.entries(joined.snapshot)
        #expect(joined.manifest.totals.directories == UInt64(entries.keys.count { $0.hasSuffix("/") }))
        try await world.forget(joined.parts)
        try await world.verify()

        let target = try ObjectStorageTesting.TemporaryDirectory()
        let whole = try await world.restore(joined.snapshot, to: target.path.appending("whole"))
        #expect(whole.contentDigest == joined.manifest.contentDigest && whole.contentDigest != nil)
        #expect(whole.files == joined.manifest.totals.files && whole.damaged.isEmpty && whole.failed.isEmpty)
        // A new backup of what was restored has the same digest: totals and digest are those of the tree.
        let again = try await world.backUp(
            ["volumes", "metadata"].map { Array(target.path.appending("whole").appending($0).string.utf8) })
        #expect(again.manifest.contentDigest == joined.manifest.contentDigest)
        #expect(again.manifest.totals == joined.manifest.totals)

        let volume = target.path.appending("volume")
        let alone = try await world.restore(joined.snapshot, to: volume) {
            $0.from = JoinWorld.components("volumes/ns/one")
        }
        let copy = try await world.backUp([Array(volume.string.utf8)])
        #expect(copy.manifest.contentDigest == parts[0].manifest.contentDigest && alone.files == 5)
        let own = try [volume, one.path].map { path in
            try DirectoryHandle.open(path: Array(path.string.utf8))
                .ownMetadata(owners: OwnerNames(), includingExtendedAttributes: false)
        }
        #expect(own[0].modified == own[1].modified && own[0].permissions == own[1].permissions)
    }

    @Test("Directories that several parts have are merged, and are as the first has them")
    func merged() async throws {
        let world = try await JoinWorld()
        let one = try SourceTree("v", [("a/x", "1"), ("a/deep/er/one", "1"), ("same", "same"), ("only/a", "a")])
        let two = try SourceTree("v", [("a/y", "2"), ("a/deep/er/two", "2"), ("b", "b"), ("z", "->a")])
        let all = try SourceTree(
            "v",
            [
                ("a/x", "1"), ("a/deep/er/one", "1"), ("same", "same"), ("only/a", "a"), ("a/y", "2"),
                ("a/deep/er/two", "2"), ("b", "b"), ("z", "->a"),
            ])
        let parts = [try await world.backUp([one.bytes]), try await world.backUp([two.bytes])]
        let whole = try await world.backUp([all.bytes])
        for order in [[0, 1], [1, 0]] {
            let joined = try await world.join(order.map { JoinWorld.part(parts[$0], at: "") })
            #expect(joined.manifest.contentDigest == whole.manifest.contentDigest)
            #expect(joined.manifest.totals == whole.manifest.totals)
            let entries = try await world.entries(joined.snapshot)
            let first = try await world.entries(parts[order[0]].snapshot)
            #expect(entries["v/a/"]?.metadata == first["v/a/"]?.metadata)
        }
        try await world.forget(parts.map(\.snapshot) + [whole.snapshot])
        try await world.verify()
    }

    @Test("The same file in two parts is one; another one under its name, or a place in its way, is refused")
    func contradiction() async throws {
        let world = try await JoinWorld()
        let tree = try SourceTree("v", [("a/x", "1"), ("l", "->a")])
        let first = try await world.backUp([tree.bytes])
        let twice = try await world.join([JoinWorld.part(first, at: "p"), JoinWorld.part(first, at: "p")])
        #expect(twice.manifest.totals.files == 2 && twice.parts == [first.snapshot])
        try tree.put("a/x", "2")
        let second = try await world.backUp([tree.bytes])
        let error = await #expect(throws: SnapshotError.self) {
            try await world.join([JoinWorld.part(first, at: "p"), JoinWorld.part(second, at: "p")])
        }
        #expect(error?.code == .alreadyExists)
        #expect(error?.message.contains("p/v/a/x is not the same in the snapshots") == true, "\(error?.message ?? "")")
        let kinds = try SourceTree("v", [("a", "a file")])
        let third = try await world.backUp([kinds.bytes])
        for parts in [
            [JoinWorld.part(first, at: ""), JoinWorld.part(third, at: "")],
            [JoinWorld.part(third, at: ""), JoinWorld.part(first, at: "v/a/within")],
        ] {
            let error = await #expect(throws: SnapshotError.self) { try await world.join(parts) }
            #expect(error?.code == .alreadyExists && error?.message.contains("v/a") == true, "\(error?.message ?? "")")
        }
        // What was tried has left nothing that counts.
        #expect(try await world.reopened().listSnapshots().snapshots.count == 4)
    }

    @Test("Files of different parts never become hard links of each other, and those of one part stay so")
    func links() async throws {
        let world = try await JoinWorld()
        let tree = try SourceTree("v", [("a", "1"), ("b", "=>a")])
        let first = try await world.backUp([tree.bytes])
        // The same inode on the same device, and other content.
        try tree.put("a", "2")
        let second = try await world.backUp([tree.bytes])
        let before = try await (world.entries(first.snapshot), world.entries(second.snapshot))
        #expect(before.0["v/a"]?.metadata.inode == before.1["v/a"]?.metadata.inode)
        let joined = try await world.join([JoinWorld.part(first, at: "one"), JoinWorld.part(second, at: "two")])
        let target = try ObjectStorageTesting.TemporaryDirectory()
        let result = try await world.restore(joined.snapshot, to: target.path)
        #expect(result.failed.isEmpty && result.verified == 4)
        func inode(_ path: String) throws -> UInt64 {
            let place = target.path.pushing(FilePath(path))
            return try DirectoryHandle.open(path: Array(place.removingLastComponent().string.utf8))
                .metadata(
                    of: Array((place.lastComponent?.string ?? "").utf8), owners: OwnerNames(),
                    includingExtendedAttributes: false
                ).inode
        }
        #expect(try inode("one/v/a") == inode("one/v/b") && inode("two/v/a") == inode("two/v/b"))
        #expect(try inode("one/v/a") != inode("two/v/a"))
        #expect(try SourceTree.read(target.path.appending("one/v/b")) == Array("1".utf8))
        #expect(try SourceTree.read(target.path.appending("two/v/b")) == Array("2".utf8))
    }

    @Test("Pages in which nothing changes are those of the parts")
    func pages() async throws {
        let world = try await JoinWorld()
        let tree = try SourceTree("v", [])
        for number in 0..<3000 { try tree.write("file-\(number)", Array("\(number)".utf8)) }
        try tree.put("linked", "1")
        try tree.put("other", "=>linked")
        let one = try await world.backUp([tree.bytes])
        let two = try SourceTree("v", [("linked", "x"), ("other", "=>linked")])
        let second = try await world.backUp([two.bytes])
        let joined = try await world.join([JoinWorld.part(second, at: "a"), JoinWorld.part(one, at: "b")])
        let (before, after) = try await (world.entries(one.snapshot), world.entries(joined.snapshot))
        let (old, new) = (Set(before["v/"]?.pages ?? []), Set(after["b/v/"]?.pages ?? []))
        #expect(old.count > 5 && new.count == old.count)
        // Links get another device: their pages only.
        #expect((1...2).contains(new.subtracting(old).count))
        #expect(after["b/v/"]?.treeDigest == before["v/"]?.treeDigest)
    }

    @Test("Problems and checkpoints stand at their new places")
    func telling() async throws {
        let inventory = StateInventory.trainer([(10, "complete"), (20, "torn")], tracker: "latest")
        var manifests: [SnapshotManifest] = []
        for problem in ["/data/run/x", "/elsewhere"] {
            var manifest = SnapshotManifest(
                time: .init(nanoseconds: 0), host: "h", user: "u", paths: ["/data/run"], tags: [], root: [],
                contentDigest: nil, totals: .init(), parent: nil, supersedes: nil,
                problems: [.init(path: problem, message: "unreadable")], inventory: inventory, durationSeconds: 0,
                program: "test")
            manifest.inventory?.leftOut = [.init(path: "/data/run/checkpoint-30", message: "being written")]
            manifests.append(manifest)
        }
        let id = try Identifier.random()
        let parts = [
            JoinPart(snapshot: id, place: JoinWorld.components("volumes/a")),
            JoinPart(snapshot: id, from: JoinWorld.components("run"), place: JoinWorld.components("volumes/b")),
        ]
        let told = JoinedTelling(parts, manifests, try JoinShards(parts, manifests), [])
        #expect(told.problems.map(\.path) == ["/elsewhere", "/volumes/a/run/x"])
        let joined = try #require(told.inventory)
        #expect(
            joined.states.map(\.path) == [
                "volumes/a/run/checkpoint-10", "volumes/a/run/checkpoint-20", "volumes/b/checkpoint-10",
                "volumes/b/checkpoint-20",
            ])
        #expect(joined.states[2].commitMarkers == ["volumes/b/checkpoint-10/state.json"])
        #expect(joined.runs.map(\.path) == ["volumes/a/run", "volumes/b"])
        #expect(joined.runs[1].trackers == ["volumes/b/latest"])
        #expect(joined.runs[1].resumesFrom == "volumes/b/checkpoint-20")
        #expect(
            joined.leftOut.map(\.path) == ["/volumes/a/run/checkpoint-30", "/volumes/b/checkpoint-30"])
        // Without a place, all is where it was.
        let here = [JoinPart(snapshot: id, place: [])]
        let same = JoinedTelling(here, [manifests[0]], try JoinShards(here, [manifests[0]]), [])
        #expect(same.problems == manifests[0].problems && same.inventory == manifests[0].inventory)
        let odd = [JoinPart(snapshot: id, place: [[0xff]])]
        let strange = JoinedTelling(odd, [manifests[0]], try JoinShards(odd, [manifests[0]]), [])
        #expect(strange.inventory?.states.isEmpty == true && strange.inventory?.unlisted == 3)
    }
}

extension JoinResult {
    var problems: [SnapshotManifest.Problem] { manifest.problems }
}
