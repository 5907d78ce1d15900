import Basics
import ObjectStorage
import ObjectStorageTesting
import RepositoryFormat
import Snapshots
import SystemPackage
import Testing

/// A torn checkpoint gets a name under which nothing resumes from it.
@Suite("Torn checkpoints are set aside")
struct SetAsideTests {
    private static let files: [(String, String)] = [
        ("run/checkpoint-10/state.json", "{}"), ("run/checkpoint-10/weights", "ten"),
        ("run/checkpoint-20/state.json", "{}"), ("run/checkpoint-20/sub/weights", "tw"), ("run/latest", "20"),
    ]
    private static let torn = StateInventory.trainer([(10, "complete"), (20, "torn")], tracker: "latest")

    private func world(_ extra: [(String, String)] = [], _ inventory: StateInventory = Self.torn) async throws
        -> StateWorld
    {
        try await StateWorld(Self.files + extra, inventory)
    }

    private static let moved = [
        "run/checkpoint-10/state.json", "run/checkpoint-10/weights", "run/checkpoint-20.torn/state.json",
        "run/checkpoint-20.torn/sub/weights", "run/latest",
    ]

    @Test("It is restored under its other name, is read back there, and the result says so")
    func moved() async throws {
        let world = try await world()
        let result = try await world.restore { $0.verify = true }
        #expect(try world.files() == Self.moved)
        #expect(result.files == 5 && result.verified == 5 && result.failed.isEmpty && result.damaged.isEmpty)
        #expect(result.contentDigest == nil)
        #expect(
            result.setAside == [
                .init(
                    path: "run/checkpoint-20", newPath: "run/checkpoint-20.torn",
                    reasons: ["weights: 10 bytes expected, 3 found"])
            ])
        #expect(result.remarks.map(\.path) == ["run"], "\(result.remarks)")
        #expect(
            result.remarks.first?.message.contains("would resume from run/checkpoint-20, which is set aside") == true)
        let again = try await world.restore {
            $0.resume = true
            $0.verify = true
        }
        #expect(again.bytesWritten == 0 && again.failed.isEmpty && again.setAside == result.setAside)
        #expect(try world.files() == Self.moved)
        let mended = try await world.restore { $0.overwrite = .ifChanged }
        #expect(mended.failed.isEmpty && mended.setAside == result.setAside)
        #expect(try world.files() == Self.moved)
    }

    @Test("As stored, it keeps its name, and the digest is the snapshot's")
    func asStored() async throws {
        let world = try await world()
        let result = try await world.restore {
            $0.setsAside = false
            $0.verify = true
        }
        #expect(try world.files() == Self.files.map(\.0))
        #expect(result.setAside.isEmpty && result.contentDigest != nil && result.remarks.isEmpty)
    }

    @Test("A name that the snapshot has is not taken twice")
    func takenInSnapshot() async throws {
        var inventory = Self.torn
        // Another torn one that wants the same name; and one whose wish is no name.
        inventory.states[0].judgement = "torn"
        inventory.states[0].quarantineName = "checkpoint-20.torn"
        let world = try await world(
            [("run/checkpoint-20.torn", "a file"), ("run/checkpoint-20.torn-3/x", "x")], inventory)
        let result = try await world.restore { $0.verify = true }
        #expect(
            result.setAside.map(\.newPath) == ["run/checkpoint-20.torn-2", "run/checkpoint-20.torn-4"],
            "\(result.setAside)")
        #expect(try world.read("run/checkpoint-20.torn") == "a file")
        #expect(try world.read("run/checkpoint-20.torn-2/weights") == "ten")
        #expect(try world.read("run/checkpoint-20.torn-4/sub/weights") == "tw")
        #expect(try world.files().count == 7 && result.verified == 7)
    }

    @Test(
        "A name that something else in the target has is not taken, and going on takes the same one again",
        arguments: [RestoreRequest.Overwrite.always, .ifChanged, .never])
    func takenInTarget(overwrite: RestoreRequest.Overwrite) async throws {
        let world = try await world()
        try world.put("run/checkpoint-20.torn/weights", "another's")
        for turn in 0..<3 {
            let result = try await world.restore {
                if turn < 2 { $0.overwrite = overwrite }
                $0.resume = turn == 2
            }
            #expect(result.setAside.map(\.newPath) == ["run/checkpoint-20.torn-2"], "turn \(turn)")
            #expect(result.failed.isEmpty)
        }
        #expect(try world.read("run/checkpoint-20.torn/weights") == "another's")
        #expect(try world.files().count == 6)
    }

    @Test("An interrupted restore goes on under the same name")
    func interrupted() async throws {
        let sizes = ["run/checkpoint-10/weights": 300_000, "run/checkpoint-20/sub/weights": 300_000]
        let world = try await StateWorld(Self.files, Self.torn, sizes: sizes, inTwo: true)
        try world.put("run/checkpoint-20.torn/weights", "another's")
        world.store.inject(.fail(.accessDenied), at: 2) { $0.operation == .get && $0.key.hasPrefix("data/") }
        await #expect(throws: (any Error).self) { try await world.restore { $0.overwrite = .always } }
        #expect(try world.files().contains { $0.hasPrefix("run/checkpoint-20.torn-2/") })
        world.store.heal()
        let result = try await world.restore {
            $0.resume = true
            $0.verify = true
        }
        #expect(result.setAside.map(\.newPath) == ["run/checkpoint-20.torn-2"] && result.failed.isEmpty, "\(result)")
        #expect(try world.files().count == 6)
    }

    @Test("At the top of the snapshot too a new restore goes beside what is there")
    func top() async throws {
        var inventory = StateInventory()
        var state = StateInventory.State(path: "run", kind: "checkpoint", format: "dcp", judgement: "torn")
        state.quarantineName = "run.torn"
        inventory.states = [state]
        let world = try await world([], inventory)
        #expect(try await world.restore().setAside.map(\.newPath) == ["run.torn"])
        #expect(try await world.restore().setAside.map(\.newPath) == ["run.torn-2"])
        #expect(try await world.restore { $0.resume = true }.setAside.map(\.newPath) == ["run.torn"])
        #expect(try world.files().count == 10)
    }

    @Test("A single file is set aside; what is a part of another state stays with it")
    func file() async throws {
        var inventory = StateInventory()
        var state = StateInventory.State(path: "run/last.pt", kind: "checkpoint", format: "torch", judgement: "torn")
        state.quarantineName = "last.pt.torn"
        state.files = ["run/last.pt"]
        state.commitMarkers = ["run/last.pt"]
        inventory.states.append(state)
        state = .init(path: "run/checkpoint-20", kind: "checkpoint", format: "x", judgement: "complete")
        inventory.states.append(state)
        state = .init(path: "run/checkpoint-20/sub", kind: "model", format: "x", judgement: "torn")
        state.quarantineName = "sub.torn"
        inventory.states.append(state)
        let world = try await world([("run/last.pt", "half")], inventory)
        let result = try await world.restore { $0.verify = true }
        #expect(result.setAside.map(\.newPath) == ["run/last.pt.torn"] && result.failed.isEmpty)
        #expect(try world.read("run/last.pt.torn") == "half")
        #expect(try world.files().contains("run/checkpoint-20/sub/weights"))
        #expect(try world.files().count == 6)
    }

    @Test("Patterns fit its path in the snapshot; what is not restored is not told of")
    func patterns() async throws {
        let world = try await world()
        let other = try await world.restore { $0.includes = ["run/checkpoint-10"] }
        #expect(other.setAside.isEmpty && other.remarks.isEmpty && other.files == 2)
        let result = try await world.restore {
            $0.includes = ["run/checkpoint-20/sub/*"]
            $0.resume = true
        }
        #expect(result.setAside.map(\.newPath) == ["run/checkpoint-20.torn"] && result.unmatched.isEmpty)
        #expect(try world.files().last == "run/checkpoint-20.torn/sub/weights")
    }

    @Test("A damaged file of it is named where it is")
    func damaged() async throws {
        let sizes = ["run/checkpoint-20/sub/weights": 1 << 20]
        let world = try await StateWorld(Self.files, Self.torn, sizes: sizes)
        try await world.damage { $0 > 1 << 19 }
        let result = try await world.restore { $0.verify = true }
        #expect(result.damaged.map(\.path) == ["run/checkpoint-20.torn/sub/weights"])
        #expect(result.failed.map(\.path) == ["run/checkpoint-20.torn"], "\(result.failed)")
        #expect(try !world.files().contains { $0.hasSuffix("torn/state.json") || $0 == "run/latest" })
    }

    @Test(
        "Names that nothing can have leave it where it is",
        arguments: ["", ".", "..", "../x", "a/b", "x\0y", String(repeating: "n", count: 256)])
    func names(name: String) async throws {
        var inventory = Self.torn
        inventory.states[1].quarantineName = name
        let world = try await world([], inventory)
        let result = try await world.restore { $0.verify = true }
        #expect(try world.files() == Self.files.map(\.0))
        #expect(result.setAside.isEmpty && result.remarks.map(\.path) == ["run/checkpoint-20"], "\(result.remarks)")
    }
}
