import Commands
import Foundation
import ObjectStorageTesting
import Orchestration
import Testing

/// What somebody meets who tries things out: patterns that fit nothing, wrong places, removed keys, nothing to do.
@Suite("First use")
struct FirstUseTests {
    @Test("Patterns that fit nothing are named; when none fits anything, the restore is partial")
    func unmatchedPatterns() async throws {
        let world = try World()
        try await world.prepare()
        let none = await world.run("restore", "latest", "--target", "o1", "--include", "nope", "--json")
        #expect(none.status == .partial)
        #expect(try none.objects().filter { $0["kind"] as? String == "unmatched" }.count == 1)
        let text = await world.run("restore", "latest", "--target", "o2", "--include", "nope", "--include", "x")
        #expect(text.status == .done)
        #expect(text.err.contains("'nope'"))
        #expect(!text.err.contains("'x'"))
        #expect(await world.run("restore", "latest", "--target", "o3", "--include", "[x-z]").status == .done)
        #expect(FileManager.default.fileExists(atPath: world.path("o3/source/a/x")))
        #expect(!FileManager.default.fileExists(atPath: world.path("o3/source/b")))
        let quiet = await world.run("restore", "latest", "--target", "o4", "--include", "nope", "--quiet")
        #expect(quiet.status == .partial)
        #expect(quiet.err.isEmpty)
    }

    @Test("The check after a restore says how much it read, and does not blame the disk for what was left as found")
    func verified() async throws {
        let world = try World()
        try await world.prepare()
        let run = await world.run("restore", "latest", "--target", "out", "--verify")
        #expect(run.out.contains("\n2 files read back and compared\n"))
        try world.write("out/source/a/x", "another\n")
        let again = await world.run(
            "restore", "latest", "--target", "out", "--overwrite", "never", "--verify", "--json")
        #expect(again.status == .partial, "\(again.out)")
        #expect(try again.summary()["verified"] as? Int == 2)
        let failed = try again.objects().filter { $0["type"] as? String == "failed" }
        #expect(failed.map { $0["path"] as? String } == ["source/a/x"])
        #expect((failed.first?["message"] as? String)?.contains("left as found") == true)
        let unasked = await world.run("restore", "latest", "--target", "o2", "--json")
        #expect(try unasked.summary()["verified"] is NSNull)
    }

    @Test("The key in use goes only by force, and nothing goes by fewer than four characters of an id")
    func ownKey() async throws {
        let world = try World()
        try await world.prepare()
        try world.write("second", Array(100..<140))
        #expect(await world.run("key", "add", "--new-key-file", "second").status == .done)
        let twice = await world.run("key", "add", "--new-key-file", "second", "--json")
        #expect(twice.status == .failed)
        #expect(twice.err.contains("\"already_exists\""))
        let keys = try await world.run("key", "list", "--json").objects().compactMap { $0["id"] as? String }
        #expect(keys.count == 2)
        let own = try #require(keys.first)
        let refused = await world.run("key", "remove", own)
        #expect(refused.status == .usage)
        #expect(refused.err.contains("--force"))
        #expect(await world.run("key", "remove", String(own.prefix(3)), "--force").status == .usage)
        #expect(await world.run("key", "remove", String(own.prefix(8)), "--force").status == .done)
        #expect(await world.run("snapshots").status == .wrongKey)
    }

    @Test("A repository is made in a directory of its own, and doctor writes to no other")
    func directoryInUse() async throws {
        let world = try World()
        try world.write("run42/config/x", "x")
        let tree = { try FileManager.default.subpathsOfDirectory(atPath: world.path("run42")).sorted() }
        let run = await world.run("init", "--repository", "run42")
        #expect(run.status == .failed)
        #expect(run.err.contains("config"))
        let doctor = await world.run("doctor", "--repository", "run42")
        #expect(doctor.status == .noRepository)
        #expect(doctor.out.contains("not tested"))
        #expect(try tree() == ["config", "config/x"])
        // What an interrupted 'init' has left is no obstacle, nor what is in every file system's root.
        for name in ["probe/1/list/a", ".tmp~", "lost+found"] {
            try FileManager.default.createDirectory(
                atPath: world.path("used/\(name)"), withIntermediateDirectories: true)
        }
        #expect(await world.run("init", "--repository", "used").status == .done)
        #expect(await world.run("init", "--repository", "used").err.contains("already"))
    }

    @Test("Neither init nor doctor leaves anything of its tests behind")
    func noLeftovers() async throws {
        let world = try World()
        #expect(await world.run("init").status == .done)
        #expect(!FileManager.default.fileExists(atPath: world.path("repository/probe")))
        #expect(await world.run("doctor").status == .done)
        #expect(!FileManager.default.fileExists(atPath: world.path("repository/probe")))
    }

    @Test("Forget tells what it takes: by name each once, by rule under its source")
    func forgetting() async throws {
        let world = try World()
        let id = try #require(try await world.prepare("--host", "alpha")["snapshot"] as? String)
        await world.run("backup", "source", "--host", "alpha")
        let trial = await world.run("forget", id, String(id.prefix(8)), "--dry-run")
        #expect(trial.out.contains("alpha:\(world.path("source"))\n  forget \(id.prefix(12))  20"), "\(trial.out)")
        #expect(trial.out.hasSuffix("1 snapshot would be forgotten\n"))
        let rule = await world.run("forget", "--keep-last", "1", "--dry-run")
        let lines = rule.out.split(separator: "\n")
        #expect(lines.first.map(String.init) == "alpha:\(world.path("source"))")
        #expect(lines.dropFirst().first?.hasPrefix("  keep   ") == true)
        #expect(lines.dropFirst(2).first?.hasPrefix("  forget \(id.prefix(12))") == true)
        let done = try await world.run("forget", id, id, "--json").summary()
        #expect(done["forgotten"] as? [String] == [id])
        #expect(done["kept"] as? Int == 1)
    }

    @Test("A source of which a rule keeps nothing is left alone, and what fits no filter is told")
    func sparedSource() async throws {
        let world = try World()
        try await world.prepare("--host", "alpha", "--tag", "release")
        await world.run("backup", "source", "--host", "alpha")
        await world.run("backup", "source", "--host", "beta")
        let run = await world.run("forget", "--keep-tag", "release", "--json")
        #expect(run.status == .partial)
        #expect(try run.objects().contains { $0["kind"] as? String == "source_spared" })
        #expect((try run.summary()["forgotten"] as? [String])?.count == 1)
        let last = await world.run("forget", "--keep-tag", "release", "--host", "beta")
        #expect(last.status == .usage)
        #expect(last.err.contains("--allow-empty"))
        let none = await world.run("forget", "--keep-last", "1", "--path", "nope", "--tag", "nosuch")
        #expect(none.status == .done)
        #expect(none.err.contains("no snapshot fits --tag nosuch --path nope"))
        #expect(await world.run("forget", "--keep-tag", "release", "--allow-empty").status == .done)
        #expect(try await world.run("snapshots", "--json").summary()["snapshots"] as? Int == 1)
    }

    @Test("Where nothing can be kept under retention, a backup that asks for it is refused before it begins")
    func noRetention() async throws {
        let world = try World()
        try await world.prepare()
        try world.write("source/new", [UInt8](repeating: 3, count: 50_000))
        let packs = { try FileManager.default.subpathsOfDirectory(atPath: world.path("repository/data")).count }
        let before = try packs()
        let run = await world.run("backup", "source", "--lock-for", "30d")
        #expect(run.status == .usage)
        #expect(run.err.contains("--lock-for"))
        #expect(try packs() == before)
    }

    @Test("Prune says why nothing happens, and when something will")
    func pruneReasons() async throws {
        let world = try World()
        try await world.prepare()
        let idle = await world.run("prune")
        #expect(idle.out.hasSuffix("nothing to do: snapshots need all that is stored\n"), "\(idle.out)")
        await world.run("forget", "--keep-tag", "none", "--allow-empty")
        let young = await world.run("prune")
        #expect(young.out.contains("younger than the grace period and left alone until 20"), "\(young.out)")
        let members = try await world.run("prune", "--json").summary()
        #expect(try #require(members["packs_young"] as? Int) > 0)
        #expect(members["young_until"] is String)
        let gone = await world.run("prune", "--grace", "0")
        #expect(gone.out.contains("packs removed"), "\(gone.out)")
    }

    @Test("Messages name a thing once, as the user knows it")
    func messages() async throws {
        let world = try World()
        try await world.prepare()
        let missing = await world.run("backup", "source", "missing")
        #expect(missing.err.matches(of: /missing/).count == 1, "\(missing.err)")
        let manifest = await world.run("manifest", "latest", "--output", "no/such/file")
        #expect(manifest.err.contains("no/such/file: "), "\(manifest.err)")
        #expect(!manifest.err.contains(".tmp"))
        try world.write("identity", "x")
        let generated = await world.plain(["key", "generate", "identity"])
        #expect(generated.status == .failed)
        #expect(generated.err.contains("name another"))
        let level = await world.run("backup", "source", "--compression", "20")
        #expect(level.err.contains("from 1 to 19"))
        let first = await world.plain(["--json", "snapshots"])
        #expect(first.err.contains("becalm snapshots --json"), "\(first.err)")
        let summary = try await world.run("backup", "source", "--json").summary()
        #expect(summary["bytes"] as? Int == 100_006)
    }

    @Test("A damaged snapshot or directory is told once, and the root by its name")
    func damage() async throws {
        let world = try World()
        try await world.prepare()
        try spoil(world, "tree")
        let restore = await world.run("restore", "latest", "--target", "out", "--cache-dir", "none")
        #expect(restore.err.contains("damaged: /: "), "\(restore.err)")
        try spoil(world, "snapshots")
        let listing = await world.run("snapshots")
        #expect(listing.status == .integrity)
        #expect(listing.err.matches(of: /snapshot [0-9a-f]{32}/).count == 1, "\(listing.err)")
    }

    /// Changes a byte in every 32 of each file below a folder of the repository: none of its blobs opens any more.
    private func spoil(_ world: World, _ folder: String) throws {
        let root = URL(fileURLWithPath: world.path("repository/\(folder)"))
        for name in try FileManager.default.subpathsOfDirectory(atPath: root.path) {
            let file = root.appendingPathComponent(name)
            guard try file.resourceValues(forKeys: [.isRegularFileKey]).isRegularFile == true else { continue }
            var bytes = [UInt8](try Data(contentsOf: file))
            for place in stride(from: 16, to: bytes.count, by: 32) { bytes[place] ^= 0x40 }
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: file.path)
            try Data(bytes).write(to: file)
        }
    }
}
