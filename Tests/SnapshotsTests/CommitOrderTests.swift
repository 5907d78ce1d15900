import Basics
import ObjectStorage
import ObjectStorageTesting
import RepositoryFormat
import Snapshots
import SystemPackage
import Testing

/// What commits a checkpoint is written last, and not at all when something of the checkpoint is missing.
@Suite("Commit markers are restored last")
struct CommitOrderTests {
    private static let files: [(String, String)] = [
        ("run/a-tracker", "20"), ("run/checkpoint-10/a", "one"), ("run/checkpoint-10/state.json", "{}"),
        ("run/checkpoint-10/weights", ""), ("run/checkpoint-20/.early", "first"),
        ("run/checkpoint-20/state.json", "{}"),
        ("run/checkpoint-20/weights", ""), ("run/z", "last"),
    ]
    private static let sizes = ["run/checkpoint-10/weights": 200_000, "run/checkpoint-20/weights": 1_200_000]

    private static func inventory() -> StateInventory {
        var inventory = StateInventory.trainer([(10, "complete"), (20, "complete")], tracker: "a-tracker")
        inventory.states[1].commitMarkers = ["run/checkpoint-20/state.json", "run/checkpoint-20/.early"]
        return inventory
    }

    private func world(_ files: [(String, String)] = Self.files) async throws -> StateWorld {
        try await StateWorld(files, Self.inventory(), sizes: Self.sizes)
    }

    @Test(
        "Markers get their names after all other files, in the listed order, and trackers after all markers",
        arguments: [RestoreRequest.Overwrite.always, .ifChanged, .never])
    func order(overwrite: RestoreRequest.Overwrite) async throws {
        let world = try await world()
        // Directories that are there can be watched from the first name on.
        for directory in ["run/checkpoint-10", "run/checkpoint-20"] { try world.put("\(directory)/mine") }
        let watch = NameWatch()
        for directory in ["run", "run/checkpoint-10", "run/checkpoint-20"] {
            watch.add(world.target.path.pushing(FilePath(directory)), as: directory)
        }
        let result = try await world.restore {
            $0.overwrite = overwrite
            $0.verify = true
        }
        #expect(result.files == 8 && result.failed.isEmpty && result.damaged.isEmpty && result.verified == 8)
        let events = watch.events()
        #expect(events.count == 8, "\(events)")
        #expect(
            events.suffix(4) == [
                "run/checkpoint-10/state.json", "run/checkpoint-20/state.json", "run/checkpoint-20/.early",
                "run/a-tracker",
            ], "\(events)")
        #expect(try world.files().count == 10)
    }

    @Test("Without an inventory, and with one that says nothing, everything comes back as before")
    func without() async throws {
        for inventory in [nil, StateInventory()] {
            let world = try await StateWorld(Self.files, inventory, sizes: Self.sizes)
            let result = try await world.restore { $0.verify = true }
            #expect(result.files == 8 && result.verified == 8 && result.contentDigest != nil)
        }
    }

    @Test("What was written last is whole: content, links, times of directories, digest")
    func whole() async throws {
        var files = Self.files
        files[0] = ("run/a-tracker", "->checkpoint-20")
        files.append(("run/checkpoint-20/state.again", "=>run/checkpoint-20/state.json"))
        files.append(("run/checkpoint-10/a-link", "=>run/checkpoint-10/weights"))
        let world = try await world(files)
        let result = try await world.restore { $0.verify = true }
        #expect(result.failed.isEmpty && result.damaged.isEmpty && result.remarks.isEmpty, "\(result)")
        #expect(result.files == 10 && result.contentDigest != nil && result.verified == 9)
        let parent = world.tree.path.removingLastComponent()
        let owners = OwnerNames()
        for name in ["run", "run/checkpoint-10", "run/checkpoint-20"] {
            let times = try [parent, world.target.path].map {
                try DirectoryHandle.open(path: Array($0.pushing(FilePath(name)).string.utf8))
                    .ownMetadata(owners: owners, includingExtendedAttributes: false).modified
            }
            #expect(times[0] == times[1], "\(name)")
        }
        let twice = try await world.restore {
            $0.overwrite = .ifChanged
            $0.verify = true
        }
        // What has two names is written anew.
        #expect(twice.bytesWritten == 200_000 && twice.failed.isEmpty && twice.verified == 9, "\(twice)")
        #expect(try world.files().count == 10)
    }

    @Test("An interrupted restore leaves no marker, and going on with it completes every checkpoint")
    func interrupted() async throws {
        let world = try await StateWorld(Self.files, Self.inventory(), sizes: Self.sizes, inTwo: true)
        #expect(try await world.memory.listAll(prefix: "data/").count == 2)
        world.store.inject(.fail(.accessDenied), at: 2) { $0.operation == .get && $0.key.hasPrefix("data/") }
        await #expect(throws: (any Error).self) { try await world.restore() }
        let names = try world.files().filter { !$0.contains("/.becalm-part-") }
        #expect(!names.contains { $0.hasSuffix("state.json") || $0.hasSuffix("a-tracker") || $0.hasSuffix(".early") })
        #expect(!names.isEmpty)
        world.store.heal()
        let result = try await world.restore {
            $0.resume = true
            $0.verify = true
        }
        #expect(result.failed.isEmpty && result.damaged.isEmpty && result.contentDigest != nil, "\(result)")
        #expect(try world.files() == Self.files.map(\.0))
    }

    @Test(
        "While a checkpoint is brought up to date its old markers are gone, and what is not the snapshot's stays",
        arguments: [(RestoreRequest.Overwrite?.some(.always), false), (.ifChanged, false), (nil, true)])
    func withdrawn(overwrite: RestoreRequest.Overwrite?, resume: Bool) async throws {
        let world = try await world()
        try await world.restore()
        try world.put("run/checkpoint-20/mine.json")
        // Something to fetch, which the store then refuses.
        let run = try DirectoryHandle.open(path: Array(world.target.path.appending("run/checkpoint-20").string.utf8))
        try run.remove(name: Array("weights".utf8))
        world.store.inject(.fail(.accessDenied), times: 100) { $0.operation == .get && $0.key.hasPrefix("data/") }
        await #expect(throws: (any Error).self) {
            try await world.restore {
                $0.overwrite = overwrite
                $0.resume = resume
            }
        }
        let left = try world.files()
        #expect(!left.contains { $0.hasSuffix("state.json") || $0.hasSuffix("a-tracker") }, "\(left)")
        #expect(left.contains("run/checkpoint-20/mine.json"))
        world.store.heal()
        let result = try await world.restore {
            $0.overwrite = overwrite
            $0.resume = true
        }
        #expect(result.failed.isEmpty && result.damaged.isEmpty, "\(result)")
        #expect(try world.files() == (Self.files.map(\.0) + ["run/checkpoint-20/mine.json"]).sorted())
    }

    @Test(
        "Old markers go before anything else is touched, the last ones first",
        arguments: [RestoreRequest.Overwrite.always, .ifChanged])
    func withdrawnFirst(overwrite: RestoreRequest.Overwrite) async throws {
        let world = try await world()
        try await world.restore()
        let watch = NameWatch()
        for directory in ["run", "run/checkpoint-10", "run/checkpoint-20"] {
            watch.add(world.target.path.pushing(FilePath(directory)), as: directory, leaving: true)
        }
        let result = try await world.restore { $0.overwrite = overwrite }
        #expect(result.files == 8 && (result.bytesWritten == 0) == (overwrite == .ifChanged))
        let markers = [
            "run/a-tracker", "run/checkpoint-20/.early", "run/checkpoint-20/state.json", "run/checkpoint-10/state.json",
        ]
        let others = ["run/checkpoint-10/a", "run/checkpoint-10/weights", "run/checkpoint-20/weights", "run/z"]
        let events = watch.events()
        #expect(events == markers + (overwrite == .always ? others : []), "\(events)")
    }

    @Test("A checkpoint of which a file is damaged is not committed; others are")
    func damaged() async throws {
        let world = try await world()
        try await world.damage { $0 > 1 << 20 }
        let result = try await world.restore { $0.verify = true }
        #expect(result.damaged.map(\.path) == ["run/checkpoint-20/weights"])
        #expect(result.failed.map(\.path) == ["run/checkpoint-20"], "\(result.failed)")
        let message = try #require(result.failed.first?.message)
        #expect(message.contains("run/checkpoint-20/weights could not be restored"))
        #expect(message.contains("left out run/checkpoint-20/state.json, run/checkpoint-20/.early, run/a-tracker"))
        #expect(result.contentDigest == nil)
        let left = try world.files()
        #expect(
            left == [
                "run/checkpoint-10/a", "run/checkpoint-10/state.json", "run/checkpoint-10/weights",
                "run/checkpoint-20/weights.becalm-damaged", "run/z",
            ], "\(left)")
        let drill = try await world.restore {
            $0.overwrite = .always
            $0.commitsDamaged = true
        }
        #expect(drill.failed.isEmpty && drill.damaged.count == 1)
        #expect(try world.files().contains("run/a-tracker"))
    }

    @Test("A checkpoint of which a file cannot be written is not committed")
    func failed() async throws {
        let world = try await world()
        try world.put("run/checkpoint-10/weights/in-the-way")
        let result = try await world.restore { $0.overwrite = .always }
        #expect(result.failed.map(\.path) == ["run/checkpoint-10/weights", "run/checkpoint-10"], "\(result.failed)")
        let left = try world.files()
        #expect(!left.contains("run/checkpoint-10/state.json") && left.contains("run/checkpoint-20/state.json"))
        #expect(left.contains("run/a-tracker") && !left.contains { $0.contains(".becalm-part") })
    }

    @Test("A directory that cannot be read or made breaks what lies in it, though the marker lies elsewhere")
    func directories() async throws {
        var inventory = Self.inventory()
        inventory.states[0].files = [
            "run/checkpoint-10/a", "run/checkpoint-10/state.json", "run/checkpoint-10/weights",
        ]
        inventory.states[0].commitMarkers = ["run/z"]
        let world = try await StateWorld(Self.files, inventory, sizes: Self.sizes)
        try world.put("run/checkpoint-10")
        let result = try await world.restore { $0.resume = true }
        #expect(result.failed.map(\.path) == ["run/checkpoint-10", "run/checkpoint-10"], "\(result.failed)")
        #expect(try !world.files().contains("run/z") && world.files().contains("run/checkpoint-20/.early"))
    }

    @Test("What was left as found and differs when it is read back keeps its checkpoint uncommitted")
    func leftDiffering() async throws {
        let world = try await world()
        try world.put("run/checkpoint-10/a", "two")
        let result = try await world.restore {
            $0.overwrite = .never
            $0.verify = true
        }
        #expect(result.failed.map(\.path) == ["run/checkpoint-10/a", "run/checkpoint-10"], "\(result.failed)")
        #expect(try !world.files().contains("run/checkpoint-10/state.json"))
    }

    @Test("Patterns bring markers alone as well")
    func patterns() async throws {
        let world = try await world()
        let result = try await world.restore { $0.includes = ["state.json", "a-tracker"] }
        #expect(result.files == 3 && result.unmatched.isEmpty && result.failed.isEmpty)
        #expect(
            try world.files() == ["run/a-tracker", "run/checkpoint-10/state.json", "run/checkpoint-20/state.json"])
    }

    @Test(
        "Paths of an inventory that no snapshot holds mean nothing",
        arguments: ["", "/", "..", "../outside", "run/../../outside", "/etc/passwd", "run//z", "run/z/", "run/no", "."])
    func hostile(path: String) async throws {
        var inventory = StateInventory()
        var state = StateInventory.State(path: path, kind: "checkpoint", format: "x", judgement: "torn")
        state.step = 5
        state.quarantineName = "../../escaped"
        state.commitMarkers = [path]
        state.files = [path, "run"]
        inventory.states = [state]
        state.files = nil
        state.quarantineName = "name"
        state.judgement = "complete"
        inventory.states.append(state)
        var run = StateInventory.Run(path: path, format: "x")
        run.trackers = [path, "../mine"]
        run.resumesFrom = path
        inventory.runs = [run]
        let world = try await StateWorld(Self.files, inventory, sizes: Self.sizes)
        try world.put("outside", "mine")
        let inner = Array(world.target.path.appending("in").string.utf8)
        for overwrite in [RestoreRequest.Overwrite?.none, .always, .ifChanged] {
            let result = try await world.restore {
                $0.target = inner
                $0.overwrite = overwrite
                $0.verify = true
            }
            #expect(result.files == 8 && result.failed.isEmpty && result.contentDigest != nil, "\(result)")
            await #expect(throws: (any Error).self) {
                try await world.restore {
                    $0.target = inner
                    $0.overwrite = .always
                    $0.checkpoint = .step(5)
                }
            }
        }
        #expect(try world.files("in") == Self.files.map(\.0))
        #expect(try world.files().count == 9)
        #expect(try world.read("outside") == "mine")
    }
}
