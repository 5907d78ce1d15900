import Basics
import Checkpoints
import FoundationEssentials
import Logging
import ObjectStorage
import ObjectStorageTesting
import Repository
import RepositoryFormat
import Synchronization
import SystemPackage
import Testing

@testable import Snapshots

/// Backups of what real libraries have saved, complete, torn, and changing under the reader.
@Suite("Backup of AI state") struct StateBackupTests {
    private static let samples = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "CheckpointsTests")

    /// A repository and a source.
    private struct Place {
        let store = MemoryObjectStore()
        let repository: Repository
        let tree: SourceTree

        init() async throws {
            repository = try await Repository.create(
                store: store, credential: .keyFile([UInt8](repeating: 7, count: 32)),
                options: RepositoryOptions(memoryBytes: 96 << 20, processors: 2, logger: Logger(label: "test")))
            tree = try SourceTree()
        }

        func path(_ name: String) -> String { name.isEmpty ? tree.path.string : tree.path.appending(name).string }

        /// Copies a sample directory or file of the judges' tests, with the times of now.
        func add(_ sample: String, as name: String) throws {
            try FileManager.default.createDirectory(
                at: URL(filePath: path(name)).deletingLastPathComponent(), withIntermediateDirectories: true)
            let source = StateBackupTests.samples.appending(path: sample).path
            try FileManager.default.copyItem(atPath: source, toPath: path(name))
            try touch(name)
        }

        /// Sets the times of what is at `name`, and of all below, to so many seconds ago.
        func touch(_ name: String, secondsAgo: Double = 0) throws {
            let date = Date(timeIntervalSinceNow: -secondsAgo)
            let below = (try? FileManager.default.subpathsOfDirectory(atPath: path(name))) ?? []
            for entry in below.map({ "\(name)/\($0)" }) + [name] {
                // Of a link the target's time is set, if it leads anywhere.
                try? FileManager.default.setAttributes([.modificationDate: date], ofItemAtPath: path(entry))
            }
        }

        func remove(_ name: String) throws { try FileManager.default.removeItem(atPath: path(name)) }

        func backUp(
            named names: [String] = [""], excludes: [String] = [], requiresComplete: Bool = false,
            progress: @escaping @Sendable (Int) throws -> Void = { _ in }
        ) async throws -> BackupResult {
            var options = SurveyOptions()
            options.progress = progress
            let request = BackupRequest(
                paths: names.map { Array(path($0).utf8) }, host: "h", user: "u", excludes: excludes, judging: options,
                requiresComplete: requiresComplete, program: "test")
            return try await BackupOperation(
                repository: repository, request: request, progress: OperationProgress()
            ).run()
        }

        /// All paths in a snapshot, with the content of files under 100 bytes.
        func contents(_ result: BackupResult) async throws -> [String: String] {
            let index = try await repository.loadIndex()
            let loader = TreeLoader(repository: repository, index: index)
            let pages = try result.manifest.rootPages()
            return try await BlockingBridge.offload(name: "test") {
                Result {
                    var found: [String: String] = [:]
                    var walker = TreeWalker(loader: loader)
                    try walker.walk(pages: pages) { path, entry in
                        var text = ""
                        if entry.metadata.type == .regular, entry.metadata.size < 100 {
                            let file = try SnapshotFile(entry, loader: loader)
                            var bytes = [UInt8](repeating: 0, count: Int(file.size))
                            _ = try bytes.withUnsafeMutableBytes { try file.read(at: 0, into: $0) }
                            text = String(decoding: bytes, as: UTF8.self)
                        }
                        found[String(decoding: Array(path.joined(separator: [0x2f])), as: UTF8.self)] = text
                        return .descend
                    }
                    return found
                }
            }
        }
    }

    private static func judgements(_ result: BackupResult) -> [String: String] {
        Dictionary(
            (result.manifest.inventory?.states ?? []).map { ($0.path, $0.judgement) }, uniquingKeysWith: { a, _ in a })
    }

    private static func leftOut(_ result: BackupResult) -> [String] {
        (result.manifest.inventory?.leftOut ?? []).map { String($0.path.split(separator: "/").last ?? "") }.sorted()
    }

    @Test("A complete checkpoint is taken, one that is being written is left out and named")
    func beingWritten() async throws {
        let place = try await Place()
        try place.add("Samples/trainer/run/checkpoint-2", as: "out/checkpoint-2")
        try place.add("Samples/trainer/run/checkpoint-2", as: "out/checkpoint-4")
        try place.remove("out/checkpoint-4/trainer_state.json")
        try place.add("Samples/torch/plain.pt", as: "model.pt")
        let whole = try SourceTree.read(place.tree.path.appending("model.pt"))
        try place.tree.write("half.pt", Array(whole.prefix(whole.count / 2)))
        let result = try await place.backUp()
        #expect(Self.judgements(result) == ["run/out/checkpoint-2": "complete", "run/model.pt": "complete"])
        #expect(Self.leftOut(result) == ["checkpoint-4", "half.pt"])
        #expect(result.manifest.inventory?.leftOutStep == 4)
        let reason = result.manifest.inventory?.leftOut.first { $0.path.hasSuffix("checkpoint-4") }?.message ?? ""
        #expect(reason.contains("being written") && reason.contains("trainer_state.json"))
        #expect(!result.isPartial)
        let contents = try await place.contents(result)
        #expect(contents["run/out/checkpoint-2/model.safetensors"] != nil)
        #expect(!contents.keys.contains { $0.contains("checkpoint-4") || $0.contains("half") })
        #expect(UInt64(contents.count) == result.manifest.totals.files + result.manifest.totals.directories)
        // What would be resumed from is told of the snapshot, not of what was left out.
        let run = try #require(result.manifest.inventory?.runs.first)
        #expect(run.path == "run/out" && run.resumesFrom == "run/out/checkpoint-2" && run.warnings.isEmpty)
    }

    @Test("A torn checkpoint that has been so for long is stored, and known to be torn")
    func longTorn() async throws {
        let place = try await Place()
        try place.add("Samples/trainer/run/checkpoint-2", as: "out/checkpoint-2")
        try place.remove("out/checkpoint-2/trainer_state.json")
        try place.touch("out/checkpoint-2", secondsAgo: 3600)
        let result = try await place.backUp()
        let state = try #require(result.manifest.inventory?.states.first)
        #expect(state.path == "run/out/checkpoint-2" && state.judgement == "torn")
        #expect(state.quarantineName == "checkpoint-2.torn" && state.step == 2)
        #expect(state.reasons.first?.contains("trainer_state.json") == true)
        #expect(try await place.contents(result)["run/out/checkpoint-2/model.safetensors"] != nil)
        #expect(Self.leftOut(result).isEmpty)
    }

    @Test("What was named itself is stored, torn or not")
    func namedItself() async throws {
        let place = try await Place()
        try place.add("Samples/trainer/run/checkpoint-2", as: "checkpoint-2")
        try place.remove("checkpoint-2/trainer_state.json")
        try place.tree.write("half.pt", Array("PK\u{3}\u{4}0000".utf8))
        let result = try await place.backUp(named: ["checkpoint-2", "half.pt"])
        #expect(Self.judgements(result) == ["checkpoint-2": "torn", "half.pt": "torn"])
        #expect(try await place.contents(result).keys.contains("half.pt"))
    }

    @Test("A link to what is left out is stored, and told to lead nowhere in a restore")
    func linkToNothing() async throws {
        let place = try await Place()
        try place.add("Samples/trainer/run/checkpoint-2", as: "out/checkpoint-2")
        try place.add("Samples/trainer/run/checkpoint-2", as: "out/checkpoint-4")
        try place.remove("out/checkpoint-4/trainer_state.json")
        for (name, target) in [("first", "checkpoint-2"), ("latest", "checkpoint-4"), ("nowhere", "gone")] {
            try FileManager.default.createSymbolicLink(
                atPath: place.path("out/\(name)"), withDestinationPath: target)
        }
        let result = try await place.backUp()
        let told = (result.manifest.inventory?.leftOut ?? []).map(\.message).filter { $0.contains("link") }
        #expect(told == ["the link out/latest leads to it, and will lead nowhere in a restore"])
        #expect(!result.isPartial)
        #expect(try await place.contents(result).keys.contains("run/out/latest"))
    }

    @Test("Where complete checkpoints are required, none is made with another")
    func requiresComplete() async throws {
        let place = try await Place()
        try place.add("Samples/trainer/run/checkpoint-2", as: "out/checkpoint-2")
        try place.add("Samples/trainer/run/checkpoint-2", as: "out/checkpoint-4")
        try place.remove("out/checkpoint-4/optimizer.pt")
        let error = await #expect(throws: IncompleteState.self) {
            _ = try await place.backUp(requiresComplete: true)
        }
        #expect(error?.path == "run/out/checkpoint-4" && error?.judgement == "torn")
        #expect(try await place.repository.listSnapshots().snapshots.isEmpty)
        let result = try await place.backUp(excludes: ["checkpoint-4"], requiresComplete: true)
        #expect(Self.judgements(result) == ["run/out/checkpoint-2": "complete"])
        try place.remove("out/checkpoint-4")
        _ = try await place.backUp(requiresComplete: true)
        // Nor with one of which nobody knows.
        try place.add("Samples/dcp/outputs/step-100", as: "dist/step-100")
        _ = try await place.backUp(requiresComplete: true)
        try place.tree.write("dist/step-100/.metadata.tmp", [])
        let doubtful = await #expect(throws: IncompleteState.self) {
            _ = try await place.backUp(requiresComplete: true)
        }
        #expect(doubtful?.path == "run/dist/step-100" && doubtful?.judgement == "unknown")
        #expect(doubtful?.description.contains("is not known to be complete: ") == true)
    }

    @Test("A checkpoint of which a pattern takes a part is not held for complete")
    func excludedPart() async throws {
        let place = try await Place()
        try place.add("Samples/trainer/run/checkpoint-2", as: "out/checkpoint-2")
        let result = try await place.backUp(excludes: ["optimizer.pt"])
        #expect(Self.judgements(result) == ["run/out/checkpoint-2": "unknown"])
        #expect(result.manifest.inventory?.states.first?.reasons.first?.contains("optimizer.pt") == true)
    }

    @Test("A Hugging Face cache is stored without what is unfinished and secret, and in spite of its tag")
    func hubCache() async throws {
        let place = try await Place()
        try place.add("FormatSamples/hub", as: "huggingface")
        try place.tree.write("huggingface/token", Array("hf_secret".utf8))
        try place.tree.write("huggingface/stored_tokens", Array("hf_secret".utf8))
        let blobs = "huggingface/hub/models--tiny--model/blobs"
        try place.tree.write("\(blobs)/0123abcd.incomplete", Array("part".utf8))
        try FileManager.default.createDirectory(
            atPath: place.path("huggingface/hub/.locks/models--tiny--model"), withIntermediateDirectories: true)
        try place.tree.write("huggingface/hub/.locks/models--tiny--model/x.lock", [])
        let result = try await place.backUp()
        #expect(Self.leftOut(result).filter { $0 != ".locks" } == ["0123abcd.incomplete", "stored_tokens", "token"])
        let contents = try await place.contents(result)
        #expect(!contents.keys.contains { $0.contains("token") && !$0.contains("tokenizer") })
        #expect(!contents.keys.contains { $0.contains(".incomplete") || $0.hasSuffix(".lock") })
        #expect(contents.keys.contains("run/huggingface/hub/CACHEDIR.TAG"))
        let sources = try FileManager.default.subpathsOfDirectory(atPath: place.path("huggingface")).filter {
            !$0.contains(".locks") && !$0.hasSuffix("token") && !$0.hasSuffix("tokens") && !$0.contains(".incomplete")
        }
        #expect(
            Set(contents.keys.filter { $0.hasPrefix("run/huggingface/") })
                == Set(sources.map { "run/huggingface/\($0)" }))
    }

    @Test("A tracker never names a checkpoint that came after the checkpoints were listed", arguments: 1...12)
    func trackerFirst(moment: Int) async throws {
        let place = try await Place()
        try place.add("Samples/deepspeed/zero2", as: "ds")
        let (from, to) = (place.path("ds/global_step20"), place.path("ds/global_step30"))
        let (latest, half) = (place.path("ds/latest"), place.path("ds/half.pt"))
        // The job saves another one at one of the moments at which judges look around.
        let looks = Atomic<Int>(0)
        let result = try await place.backUp { _ in
            guard looks.wrappingAdd(1, ordering: .relaxed).newValue == moment else { return }
            try FileManager.default.copyItem(atPath: from, toPath: to)
            try Data("global_step30".utf8).write(to: URL(filePath: latest))
            try Data("PK\u{3}\u{4}00".utf8).write(to: URL(filePath: half))
        }
        let contents = try await place.contents(result)
        let named = try #require(contents["run/ds/latest"])
        #expect(contents.keys.contains("run/ds/\(named)"))
        // What is stored was judged.
        #expect(contents["run/ds/half.pt"] == nil)
        let run = try #require(result.manifest.inventory?.runs.first)
        #expect(run.resumesFrom == "run/ds/\(named)" && run.trackers == ["run/ds/latest"])
        #expect(!result.isPartial)
    }

    @Test("A checkpoint that changes while it is read is left out")
    func changing() async throws {
        let place = try await Place()
        try place.add("Samples/trainer/run/checkpoint-2", as: "out/checkpoint-2")
        try place.add("Samples/trainer/run/checkpoint-2", as: "other/checkpoint-2")
        let state = place.path("other/checkpoint-2/trainer_state.json")
        let isDone = Atomic<Bool>(false)
        let writer = WorkerThreads(count: 1, name: "test-writer") { _ in
            guard let file = try? FileDescriptor.open(FilePath(state), .writeOnly, options: .append) else { return }
            while !isDone.load(ordering: .relaxed) { _ = try? file.writeAll([0x20]) }
            try? file.close()
        }
        let outcome: Result<BackupResult, any Error>
        do { outcome = .success(try await place.backUp()) } catch { outcome = .failure(error) }
        isDone.store(true, ordering: .relaxed)
        writer.join()
        let result = try outcome.get()
        #expect(Self.judgements(result) == ["run/out/checkpoint-2": "complete"])
        #expect(Self.leftOut(result) == ["checkpoint-2"])
        // It was tried again, and in vain.
        #expect(result.manifest.problems.map(\.path) == ["run/other"])
        let contents = try await place.contents(result)
        #expect(!contents.keys.contains { $0.hasPrefix("run/other/checkpoint-2") })
        #expect(UInt64(contents.count) == result.manifest.totals.files + result.manifest.totals.directories)
        // The run's newest was taken back with it.
        let runs = try #require(result.manifest.inventory?.runs)
        #expect(runs.map(\.path) == ["run/other", "run/out"])
        #expect(runs.map(\.resumesFrom) == [nil, "run/out/checkpoint-2"])
    }

    // MARK: Looking again

    private func makeGuard(_ place: Place) throws -> (StateGuard, StateLedger) {
        let finding = CheckpointFinding(path: "out/checkpoint-2", format: .transformersTrainer)
        let ledger = StateLedger()
        ledger.add(finding, below: "run")
        let stateGuard = StateGuard(
            finding, foundAt: "out/checkpoint-2", source: place.tree.path.string,
            place: Array(place.path("out/checkpoint-2").utf8), root: "run", ledger: ledger, options: SurveyOptions())
        let own = try DirectoryHandle.open(path: Array(place.path("out/checkpoint-2").utf8))
        for name in try own.names() {
            stateGuard.saw(
                "out/checkpoint-2/\(String(decoding: name, as: UTF8.self))",
                try own.metadata(of: name, owners: OwnerNames(), includingExtendedAttributes: false))
        }
        return (stateGuard, ledger)
    }

    @Test(
        "What has become of a checkpoint since it was judged is noticed",
        arguments: ["nothing", "log", "results", "rotated", "file", "rewritten", "replaced"])
    func guards(change: String) async throws {
        let place = try await Place()
        try place.add("Samples/trainer/run/checkpoint-2", as: "out/checkpoint-2")
        try place.touch("out/checkpoint-2", secondsAgo: 100)
        let (stateGuard, ledger) = try makeGuard(place)
        switch change {
        // A log beside it is no part of it.
        case "results": try place.tree.write("out/checkpoint-2/results.json", [1])
        case "log": try place.tree.write("out/checkpoint-2/train.log", [1])
        case "rotated": try place.remove("out/checkpoint-2")
        case "file": try place.remove("out/checkpoint-2/optimizer.pt")
        case "rewritten": try place.tree.write("out/checkpoint-2/optimizer.pt", [1, 2, 3])
        case "replaced":
            // Of the same size, and the directory's time put back: only the file's time tells.
            let size = try SourceTree.read(place.tree.path.appending("out/checkpoint-2/optimizer.pt")).count
            try place.tree.write("out/checkpoint-2/optimizer.pt", [UInt8](repeating: 0, count: size))
        default: break
        }
        #expect(stateGuard.holds() == ["nothing", "log", "results"].contains(change))
        #expect(ledger.inventory().states.count == (["nothing", "log", "results"].contains(change) ? 1 : 0))
        #expect(ledger.inventory().leftOut.count == (["nothing", "log", "results"].contains(change) ? 0 : 1))
        if change == "rotated" { #expect(ledger.inventory().leftOut.first?.message.contains("removed") == true) }
    }

    /// What is done with a watched file that has become `bytes`.
    private func settle(
        _ sample: String, as name: String, isWhole: Bool = true, becoming bytes: ([UInt8]) -> [UInt8]
    ) async throws -> (String, StateInventory) {
        let place = try await Place()
        try place.add(sample, as: name)
        try place.touch(name, secondsAgo: 100)
        let handle = try DirectoryHandle.open(path: Array(place.path("").utf8))
        func look() throws -> FileMetadata {
            try handle.metadata(of: Array(name.utf8), owners: OwnerNames(), includingExtendedAttributes: false)
        }
        let judged = try look()
        let ledger = StateLedger()
        let path = Array(place.path(name).utf8)
        var finding = CheckpointFinding(path: name, format: .torch, contents: .files([name]))
        finding.step = 1
        ledger.add(finding, below: "run")
        ledger.watch(
            StateFile(
                path: path, states: ["run/\(name)"], isWhole: isWhole, size: judged.size,
                modified: judged.modified.nanoseconds, options: SurveyOptions()))
        let now = bytes(try SourceTree.read(place.tree.path.appending(name)))
        if !now.isEmpty || judged.size == 0 { try place.tree.write(name, now) }
        let settlement = ledger.settle(path, try look(), isTorn: false)
        switch settlement {
        case .stored: return ("stored", ledger.inventory())
        case .doubtful: return ("doubtful", ledger.inventory())
        case .dropped: return ("dropped", ledger.inventory())
        }
    }

    @Test("A file that was written anew after it was judged is judged again")
    func writtenAnew() async throws {
        #expect(try await settle("Samples/torch/plain.pt", as: "a.pt") { _ in [] }.0 == "stored")
        #expect(try await settle("Samples/torch/plain.pt", as: "a.pt") { $0 }.0 == "stored")
        let (cut, inventory) = try await settle("Samples/torch/plain.pt", as: "a.pt") { Array($0.dropLast(100)) }
        #expect(cut == "dropped" && inventory.states.isEmpty && inventory.leftOut.count == 1)
        // Cut so that it is not even recognised.
        #expect(try await settle("Samples/torch/plain.pt", as: "a.bin") { _ in [0] }.0 == "dropped")
        // Of several that belong together one by itself cannot be judged.
        let (part, doubted) = try await settle("Samples/torch/plain.pt", as: "a.pt", isWhole: false) { $0 }
        #expect(part == "doubtful" && doubted.states.first?.judgement == "unknown")
    }

    @Test("A checkpoint of one file that is rotated away is left out, and is no problem")
    func rotatedFile() async throws {
        let ledger = StateLedger()
        ledger.add(CheckpointFinding(path: "a.pt", format: .torch, contents: .files(["a.pt"])), below: "run")
        let path = Array("/run/a.pt".utf8)
        ledger.watch(
            StateFile(path: path, states: ["run/a.pt"], isWhole: true, size: 1, modified: 1, options: SurveyOptions()))
        #expect(ledger.loses(path) && !ledger.loses(path) && !ledger.loses(Array("/run/b.pt".utf8)))
        #expect(ledger.inventory().states.isEmpty && ledger.inventory().leftOut.map(\.path) == ["/run/a.pt"])
        #expect(ledger.bereft == "run")
    }

    // MARK: What is not being written

    @Test("What says that a checkpoint is not complete is stored with it")
    func sentinel() async throws {
        let place = try await Place()
        try place.add("Samples/trainer/run/checkpoint-2", as: "out/checkpoint-2")
        try place.tree.write("out/checkpoint-2/checkpoint-is-incomplete.txt", [])
        try place.add("Samples/trainer/run/checkpoint-2", as: "out/tmp-checkpoint-4")
        try place.touch("out", secondsAgo: 3600)
        let result = try await place.backUp()
        let contents = try await place.contents(result)
        #expect(contents.keys.contains("run/out/checkpoint-2/checkpoint-is-incomplete.txt"))
        // It has not changed for an hour: it is nobody's any more, and is stored as what it is.
        #expect(contents.keys.contains("run/out/tmp-checkpoint-4/optimizer.pt"))
        #expect(Self.judgements(result) == ["run/out/checkpoint-2": "unknown", "run/out/tmp-checkpoint-4": "torn"])
        #expect(Self.leftOut(result).isEmpty)
    }

    @Test("What only looks as if it were being written is stored")
    func lookalikes() async throws {
        let place = try await Place()
        // A directory of this name that is nobody's cache.
        try FileManager.default.createDirectory(
            atPath: place.path("huggingface/assets"), withIntermediateDirectories: true)
        try place.tree.write("huggingface/assets/logo.png", [1])
        // A file that Git has not fetched.
        try place.tree.write(
            "model.safetensors", Array("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n".utf8))
        // A run's directory that was a checkpoint once, torn, with a log that grows and a complete checkpoint in it.
        try place.add("Samples/accelerate", as: "old")
        let names = try FileManager.default.subpathsOfDirectory(atPath: place.path("old"))
        // Names that Unicode holds to be equal.
        try place.add("Samples/torch/plain.pt", as: "mode\u{300}le.pt")
        try place.tree.write("mod\u{e8}le.pt", Array("PK\u{3}\u{4}00".utf8))
        let result = try await place.backUp()
        let contents = try await place.contents(result)
        let keys = Set(contents.keys.map { Array($0.utf8) })
        #expect(keys.contains(Array("run/huggingface/assets/logo.png".utf8)))
        #expect(keys.contains(Array("run/model.safetensors".utf8)))
        #expect(keys.contains(Array("run/mode\u{300}le.pt".utf8)))
        #expect(!keys.contains(Array("run/mod\u{e8}le.pt".utf8)))
        #expect(names.allSatisfy { keys.contains(Array("run/old/\($0)".utf8)) })
    }

    @Test("A torn checkpoint that has a successor is not being written: its writer has gone on")
    func successor() async throws {
        let place = try await Place()
        for name in ["checkpoint-8", "checkpoint-16"] {
            try place.add("Samples/trainer/run/checkpoint-2", as: "out/\(name)")
            try place.remove("out/\(name)/trainer_state.json")
        }
        let result = try await place.backUp()
        #expect(Self.judgements(result) == ["run/out/checkpoint-8": "torn"])
        #expect(Self.leftOut(result) == ["checkpoint-16"])
        #expect(NumberedName("a-9.pt")?.precedes(try #require(NumberedName("a-10.pt"))) == true)
        #expect(NumberedName("a-9.pt")?.precedes(try #require(NumberedName("b-10.pt"))) == false)
        #expect(NumberedName("a-9.pt")?.precedes(try #require(NumberedName("a-10.bin"))) == false)
        #expect(NumberedName("none") == nil && NumberedName("1234567890123456789") == nil && NumberedName("7") != nil)
    }

    @Test("A log that grows does not make a torn checkpoint one that is being written; its own files do")
    func growingLog() async throws {
        for name in ["train.py", "model.safetensors"] {
            let place = try await Place()
            try place.add("Samples/trainer/run/checkpoint-2", as: "out/checkpoint-2")
            try place.remove("out/checkpoint-2/trainer_state.json")
            try place.tree.write("out/checkpoint-2/train.py", [1])
            try place.touch("out", secondsAgo: 3600)
            try place.touch("out/checkpoint-2/\(name)")
            let result = try await place.backUp()
            #expect(Self.leftOut(result) == (name == "train.py" ? [] : ["checkpoint-2"]))
        }
    }

    @Test("A complete checkpoint is not left out with a torn one around it")
    func nested() async throws {
        let place = try await Place()
        try place.add("Samples/trainer/run/checkpoint-2", as: "checkpoint-9")
        try place.remove("checkpoint-9/trainer_state.json")
        try place.add("Samples/trainer/run/checkpoint-2", as: "checkpoint-9/checkpoint-2")
        let result = try await place.backUp()
        #expect(try await place.contents(result).keys.contains("run/checkpoint-9/checkpoint-2/optimizer.pt"))
        #expect(Self.leftOut(result).isEmpty)
    }

    @Test("A pattern that takes nothing a loader needs leaves a checkpoint complete, and a link is stored as one")
    func harmlessPattern() async throws {
        let place = try await Place()
        try place.add("Samples/trainer/run/checkpoint-2", as: "out/checkpoint-2")
        try place.tree.write("out/checkpoint-2/README.md", [1])
        try place.add("Samples/trainer/run/checkpoint-2", as: "torn/checkpoint-2")
        try place.remove("torn/checkpoint-2/optimizer.pt")
        try FileManager.default.createSymbolicLink(atPath: place.path("link"), withDestinationPath: "torn")
        let result = try await place.backUp(
            named: ["out", "link"], excludes: ["README.md"], requiresComplete: true)
        #expect(Self.judgements(result) == ["out/checkpoint-2": "complete"])
        #expect(try await place.contents(result).keys.contains("link"))
    }

    @Test("What could not be read leaves what it belongs to in doubt")
    func unreadable() {
        let ledger = StateLedger()
        ledger.began(Array("/data/run".utf8), root: "run")
        ledger.add(CheckpointFinding(path: "checkpoint-2", format: .transformersTrainer), below: "run")
        ledger.add(CheckpointFinding(path: "checkpoint-4", format: .transformersTrainer), below: "run")
        let inventory = ledger.inventory([.init(path: "/data/run/checkpoint-2/config.json", message: "denied")])
        #expect(inventory.states.map(\.judgement) == ["unknown", "complete"])
        #expect(inventory.states.first?.reasons == ["config.json in it: denied"])
    }

    @Test("The records that a restore needs are kept where there are too many")
    func tooMany() {
        let ledger = StateLedger()
        var torn = CheckpointFinding(path: "checkpoint-4", format: .transformersTrainer)
        torn.tear("x", expected: "all", found: "half")
        let most = StateInventory.mostRecords
        for number in 0..<most + 100 {
            ledger.add(
                CheckpointFinding(
                    path: "\(number).pt", kind: .model, format: .torch, contents: .files(["\(number).pt"])),
                below: "run")
            if number == most + 50 {
                ledger.add(torn, below: "run")
                ledger.add(CheckpointFinding(path: "checkpoint-2", format: .transformersTrainer), below: "run")
            }
        }
        let inventory = ledger.inventory()
        #expect(inventory.states.count == most && inventory.unlisted == 102)
        #expect(inventory.states.contains { $0.path == "run/checkpoint-4" })
        #expect(inventory.states.contains { $0.path == "run/checkpoint-2" })
    }
}
