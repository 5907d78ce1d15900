import Commands
import Foundation
import Orchestration
import Testing

/// `becalm drill`: what it proves, what it reports, and that nothing of it stays.
@Suite("Drill")
struct DrillTests {
    /// A world with a repository, a run of a trainer with a checkpoint of two tensors of 3 MB each, and an empty place
    /// for scratch directories.
    private func world() async throws -> World {
        let world = try World()
        try #require(await world.run("init").status == .done)
        try world.addSample("Samples/trainer/run", as: "run")
        try world.write("run/checkpoint-2/model.safetensors", Self.weights)
        try FileManager.default.createDirectory(atPath: world.path("place"), withIntermediateDirectories: true)
        return world
    }

    /// A safetensors file of the tensors `first` and `second`.
    private static let weights: [UInt8] = {
        let size = 3 << 20
        let header = Array(
            """
            {"__metadata__":{"format":"pt"},\
            "first":{"dtype":"U8","shape":[\(size)],"data_offsets":[0,\(size)]},\
            "second":{"dtype":"U8","shape":[\(size)],"data_offsets":[\(size),\(2 * size)]}}
            """.utf8)
        var state: UInt64 = 0x9e37_79b9_7f4a_7c15
        let bytes = (0..<2 * size).map { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt8(truncatingIfNeeded: state >> 33)
        }
        return (0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) } + header + bytes
    }()

    private func drill(_ world: World, _ more: String...) async -> Run {
        let key = ["--key-file", world.path("key"), "--cache-dir", "none"]
        return await world.plain(["drill"] + more + key, ["TMPDIR": world.path("place")])
    }

    private func report(_ world: World) throws -> [String: any Sendable] {
        let data = try Data(contentsOf: URL(fileURLWithPath: world.path("report/report.json")))
        return try #require(try JSONSerialization.jsonObject(with: data) as? [String: any Sendable])
    }

    private func list(_ world: World, _ name: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: world.path(name)).sorted()
    }

    /// Changes one bit in the largest pack, in the middle of one of the two tensors.
    private func flip(_ world: World) throws {
        let root = URL(fileURLWithPath: world.path("repository/data"))
        let packs = try FileManager.default.subpathsOfDirectory(atPath: root.path).map {
            root.appendingPathComponent($0)
        }
        .filter { try $0.resourceValues(forKeys: [.isRegularFileKey]).isRegularFile == true }
        var (largest, content) = (root, [UInt8]())
        for pack in packs {
            let bytes = [UInt8](try Data(contentsOf: pack))
            if bytes.count > content.count { (largest, content) = (pack, bytes) }
        }
        content[content.count / 4] ^= 1
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: largest.path)
        try Data(content).write(to: largest)
    }

    @Test("A whole run passes both tiers, and nothing of the drill is left but its report")
    func whole() async throws {
        let world = try await world()
        let backup = try await world.run("backup", "run", "--json").summary()
        let run = await drill(world, "--report", "report", "--json")
        #expect(run.status == .done, "\(run.out)\(run.err)")
        #expect(try run.summary()["result"] as? String == "passed")
        #expect(try list(world, "place").isEmpty)
        #expect(try list(world, "report") == ["report.json", "summary.txt"])

        let report = try report(world)
        #expect(report["format"] as? String == "becalm-drill-report" && report["version"] as? Int == 1)
        #expect(report["snapshot"] as? String == backup["snapshot"] as? String)
        #expect(report["content_digest"] as? String == backup["content_digest"] as? String)
        #expect(report["result"] as? String == "passed" && report["exit_code"] as? Int == 0)
        let tiers = try #require(report["tiers"] as? [[String: any Sendable]])
        #expect(tiers.map { $0["tier"] as? String } == ["R0", "R1"])
        #expect(tiers.allSatisfy { $0["result"] as? String == "passed" }, "\(tiers)")
        let counts = try #require(report["counts"] as? [String: any Sendable])
        #expect(counts["files"] as? Int == 7 && counts["files_read_back"] as? Int == 7, "\(counts)")
        #expect(counts["complete"] as? Int == 1 && counts["runs"] as? Int == 1 && counts["damaged"] as? Int == 0)
        let seconds = try #require(report["seconds"] as? [String: any Sendable])
        for phase in ["prepare", "restore", "read_back", "judge", "clean_up", "total"] {
            #expect((seconds[phase] as? Double).map { $0 >= 0 } == true, "\(phase): \(seconds)")
        }
        #expect((report["damaged"] as? [any Sendable])?.isEmpty == true)
        let checkpoint = try #require((report["checkpoints"] as? [[String: any Sendable]])?.first)
        #expect(checkpoint["path"] as? String == "run/checkpoint-2" && checkpoint["step"] as? Int == 2)
        let resumed = try #require((report["runs"] as? [[String: any Sendable]])?.first)
        #expect((resumed["resume"] as? [String: any Sendable])?["path"] as? String == "run/checkpoint-2")

        let page = try String(contentsOfFile: world.path("report/summary.txt"), encoding: .utf8)
        #expect(page.contains("drill of snapshot \(backup["snapshot"] as? String ?? "?"): passed\n"), "\(page)")
        #expect(page.contains("transformers-trainer resumes from run/checkpoint-2"), "\(page)")
    }

    @Test("One flipped bit in a pack ends with 13, and names the file, the tensor and the checkpoint")
    func flippedBit() async throws {
        let world = try await world()
        try #require(await world.run("backup", "run").status == .done)
        try flip(world)
        let run = await drill(world, "--report", "report")
        #expect(run.status == .integrity, "\(run.out)\(run.err)")
        #expect(try list(world, "place").isEmpty)
        let report = try report(world)
        #expect(report["result"] as? String == "failed" && report["exit_code"] as? Int == 13)
        let damaged = try #require(report["damaged"] as? [[String: any Sendable]])
        #expect(damaged.map { $0["path"] as? String } == ["run/checkpoint-2/model.safetensors"])
        let tensors = try #require(damaged.first?["tensors"] as? [String])
        let lost = try #require(damaged.first?["lost"] as? [[Int]])
        try #require(lost.count == 1 && lost[0].count == 2)
        // The second tensor is the file's last 3 MiB.
        #expect(tensors == [lost[0][0] < Self.weights.count - 3 << 20 ? "first" : "second"], "\(lost)")
        let holder = try #require(damaged.first?["checkpoint"] as? [String: any Sendable])
        #expect(holder["path"] as? String == "run/checkpoint-2" && holder["step"] as? Int == 2)
        let tiers = try #require(report["tiers"] as? [[String: any Sendable]])
        #expect(tiers.map { $0["result"] as? String } == ["failed", "skipped"])
        let torn = try #require((report["checkpoints"] as? [[String: any Sendable]])?.first)
        #expect(torn["judgement"] as? String == "torn")
        for text in [run.err, run.out] {
            #expect(
                text.contains("run/checkpoint-2/model.safetensors (tensor \(tensors.first ?? "?"); of the"), "\(text)")
            #expect(text.contains("transformers-trainer checkpoint run/checkpoint-2, step 2)"), "\(text)")
        }
    }

    @Test("A torn newest checkpoint in the snapshot ends with 21, though every byte came back")
    func torn() async throws {
        let world = try await world()
        try FileManager.default.copyItem(
            atPath: world.path("run/checkpoint-2"), toPath: world.path("run/checkpoint-4"))
        try world.write("run/checkpoint-4/trainer_state.json", "{\"global_st")
        try world.age("run/checkpoint-4")
        try #require(await world.run("backup", "run").status == .done)
        let run = await drill(world, "--report", "report")
        #expect(run.status == .checkpointTorn, "\(run.out)\(run.err)")
        #expect(run.out.contains("would resume from run/checkpoint-4, which is torn"), "\(run.out)")
        let tiers = try #require(try report(world)["tiers"] as? [[String: any Sendable]])
        #expect(tiers.map { $0["result"] as? String } == ["passed", "failed"])
        #expect(try report(world)["exit_code"] as? Int == 21)
        // A torn one that nothing resumes from is told, and fails nobody.
        try FileManager.default.moveItem(
            atPath: world.path("run/checkpoint-4"), toPath: world.path("run/checkpoint-1"))
        try #require(await world.run("backup", "run").status == .done)
        let older = await drill(world, "--json")
        #expect(older.status == .done, "\(older.out)")
        #expect(try older.summary()["torn"] as? Int == 1)
        // Where none is complete, it does not matter what a job would do.
        try FileManager.default.removeItem(atPath: world.path("run/checkpoint-2"))
        try #require(await world.run("backup", "run").status == .done)
        #expect(await drill(world).status == .checkpointTorn)
    }

    @Test(
        "A snapshot without checkpoints passes, for there is nothing to judge; one without digests says what was compared"
    )
    func nothingToJudge() async throws {
        let world = try World()
        try await world.prepare("--no-file-digests")
        try FileManager.default.createDirectory(atPath: world.path("place"), withIntermediateDirectories: true)
        let run = await drill(world, "--json")
        #expect(run.status == .done, "\(run.out)\(run.err)")
        let tiers = try run.objects().filter { $0["type"] as? String == "tier" }
        #expect(tiers.map { $0["result"] as? String } == ["passed", "passed"])
        #expect((tiers.last?["message"] as? String)?.hasPrefix("nothing to judge") == true)
        #expect((tiers.first?["message"] as? String)?.contains("no SHA-256") == true)
        #expect(try run.summary()["files_read_back"] as? Int == 0)
    }

    @Test("Too little space is told before anything is restored, and ends with 16")
    func noSpace() async throws {
        let world = try await world()
        // A hole of 8 TiB, which takes no space where it is, nor in the repository.
        let size: Int64 = 8 << 40
        let free = try FileManager.default.attributesOfFileSystem(forPath: world.path)[.systemFreeSize] as? Int64
        try #require(free.map { $0 < size } == true)
        try #require(FileManager.default.createFile(atPath: world.path("run/hole"), contents: nil))
        let hole = try FileHandle(forWritingTo: URL(fileURLWithPath: world.path("run/hole")))
        try hole.truncate(atOffset: UInt64(size))
        try hole.close()
        let backup = await world.run("backup", "run", "--no-file-digests")
        try #require(backup.status == .done, "\(backup.err)")
        let run = await drill(world, "--scratch", "new", "--report", "report")
        #expect(run.status == .noSpace)
        #expect(run.err.split(separator: "\n").count == 1 && run.err.contains("--scratch"), "\(run.err)")
        #expect(!FileManager.default.fileExists(atPath: world.path("new")))
        #expect(try list(world, "report").isEmpty)
    }

    @Test("A scratch place with anything in it is refused and left alone; a new one goes when the drill ends")
    func scratchPlace() async throws {
        let world = try await world()
        try #require(await world.run("backup", "run").status == .done)
        try world.write("used/precious", "mine")
        let run = await drill(world, "--scratch", "used")
        #expect(run.status == .failed)
        #expect(run.err.split(separator: "\n").count == 1 && run.err.contains("(precious)"), "\(run.err)")
        #expect(try list(world, "used") == ["precious"])
        let new = await drill(world, "--scratch", "new")
        #expect(new.status == .done, "\(new.err)")
        #expect(!FileManager.default.fileExists(atPath: world.path("new")))
        #expect(await drill(world, "--scratch", "place").status == .done)
        #expect(try list(world, "place").isEmpty)
        #expect(await drill(world, "--scratch", "key").status == .failed)
    }

    /// A line of a shell that waits until a drill has restored something to the place.
    private static let waiting = """
        begin() { until [ -n "$(find place -name '*.becalm-part-*' -o -path '*/run/*' | head -n 1)" ]; do sleep 0.02; done; }
        slow="--limit-download 400K --cache-dir none --key-file $KEY"
        """

    private func script(_ world: World, _ text: String) throws -> (status: Int32, output: String) {
        try execute(
            "/bin/bash", ["-c", Self.waiting + "\n" + text], in: world.path,
            environment: world.environment.merging([
                "BECALM": BinaryTests.binary, "KEY": world.path("key"), "TMPDIR": world.path("place"),
            ]) { $1 })
    }

    @Test("What a killed drill has left goes with the next one, and nothing else ever does")
    func leftovers() async throws {
        let world = try await world()
        try #require(await world.run("backup", "run").status == .done)
        let killed = try script(
            world,
            """
            $BECALM drill $slow & child=$!
            begin; kill -KILL $child; wait $child; echo "status $?"
            left=$(find place -maxdepth 1 -name 'becalm-drill-*' -type d)
            mkdir -p outside $left/$(printf 'd/%.0s' $(seq 300)) $left/1/1/2 $left/shut/in
            echo mine >outside/precious; ln -s ../../outside $left/link; ln -s $PWD/outside/precious $left/shut/link
            chmod 0 $left/shut/in; chmod 500 $left/shut
            """)
        #expect(killed.output.hasSuffix("status 137\n"), "\(killed.output)")
        let left = try list(world, "place")
        try #require(left.count == 2, "\(left)")
        // However alike, these are not what a drill has left: no marker, another text in it, other names, a link to one.
        let (first, second) = (String(repeating: "a", count: 32), String(repeating: "b", count: 32))
        for name in ["\(first)/precious", "\(second).lock", "\(second)/precious", "\(first).lock2", "notes.lock"] {
            try world.write("place/becalm-drill-\(name)", "mine")
        }
        let marker = try #require(left.first { $0.hasSuffix(".lock") })
        try FileManager.default.copyItem(
            atPath: world.path("place/\(marker)"), toPath: world.path("outside/marker"))
        try FileManager.default.createSymbolicLink(
            atPath: world.path("place/becalm-drill-\(first).lock"), withDestinationPath: world.path("outside/marker"))
        let strangers = try list(world, "place").filter { !left.contains($0) }
        #expect(strangers.count == 6)
        let run = await drill(world)
        #expect(run.status == .done, "\(run.err)")
        #expect(try list(world, "place") == strangers)
        for name in ["place/becalm-drill-\(first)/precious", "place/becalm-drill-\(second)/precious"] {
            #expect(FileManager.default.fileExists(atPath: world.path(name)), "\(name)")
        }
        #expect(try list(world, "outside") == ["marker", "precious"])
    }

    @Test("A living drill is left alone: its place is taken, and what another one sweeps away is not its directory")
    func living() async throws {
        let world = try await world()
        try #require(await world.run("backup", "run").status == .done)
        let run = try script(
            world,
            """
            $BECALM drill $slow --scratch place >log 2>&1 & child=$!
            begin
            $BECALM drill latest --scratch place --key-file $KEY; echo "second $?"
            $BECALM drill latest --key-file $KEY >log2 2>&1; echo "third $?"
            ls place | wc -l; wait $child; echo "first $?"; ls -A place | wc -l
            """)
        #expect(run.output.contains("another drill is at work"), "\(run.output)")
        let ends = run.output.split(separator: "\n").suffix(5).map { $0.drop { $0 == " " } }
        #expect(ends == ["second 11", "third 0", "2", "first 0", "0"], "\(run.output)")
    }

    @Test("A signal ends a drill with its number, and nothing of it is left", arguments: [("INT", 130), ("TERM", 143)])
    func signals(name: String, status: Int) async throws {
        let world = try await world()
        try #require(await world.run("backup", "run").status == .done)
        let run = try script(
            world,
            """
            env --default-signal=INT $BECALM drill $slow --scratch place --report report & child=$!
            begin; kill -\(name) $child; wait $child; echo "status $?"; ls -A place report | grep -c becalm
            """)
        #expect(run.output.hasSuffix("status \(status)\n0\n"), "\(run.output)")
        #expect(run.output.contains("interrupted, and what it had restored is removed"), "\(run.output)")
        #expect(try list(world, "place").isEmpty && list(world, "report").isEmpty)
    }
}
