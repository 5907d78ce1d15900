import Commands
import Foundation
import ObjectStorageTesting
import Orchestration
import Testing

@Suite("Commands end to end")
struct JourneyTests {
    @Test("A backup's summary has what the contract names, and a second one of the same tree stores no content")
    func backupSummary() async throws {
        let world = try World()
        let first = try await world.prepare()
        #expect(
            Set(first.keys).isSuperset(of: [
                "snapshot", "content_digest", "files", "bytes_read", "bytes_new", "bytes_stored", "duration_seconds",
                "checkpoints",
            ]))
        #expect((first["snapshot"] as? String)?.count == 32)
        #expect((first["content_digest"] as? String)?.count == 64)
        #expect(first["files"] as? Int == 2)
        #expect(try #require(first["bytes_new"] as? Int) > 0)
        #expect((first["checkpoints"] as? [String]) == [])
        let second = try await world.run("backup", "source", "--json").summary()
        #expect(second["bytes_new"] as? Int == 0)
        #expect(second["content_digest"] as? String == first["content_digest"] as? String)
    }

    @Test("What comes back is what went in, with the same content digest")
    func restore() async throws {
        let world = try World()
        let backup = try await world.prepare()
        let run = await world.run("restore", "latest", "--target", "out", "--verify", "--json")
        #expect(run.status == .done, "\(run.err)")
        let summary = try run.summary()
        #expect(summary["content_digest"] as? String == backup["content_digest"] as? String)
        #expect(summary["snapshot"] as? String == backup["snapshot"] as? String)
        #expect(summary["files"] as? Int == 2)
        #expect(summary["bytes_written"] as? Int == 100_006)
        #expect(summary["duration_seconds"] is Double)
        let difference = try execute("/usr/bin/diff", ["-r", "source", "out/source"], in: world.path)
        #expect(difference.status == 0, "\(difference.output)")
    }

    @Test("Snapshots are listed by tag, host and source; each line has the contract's keys")
    func snapshots() async throws {
        let world = try World()
        try await world.prepare("--tag", "nightly", "--host", "alpha")
        try world.write("other/x", "x")
        await world.run("backup", "other", "--host", "beta")
        let all = try await world.run("snapshots", "--json").objects()
        #expect(all.count == 3)
        #expect(
            Set(all[0].keys).isSuperset(of: [
                "type", "id", "time", "host", "paths", "tags", "content_digest", "files", "bytes",
            ]))
        #expect(all[0]["type"] as? String == "snapshot")
        #expect(all[0]["tags"] as? [String] == ["nightly"])
        #expect(all[0]["paths"] as? [String] == [world.path("source")])
        for filter in [
            ["--tag", "nightly"], ["--host", "alpha"], ["--path", "source"], ["--path", world.path("source")],
        ] {
            let run = await world.plain(["snapshots", "--json", "--key-file", world.path("key")] + filter)
            #expect(try run.objects().dropLast().map { $0["host"] as? String } == ["alpha"], "\(filter)")
        }
        let text = await world.run("snapshots")
        #expect(text.out.contains("nightly"))
        #expect(text.out.hasSuffix("2 snapshots\n"))
    }

    @Test("Show lists a directory, all below it, and one file, as it was")
    func show() async throws {
        let world = try World()
        try await world.prepare()
        let root = try await world.run("show", "latest", "--json").objects()
        #expect(root.map { $0["type"] as? String } == ["snapshot", "entry", "summary"])
        let below = try await world.run("show", "latest", "source", "--recursive", "--json").objects().dropLast()
        #expect(below.map { $0["path"] as? String } == ["source/a", "source/a/x", "source/b"])
        let file = try await world.run("show", "latest:source", "/source/a/x/", "--json").objects()[0]
        #expect(file["size"] as? Int == 6)
        // printf 'first\n' | sha256sum
        #expect(
            file["sha256"] as? String == "b640e840b19d378660b32fb51ae18d67dccb4a8596a29e7bd72c1b2ae5928f41")
        let long = await world.run("show", "latest", "source/a/x", "--long")
        #expect(long.out.hasPrefix("-rw"))
        #expect(await world.run("show", "latest", "source/nothing").status == .usage)
        #expect(await world.run("show", "latest", "source/b/x").status == .usage)
    }

    @Test("The latest of a source is refused where its name is that of several, and their whole paths are told")
    func latestOfSeveral() async throws {
        let world = try World()
        try #require(await world.run("init").status == .done)
        for path in ["a/run", "b/run", "b/other"] {
            try world.write("\(path)/file", path)
            let backup = await world.plain(["backup", path, "--json", "--key-file", world.path("key")])
            try #require(backup.status == .done, "\(backup.err)")
        }
        let refused = await world.run("show", "latest:run")
        #expect(refused.status == .usage && refused.err.contains("fits 2 sources"), "\(refused.err)")
        #expect(refused.err.contains("latest:\(world.path("a/run")), latest:\(world.path("b/run"))"), "\(refused.err)")
        for path in ["a/run", "b/run"] {
            let shown = await world.run("show", "latest:\(world.path(path))", "run/file", "--json")
            #expect(try shown.objects().first?["size"] as? Int == 5, "\(shown.err)")
            let snapshot = try await world.run("show", "latest:\(world.path(path))", "--json").objects()[0]
            #expect("\(snapshot)".contains(world.path(path)), "\(snapshot)")
        }
        #expect(await world.run("show", "latest:other").status == .done)
        #expect(await world.run("show", "latest:nothing").status == .usage)
    }

    @Test("A check of a sound repository finds nothing at any depth", arguments: ["quick", "index", "full"])
    func verify(depth: String) async throws {
        let world = try World()
        try await world.prepare()
        let run = await world.run("verify", "--depth", depth, "--json")
        #expect(run.status == .done, "\(run.err)")
        let summary = try run.summary()
        #expect(summary["sound"] as? Bool == true)
        #expect(summary["problems"] as? Int == 0)
        if depth == "full" { #expect(try #require(summary["bytes_read"] as? Int) > 0) }
    }

    @Test("A lost index is rebuilt from the packs, and everything restores")
    func rebuildIndex() async throws {
        let world = try World()
        try await world.prepare()
        let index = world.path("repository/index")
        for name in try FileManager.default.contentsOfDirectory(atPath: index) {
            try FileManager.default.removeItem(atPath: "\(index)/\(name)")
        }
        let run = await world.run("verify", "--rebuild-index", "--cache-dir", "none", "--json")
        #expect(run.status == .done, "\(run.err) \(run.out)")
        let repair = try #require(try run.objects().first)
        #expect(repair["type"] as? String == "repair")
        #expect(try #require(repair["packs_indexed"] as? Int) > 0)
        #expect(await world.run("restore", "latest", "--target", "out").status == .done)
    }

    @Test("Forget says what a rule would do, does it, and prune frees what nothing needs")
    func forgetAndPrune() async throws {
        let world = try World()
        try await world.prepare()
        try world.write("source/b", [UInt8](repeating: 9, count: 200_000))
        await world.run("backup", "source")
        let trial = try await world.run("forget", "--keep-last", "1", "--dry-run", "--json").objects()
        #expect(trial.filter { $0["type"] as? String == "decision" }.map { $0["keep"] as? Bool } == [true, false])
        #expect((trial.last?["forgotten"] as? [String])?.count == 1)
        #expect(try await world.run("snapshots", "--json").summary()["snapshots"] as? Int == 2)
        #expect(await world.run("forget", "--keep-last", "1").status == .done)
        #expect(try await world.run("snapshots", "--json").summary()["snapshots"] as? Int == 1)
        let prune = await world.run("prune", "--grace", "0", "--max-unused", "0", "--repack-below", "100", "--json")
        #expect(prune.status == .done, "\(prune.err)")
        #expect(try #require(try prune.summary()["bytes_freed"] as? Int) > 0)
        #expect(await world.run("restore", "latest", "--target", "out", "--verify").status == .done)
        #expect(await world.run("verify", "--depth", "full").status == .done)
    }

    @Test("Forget takes names, and says so when there is no such snapshot")
    func forgetByName() async throws {
        let world = try World()
        let id = try #require(try await world.prepare()["snapshot"] as? String)
        #expect(await world.run("forget", "deadbeef").status == .usage)
        #expect(await world.run("forget", String(repeating: "0", count: 32)).status == .usage)
        let run = await world.run("forget", String(id.prefix(8)), "--json")
        #expect(run.status == .done)
        #expect(try run.summary()["forgotten"] as? [String] == [id])
        #expect(try run.summary()["kept"] as? Int == 0)
    }

    @Test("A writer's key backs up and sees no content; a full key restores what it stored")
    func writer() async throws {
        let world = try World()
        try await world.prepare()
        let generated = await world.plain(["key", "generate", "identity"])
        let publicKey = generated.out.trimmingCharacters(in: .newlines)
        #expect(publicKey.hasPrefix("becalm-public-"))
        let mode = try FileManager.default.attributesOfItem(atPath: world.path("identity"))[.posixPermissions]
        #expect(mode as? Int == 0o600)
        #expect(await world.run("key", "add", "--recipient", publicKey, "--role", "writer").status == .done)
        let identity = ["--identity", world.path("identity")]
        try world.write("source/c", "third\n")
        let backup = await world.plain(["backup", "source", "--json"] + identity)
        #expect(backup.status == .done, "\(backup.err)")
        #expect(try #require(try backup.summary()["bytes_new"] as? Int) < 100_000)
        let listing = try await world.plain(["snapshots", "--json"] + identity).objects()
        #expect(listing[0]["host"] is NSNull)
        for command in [["show", "latest"], ["restore", "latest", "--target", "x"], ["key", "rotate"], ["prune"]] {
            let refused = await world.plain(command + identity + ["--json"])
            #expect(refused.status == .failed, "\(command) \(refused.out)")
            #expect(refused.err.contains("\"kind\":\"not_permitted\""), "\(refused.err)")
        }
        #expect(await world.run("restore", "latest", "--target", "out").status == .done)
        #expect(try String(contentsOfFile: world.path("out/source/c"), encoding: .utf8) == "third\n")
    }

    @Test("Keys are listed, removed and rotated; the last full one stays")
    func keys() async throws {
        let world = try World()
        try await world.prepare()
        try world.write("second", Array(100..<140))
        #expect(await world.run("key", "add", "--new-key-file", "second", "--label", "spare").status == .done)
        let keys = try await world.run("key", "list", "--json").objects().dropLast()
        #expect(keys.map { $0["label"] as? String } == ["first", "spare"])
        #expect(keys.map { $0["in_use"] as? Bool } == [true, false])
        #expect(try await world.run("key", "rotate", "--json").summary()["epoch"] as? Int == 2)
        let first = try #require(keys.first?["id"] as? String)
        #expect(await world.plain(["key", "remove", first, "--key-file", "second"]).status == .done)
        #expect(await world.run("snapshots").status == .wrongKey)
        #expect(await world.plain(["snapshots", "--key-file", "second"]).status == .done)
        let second = try #require(keys.last?["id"] as? String)
        #expect(await world.plain(["key", "remove", second, "--key-file", "second"]).status == .usage)
        #expect(await world.plain(["key", "passwd", "--new-key-file", "key", "--key-file", "second"]).status == .done)
        #expect(await world.run("snapshots").status == .done)
    }

    @Test("Doctor finds a sound repository sound and names what it looked at")
    func doctor() async throws {
        let world = try World()
        try await world.prepare()
        let run = await world.run("doctor", "--json")
        #expect(run.status == .done, "\(run.out)")
        let names = Set(try run.objects().compactMap { $0["name"] as? String })
        #expect(
            names.isSuperset(of: [
                "limits", "libraries", "cache", "store", "capabilities", "clock", "repository", "key", "snapshots",
            ]))
        #expect(try run.summary()["failed"] as? Int == 0)
        #expect(await world.plain(["doctor", "--repository", world.path("nowhere")]).status == .noRepository)
        #expect(!FileManager.default.fileExists(atPath: world.path("repository/probe")))
    }

    @Test("A verdict on the store is remembered, and a repository's probe is not repeated")
    func verdict() async throws {
        let world = try World()
        try await world.prepare()
        let verdicts = try FileManager.default.contentsOfDirectory(atPath: world.path("cache/stores"))
        #expect(verdicts.count == 1)
        let probes = { (run: Run) in run.err.split(separator: "\n").count { $0.contains("key=probe/") } }
        let known = await world.run("backup", "source", "-vv")
        #expect(probes(known) == 0)
        let unknown = await world.run("backup", "source", "-vv", "--cache-dir", "cache2")
        #expect(probes(unknown) > 5)
        let reading = await world.run("snapshots", "-vv", "--cache-dir", "cache3")
        #expect(probes(reading) == 0)
    }
}
