import ObjectStorageTesting
import Repository
import RepositoryFormat
import SystemPackage
import Testing

@testable import Snapshots

/// What is in one directory of a snapshot comes into the target itself.
@Suite("Restoring from a directory of a snapshot")
struct RestoreFromTests {
    private static let files: [(String, String)] = [
        ("run/args.json", "a"), ("run/checkpoint-10/state.json", "{}"), ("run/checkpoint-10/weights", "ten"),
        ("run/checkpoint-20/state.json", "{}"), ("run/checkpoint-20/weights", "tw"), ("run/latest", "20"),
        ("run/sub/a", "1"), ("run/sub/b", "=>run/sub/a"), ("run/sub/c", "=>run/args.json"), ("run/sub/deep/x", "x"),
    ]
    private static let states = StateInventory.trainer([(10, "complete"), (20, "torn")], tracker: "latest")

    private func components(_ path: String) -> [[UInt8]] { SnapshotTree.components(of: Array(path.utf8)) }

    private func metadata(_ path: FilePath) throws -> FileMetadata {
        try DirectoryHandle.open(path: Array(path.string.utf8))
            .ownMetadata(owners: OwnerNames(), includingExtendedAttributes: true)
    }

    @Test("Its entries stand at the target's root, with its digest, its links and its own mode and time")
    func plain() async throws {
        let world = try await StateWorld(Self.files, nil)
        let result = try await world.restore {
            $0.from = components("run/sub")
            $0.verify = true
        }
        #expect(try world.files() == ["a", "b", "c", "deep/x"])
        #expect(result.files == 4 && result.verified == 4 && result.failed.isEmpty && result.damaged.isEmpty)
        let target = try DirectoryHandle.open(path: Array(world.target.path.string.utf8))
        let restored = try ["a", "b", "c"].map {
            try target.metadata(of: Array($0.utf8), owners: OwnerNames(), includingExtendedAttributes: false)
        }
        #expect(restored[0].inode == restored[1].inode && restored[0].linkCount == 2)
        // Its other name is not among what is restored.
        #expect(restored[2].linkCount == 1)
        let (mine, theirs) = try (metadata(world.target.path), metadata(world.tree.path.appending("sub")))
        #expect(mine.modified == theirs.modified && mine.permissions == theirs.permissions)

        let whole = try await world.restore { $0.target += Array("/whole".utf8) }
        #expect(
            whole.contentDigest != nil && result.contentDigest != nil && whole.contentDigest != result.contentDigest)
    }

    @Test("Patterns and checkpoints are those below it, markers come last, torn ones are set aside, and it goes on")
    func states() async throws {
        let world = try await StateWorld(Self.files, Self.states)
        let latest = try await world.restore {
            $0.from = components("run")
            $0.checkpoint = .latest
            $0.target += Array("/latest".utf8)
        }
        #expect(latest.checkpoint == "checkpoint-10" && latest.failed.isEmpty)
        #expect(try world.files("latest") == ["args.json", "checkpoint-10/state.json", "checkpoint-10/weights"])
        var from = RestoreRequest(snapshot: world.snapshot, target: [])
        from.from = components("/run/./")
        let result = try await world.restore { request in
            request.from = from.from
            request.target += Array("/all".utf8)
        }
        #expect(result.setAside.map(\.newPath) == ["checkpoint-20.torn"])
        let again = try await world.restore { request in
            request.from = from.from
            request.target += Array("/all".utf8)
            request.resume = true
            request.verify = true
        }
        // What has several names is written anew.
        #expect(again.bytesWritten <= 2 && again.failed.isEmpty && again.verified == 10, "\(again)")
        let included = try await world.restore { request in
            request.from = from.from
            request.target += Array("/part".utf8)
            request.includes = ["sub/deep"]
        }
        #expect(try world.files("part") == ["sub/deep/x"] && included.unmatched.isEmpty)
    }

    @Test("A checkpoint that is the directory itself is not committed when a file of it is damaged")
    func damaged() async throws {
        let world = try await StateWorld(
            [("run/checkpoint-10/weights", "w"), ("run/checkpoint-10/state.json", "{}")],
            .trainer([(10, "complete")]), sizes: ["run/checkpoint-10/weights": 800_000])
        try await world.damage { $0 > 500_000 }
        let result = try await world.restore { $0.from = components("run/checkpoint-10") }
        #expect(result.damaged.map(\.path) == ["weights"])
        #expect(result.failed.count == 1 && result.failed[0].path == "/")
        #expect(result.failed.first?.message.contains("not committed, for weights") == true, "\(result.failed)")
        #expect(try !world.files().contains("state.json"))
    }

    @Test("A torn one that is the directory itself stays where it is, and that is said")
    func torn() async throws {
        let world = try await StateWorld(Self.files, Self.states)
        let result = try await world.restore { $0.from = components("run/checkpoint-20") }
        #expect(result.setAside.isEmpty && result.contentDigest != nil)
        #expect(result.remarks.map(\.path) == ["/"] && result.remarks[0].message.contains("weights: 10 bytes expected"))
    }

    @Test("A file system's own lost+found is in nobody's way, and other things keep what the target is like")
    func mountPoint() async throws {
        let world = try await StateWorld([("run/lost+found/x", "x"), ("run/w", "w")], nil)
        // As it is backed up from a volume: empty.
        let found = try DirectoryHandle.open(path: world.tree.bytes + Array("/lost+found".utf8))
        try found.remove(name: [120])
        let request = BackupRequest(paths: [world.tree.bytes], host: "h", user: "u", program: "test")
        let id = try await BackupOperation(
            repository: world.repository, request: request, progress: OperationProgress()
        ).run().snapshot
        try SourceTree.makeDirectory(world.target.path.appending("lost+found"))
        let before = try metadata(world.target.path.appending("lost+found"))
        let result = try await world.restore {
            $0.snapshot = id
            $0.from = components("run")
        }
        #expect(result.failed.isEmpty && result.contentDigest != nil)
        #expect(try world.files() == ["w"])
        #expect(try metadata(world.target.path.appending("lost+found")).modified == before.modified)
        #expect(try metadata(world.target.path).modified == metadata(world.tree.path).modified)

        let other = try await StateWorld([("run/w", "w")], nil)
        try other.put("mine")
        let own = try metadata(other.target.path)
        _ = try await other.restore { $0.from = components("run") }
        #expect(try other.files() == ["mine", "w"])
        #expect(try metadata(other.target.path).permissions == own.permissions)
        #expect(try metadata(other.target.path).modified != metadata(other.tree.path).modified)
        let error = await #expect(throws: SnapshotError.self) {
            try await other.restore { $0.from = components("run") }
        }
        #expect(error?.code == .targetNotEmpty && error?.message.contains("/w exists already") == true)
    }

    @Test("What is no directory, or not there, is refused before anything is made")
    func refused() async throws {
        let world = try await StateWorld(Self.files, nil)
        let file = await #expect(throws: SnapshotError.self) {
            try await world.restore { $0.from = components("run/args.json") }
        }
        #expect(file?.code == .invalidArgument && file?.message.contains("is a regular file") == true)
        let missing = await #expect(throws: RepositoryError.self) {
            try await world.restore { $0.from = components("run/nothing") }
        }
        #expect(missing?.code == .noSuchName)
        #expect(try world.files().isEmpty)
    }
}
