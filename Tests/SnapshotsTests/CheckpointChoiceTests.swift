import Basics
import ObjectStorage
import ObjectStorageTesting
import Repository
import RepositoryFormat
import Snapshots
import SystemPackage
import Testing

/// One checkpoint of a snapshot, with what it needs.
@Suite("Restoring one checkpoint")
struct CheckpointChoiceTests {
    private static func files(_ run: String) -> [(String, String)] {
        [
            ("\(run)/args.json", "a"), ("\(run)/checkpoint-10/state.json", "{}"), ("\(run)/checkpoint-10/w", "10"),
            ("\(run)/checkpoint-20/state.json", "{}"), ("\(run)/checkpoint-20/w", "20"),
            ("\(run)/checkpoint-30/w", "30"), ("\(run)/latest", "30"), ("\(run)/logs/events", "log"),
            ("\(run)/model-10.bin", "m"), ("\(run)/newest", "->checkpoint-30"), ("\(run)/ten", "->checkpoint-10/w"),
        ]
    }

    private static func inventory(_ judgements: [(Int64, String)]) -> StateInventory {
        var inventory = StateInventory.trainer(judgements, tracker: "latest")
        var model = StateInventory.State(
            path: "run/model-10.bin", kind: "model", format: "torch", judgement: "complete")
        model.step = 99
        model.files = ["run/model-10.bin"]
        inventory.states.append(model)
        return inventory
    }

    private static let usual = inventory([(10, "complete"), (20, "complete"), (30, "torn")])

    /// What a choice brings back, or begins the error with.
    struct Case: CustomTestStringConvertible, Sendable {
        var choice: CheckpointChoice
        var judgements: [(Int64, String)]
        var chosen: String?
        var error: String?
        var testDescription: String { "\(choice) of \(judgements)" }
    }

    @Test(
        "Which one is chosen",
        arguments: [
            Case(
                choice: .latest, judgements: [(10, "complete"), (20, "complete"), (30, "torn")],
                chosen: "run/checkpoint-20"),
            Case(choice: .latest, judgements: [(10, "complete"), (30, "complete")], chosen: "run/checkpoint-30"),
            Case(choice: .latest, judgements: [(10, "complete"), (30, "unknown")], chosen: "run/checkpoint-10"),
            Case(choice: .latest, judgements: [(10, "torn"), (20, "empty")], error: "none of 2 checkpoints"),
            Case(choice: .latest, judgements: [], error: "lists no checkpoint"),
            Case(choice: .step(10), judgements: [(10, "complete"), (20, "complete")], chosen: "run/checkpoint-10"),
            Case(choice: .step(30), judgements: [(30, "unknown")], chosen: "run/checkpoint-30"),
            Case(
                choice: .step(30), judgements: [(10, "complete"), (30, "torn")],
                error: "run/checkpoint-30 (step 30) is torn: weights: 10 bytes expected, 3 found; choose another"),
            Case(choice: .step(30), judgements: [(30, "empty")], error: "run/checkpoint-30 (step 30) is empty"),
            Case(
                choice: .step(15), judgements: [(10, "complete"), (20, "torn")],
                error: "no checkpoint of step 15: there are the steps 10, 20"),
            // The tree has none of that name.
            Case(choice: .step(40), judgements: [(10, "complete"), (40, "complete")], error: "there is step 10"),
            Case(choice: .step(99), judgements: [(10, "complete")], error: "no checkpoint of step 99"),
        ])
    func choosing(_ test: Case) async throws {
        let world = try await StateWorld(Self.files("run"), Self.inventory(test.judgements))
        do {
            let result = try await world.restore {
                $0.checkpoint = test.choice
                $0.verify = true
            }
            #expect(result.checkpoint == test.chosen && result.failed.isEmpty && result.contentDigest == nil)
            let isUnknown = test.judgements.contains { "run/checkpoint-\($0.0)" == test.chosen && $0.1 == "unknown" }
            #expect(result.remarks.contains { $0.message.contains("not known whether") } == isUnknown)
        } catch {
            let expected = try #require(test.error, "\(error)")
            #expect("\(error)".contains(expected), "\(error)")
            #expect(try world.files().isEmpty)
            let isTorn = expected.contains("torn") || expected.contains("empty") || expected.contains("none of")
            #expect(((error as? SnapshotError)?.code == .checkpointTorn) == isTorn)
            #expect(((error as? RepositoryError)?.code == .noSuchName) == !isTorn)
        }
    }

    @Test("A checkpoint comes with what lies beside it and belongs to nothing else, and without another's tracker")
    func needs() async throws {
        let world = try await StateWorld(Self.files("run"), Self.usual)
        let result = try await world.restore {
            $0.checkpoint = .step(10)
            $0.verify = true
        }
        #expect(
            try world.files() == [
                "run/args.json", "run/checkpoint-10/state.json", "run/checkpoint-10/w", "run/ten",
            ])
        #expect(result.files == 4 && result.verified == 3 && result.failed.isEmpty)
        #expect(result.remarks.map(\.path) == ["run/latest"], "\(result.remarks)")
        #expect(result.remarks.first?.message.contains("resume from run/checkpoint-10") == true)
        let run = try DirectoryHandle.open(path: Array(world.target.path.appending("run").string.utf8))
            .ownMetadata(owners: OwnerNames(), includingExtendedAttributes: false)
        let source = try DirectoryHandle.open(path: world.tree.bytes)
            .ownMetadata(owners: OwnerNames(), includingExtendedAttributes: false)
        #expect(run.modified == source.modified && run.permissions == source.permissions)
    }

    @Test("The tracker that names it comes too, last; and its files where they are listed")
    func tracked() async throws {
        var inventory = Self.inventory([(10, "complete"), (20, "complete"), (30, "complete")])
        inventory.states[2].commitMarkers = []
        inventory.states[2].files = ["run/checkpoint-30/w", "run/logs/events"]
        let world = try await StateWorld(Self.files("run"), inventory)
        let result = try await world.restore { $0.checkpoint = .latest }
        #expect(
            try world.files() == [
                "run/args.json", "run/checkpoint-30/w", "run/latest", "run/logs/events", "run/newest",
            ])
        #expect(result.remarks.isEmpty && result.checkpoint == "run/checkpoint-30")
    }

    @Test("Without a run the directory it lies in counts; a step that is not known comes last")
    func without() async throws {
        var inventory = Self.inventory([(10, "complete"), (20, "complete")])
        inventory.runs = []
        inventory.states[1].step = nil
        inventory.states[1].modified = 1 << 60
        let world = try await StateWorld(Self.files("run"), inventory)
        let result = try await world.restore { $0.checkpoint = .latest }
        #expect(result.checkpoint == "run/checkpoint-10")
        #expect(try world.files().contains("run/args.json") && world.files().contains("run/latest"))
    }

    @Test("Among several runs one is chosen by pattern, and else none")
    func several() async throws {
        var inventory = StateInventory()
        for run in ["run/a", "run/b"] {
            // The second is further on: that does not choose it.
            for step: Int64 in run == "run/a" ? [10, 20] : [10, 30] {
                var state = StateInventory.State(
                    path: "\(run)/checkpoint-\(step)", kind: "checkpoint", format: "x", judgement: "complete")
                state.step = step
                inventory.states.append(state)
            }
            inventory.runs.append(.init(path: run, format: "x"))
        }
        let world = try await StateWorld(Self.files("run/a") + Self.files("run/b"), inventory)
        for choice in [CheckpointChoice.latest, .step(10)] {
            let error = await #expect(throws: RepositoryError.self) {
                try await world.restore { $0.checkpoint = choice }
            }
            #expect(error?.code == .ambiguous)
            for name in ["run/a/checkpoint", "run/b/checkpoint", "--include"] {
                #expect(error?.message.contains(name) == true, "\(error?.message ?? "")")
            }
        }
        let result = try await world.restore {
            $0.checkpoint = .latest
            $0.includes = ["run/b"]
        }
        #expect(result.checkpoint == "run/b/checkpoint-30" && result.unmatched.isEmpty && !result.fitsNothing)
        #expect(try world.files().allSatisfy { $0.hasPrefix("run/b/") })
        let nothing = await #expect(throws: RepositoryError.self) {
            try await world.restore {
                $0.checkpoint = .latest
                $0.includes = ["run/c"]
            }
        }
        #expect(nothing?.code == .noSuchName && nothing?.message.contains("--include") == true)
    }

    @Test("A snapshot without a list of checkpoints says so")
    func unlisted() async throws {
        let world = try await StateWorld([("run/x", "x")], nil)
        let error = await #expect(throws: RepositoryError.self) { try await world.restore { $0.checkpoint = .latest } }
        #expect(error?.code == .noSuchName && error?.message.contains("no list of its checkpoints") == true)
    }

    @Test(
        "latest and steps are choices, and nothing else is", arguments: ["", "Latest", "-1", "1.5", "newest", "0x10"])
    func parsing(text: String) {
        #expect(CheckpointChoice(text) == nil)
        #expect(CheckpointChoice("latest") == .latest && CheckpointChoice("2000") == .step(2000))
    }
}
