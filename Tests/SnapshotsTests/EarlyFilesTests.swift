import Basics
import Logging
import ObjectStorage
import ObjectStorageTesting
import Repository
import RepositoryFormat
import Sealing
import Snapshots
import SystemPackage
import Testing

/// What a model's server begins with is restored before everything else.
@Suite("Models are restored first, in the order in which a server reads them")
struct EarlyFilesTests {
    private static let files: [(String, String)] = [
        ("run/a-log", "1"), ("run/checkpoint-10/config.json", "{1}"), ("run/checkpoint-10/state.json", "{2}"),
        ("run/checkpoint-10/weights", ""), ("run/model/a.bin", "2"), ("run/model/config.json", "{3}"),
        ("run/model/generation_config.json", "{4}"), ("run/model/model-00001-of-00003.safetensors", ""),
        ("run/model/model-00002-of-00003.safetensors", ""), ("run/model/model-00003-of-00003.safetensors", ""),
        ("run/model/model.safetensors.index.json", "{5}"), ("run/model/tokenizer.json", "{6}"),
        ("run/model/tokenizer.model", "7"),
    ]
    private static let shards = (1...3).map { "run/model/model-0000\($0)-of-00003.safetensors" }
    private static let small = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer.model"]
        .map { "run/model/\($0)" }
    private static let markers = ["run/checkpoint-10/state.json", "run/model/model.safetensors.index.json"]

    /// Distinct sizes, by which packs are told apart.
    private static let sizes = [
        "run/checkpoint-10/weights": 1_600_000, shards[0]: 2_600_000, shards[1]: 2_200_000, shards[2]: 2_000_000,
    ]

    private static func inventory() -> StateInventory {
        var inventory = StateInventory.trainer([(10, "complete")])
        let index = markers[1]
        var state = StateInventory.State(path: index, kind: "model", format: "safetensors", judgement: "complete")
        state.files = [index] + shards
        state.commitMarkers = [index]
        inventory.states.append(state)
        return inventory
    }

    private func watch(_ world: StateWorld, _ directories: [String]) throws -> NameWatch {
        // Directories that are there can be watched from the first name on.
        let watch = NameWatch()
        for directory in directories { try world.put("\(directory)/mine") }
        for directory in directories {
            watch.add(world.target.path.pushing(FilePath(directory)), as: directory)
        }
        return watch
    }

    @Test(
        "First the small files of a model, then its weights, then the rest, and markers last",
        arguments: [RestoreRequest.Overwrite.always, .ifChanged])
    func order(overwrite: RestoreRequest.Overwrite) async throws {
        let world = try await StateWorld(Self.files, Self.inventory(), sizes: Self.sizes)
        let watch = try watch(world, ["run", "run/checkpoint-10", "run/model"])
        let result = try await world.restore {
            $0.overwrite = overwrite
            $0.verify = true
        }
        #expect(result.files == 13 && result.failed.isEmpty && result.verified == 13, "\(result)")
        let events = watch.events()
        #expect(events.prefix(4).sorted() == Self.small, "\(events)")
        #expect(events.dropFirst(4).prefix(3).sorted() == Self.shards, "\(events)")
        #expect(events.count == 13 && events.suffix(2) == Self.markers[...], "\(events)")
    }

    @Test("Weights are read in the order of their shards, whatever their packs are called")
    func reads() async throws {
        let world = try await StateWorld(
            Self.files, Self.inventory(), sizes: Self.sizes, ownPacks: Self.shards.reversed())
        let recorder = RecordingObjectStore(world.memory)
        _ = try await world.restore(from: recorder) { $0.includes = ["model"] }
        // A pack holds one shard and little more.
        var shards: [String: Int] = [:]
        for pack in try await world.memory.listAll(prefix: "data/") {
            let fits = Self.shards.indices.filter {
                abs(Int(pack.size) - Self.sizes[Self.shards[$0], default: 0]) < 50_000
            }
            if fits.count == 1 { shards[pack.key] = fits[0] }
        }
        #expect(shards.count == 3)
        let read = recorder.requests.filter { $0.operation == .get }.compactMap { shards[$0.key] }
        #expect(Set(read) == [0, 1, 2])
        // Two threads: the second may begin its request before the first does.
        for (place, shard) in read.enumerated() {
            #expect(read[place...].count { $0 < shard } <= 1, "\(read)")
        }
    }

    @Test("Of a cache of the hub, the contents that a snapshot's links name as such come first")
    func cache() async throws {
        let files: [(String, String)] = [
            ("run/hub/.a", "1"), ("run/hub/models--o--m/blobs/0a", ""), ("run/hub/models--o--m/blobs/0b", ""),
            ("run/hub/models--o--m/blobs/0c", "{}"), ("run/hub/models--o--m/blobs/0d", "other"),
            ("run/hub/models--o--m/blobs/0e", "{1}"), ("run/hub/models--o--m/refs/main", "abc"),
            ("run/hub/models--o--m/snapshots/abc/model-00001-of-00002.safetensors", "->../../blobs/0b"),
            ("run/hub/models--o--m/snapshots/abc/model-00002-of-00002.safetensors", "->../../blobs/0a"),
            ("run/hub/models--o--m/snapshots/abc/config.json", "->../../blobs/0e"),
            ("run/hub/models--o--m/snapshots/abc/sub/tokenizer.json", "->../../../blobs/0c"),
            ("run/hub/models--o--m/snapshots/abc/out", "->/etc/passwd"),
            ("run/hub/models--o--m/snapshots/abc/up.json", "->../../../../../../../../blobs/0a"),
        ]
        let path = "run/hub/models--o--m"
        var inventory = StateInventory()
        var state = StateInventory.State(
            path: path, kind: "model", format: "huggingface-cache", judgement: "complete")
        state.commitMarkers = ["\(path)/refs/main"]
        inventory.states = [state]
        let world = try await StateWorld(
            files, inventory, sizes: ["\(path)/blobs/0a": 1_300_000, "\(path)/blobs/0b": 1_400_000])
        let watch = try watch(world, ["run/hub", "\(path)/blobs", "\(path)/refs"])
        let result = try await world.restore {
            $0.overwrite = .always
            $0.verify = true
        }
        #expect(result.files == 13 && result.failed.isEmpty, "\(result)")
        let events = watch.events().filter { !$0.hasSuffix("models--o--m") }
        #expect(events.prefix(2).sorted() == ["\(path)/blobs/0c", "\(path)/blobs/0e"], "\(events)")
        #expect(events.dropFirst(2).prefix(2).sorted() == ["\(path)/blobs/0a", "\(path)/blobs/0b"], "\(events)")
        #expect(events.count == 7 && events.last == "\(path)/refs/main", "\(events)")
    }

    @Test("What comes first is restored once, told of once, and everything comes back")
    func whole() async throws {
        var files = Self.files
        files.append(("run/model/again.json", "=>run/model/config.json"))
        files.append(("run/z-link", "=>run/model/model-00002-of-00003.safetensors"))
        let world = try await StateWorld(files, Self.inventory(), sizes: Self.sizes)
        let plain = try await StateWorld(files, nil, sizes: Self.sizes)
        let results = [try await world.restore { $0.verify = true }, try await plain.restore { $0.verify = true }]
        for result in results {
            #expect(result.files == 15 && result.failed.isEmpty && result.contentDigest != nil, "\(result)")
        }
        #expect(results[0].bytesWritten == results[1].bytesWritten && results[0].verified == results[1].verified)
        #expect(try world.files() == plain.files())
        let again = try await world.restore { $0.overwrite = .ifChanged }
        // What has two names is written anew.
        #expect(again.failed.isEmpty && again.bytesWritten == 2_200_003, "\(again)")
        let included = try await world.restore {
            $0.target += Array("/part".utf8)
            $0.includes = ["tokenizer.*", "no/such"]
        }
        #expect(included.files == 2 && included.unmatched == ["no/such"])
        #expect(try world.files("part") == ["run/model/tokenizer.json", "run/model/tokenizer.model"])
    }

    @Test("A directory of a model that cannot be made is told of once, and the rest comes back")
    func inTheWay() async throws {
        let world = try await StateWorld(Self.files, Self.inventory(), sizes: Self.sizes)
        try world.put("run/model")
        let result = try await world.restore { $0.resume = true }
        #expect(result.failed.filter { $0.path.hasPrefix("run/model") }.map(\.path).first == "run/model")
        #expect(result.files == 4, "\(result)")
        let mended = try await world.restore { $0.overwrite = .always }
        #expect(mended.failed.isEmpty && mended.files == 13, "\(mended)")
    }

    @Test(
        "Paths of a model that no snapshot holds mean nothing",
        arguments: ["", "/", "..", "../outside", "run/../../outside", "/etc/passwd", "run//z", "run/no", "run/a-log/x"])
    func hostile(path: String) async throws {
        var inventory = StateInventory()
        for format in ["safetensors", "huggingface-cache"] {
            var state = StateInventory.State(path: path, kind: "model", format: format, judgement: "complete")
            inventory.states.append(state)
            state.files = [path, "run/model", "run"]
            inventory.states.append(state)
        }
        let world = try await StateWorld(Self.files, inventory, sizes: Self.sizes)
        let result = try await world.restore { $0.verify = true }
        #expect(result.files == 13 && result.failed.isEmpty && result.contentDigest != nil, "\(result)")
        #expect(try world.files() == Self.files.map(\.0))
    }
}
