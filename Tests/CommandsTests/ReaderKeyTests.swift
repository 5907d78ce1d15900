import Foundation
import Orchestration
import Testing

/// A key of the role `reader` at the command line.
@Suite("A reader's key", .serialized)
struct ReaderKeyTests {
    /// Everything in the repository's directory that could be changed: paths, sizes and contents. A directory's own
    /// lock, which its clock is read from, is no object.
    private static func objects(_ world: World) throws -> [String: Data] {
        var objects: [String: Data] = [:]
        for path in try FileManager.default.subpathsOfDirectory(atPath: world.path("repository")) {
            guard !path.hasPrefix(".tmp~") else { continue }
            objects[path] = FileManager.default.contents(atPath: world.path("repository/\(path)")) ?? Data()
        }
        return objects
    }

    /// A repository with two snapshots and a slot for the reader, who opens it with the options that are answered.
    private static func prepared() async throws -> (world: World, reader: [String]) {
        let world = try World()
        try await world.prepare()
        try world.write("source/c", "third\n")
        #expect(await world.run("backup", "source").status == .done)
        try world.write("reader.key", Array(100..<140))
        let added = await world.run(
            "key", "add", "--role", "reader", "--label", "audit", "--new-key-file", "reader.key")
        try #require(added.status == .done, "\(added.err)")
        #expect(added.out.contains("with the role 'reader'"))
        // A cache of its own: what was found out about the store, and the index, are another machine's.
        return (world, ["--key-file", world.path("reader.key"), "--cache-dir", world.path("reader-cache")])
    }

    @Test("Everything that reads works with it, and leaves the repository as it is")
    func reads() async throws {
        let (world, reader) = try await Self.prepared()
        let before = try Self.objects(world)
        let commands = [
            ["snapshots"], ["show", "latest"], ["show", "latest", "/source"], ["manifest", "latest"],
            ["restore", "latest", "--target", "out", "--verify"], ["verify"], ["verify", "--depth", "full"],
            ["verify", "latest", "--depth", "index"], ["drill", "latest"], ["key", "list"],
            ["forget", "--keep-last", "1", "--dry-run"], ["prune", "--dry-run"],
        ]
        for command in commands {
            let run = await world.plain(command + reader)
            #expect(run.status == .done, "\(command): \(run.err)")
        }
        let listed = try await world.plain(["snapshots", "--json"] + reader).objects()
        #expect(listed.count == 3 && listed.dropLast().allSatisfy { $0["host"] is String })
        let ids = listed.compactMap { $0["id"] as? String ?? $0["snapshot"] as? String }
        if ids.count >= 2 {
            let difference = await world.plain(["diff", ids[0], ids[1]] + reader)
            #expect(difference.out.contains("source/c"), "\(difference.out) \(difference.err)")
        }
        #expect(try String(contentsOfFile: world.path("out/source/c"), encoding: .utf8) == "third\n")
        let keys = try await world.plain(["key", "list", "--json"] + reader).objects().dropLast()
        #expect(keys.map { $0["role"] as? String } == ["full", "reader"])
        #expect(keys.map { $0["in_use"] as? Bool } == [false, true])
        #expect(try Self.objects(world) == before)
    }

    @Test(
        "Everything that changes something is refused in one line that names the role it takes, before it changes anything"
    )
    func refuses() async throws {
        let (world, reader) = try await Self.prepared()
        try world.write("other.key", Array(60..<100))
        let before = try Self.objects(world)
        let commands: [([String], String)] = [
            (["backup", "source"], "'writer' or 'full'"), (["forget", "latest"], "'full'"),
            (["forget", "--keep-last", "1"], "'full'"), (["prune"], "'full'"),
            (["key", "add", "--new-key-file", "other.key"], "'full'"), (["key", "rotate"], "'full'"),
            (["key", "passwd", "--new-key-file", "other.key"], "'full'"), (["key", "remove", "abcdef"], "'full'"),
            (["verify", "--rebuild-index"], "'full'"), (["verify", "--repair", "--depth", "full"], "'full'"),
        ]
        for (command, roles) in commands {
            let run = await world.plain(command + reader)
            #expect(run.status == .failed, "\(command): \(run.out)\(run.err)")
            let lines = run.err.split(separator: "\n")
            #expect(lines.count == 1, "\(command): \(run.err)")
            #expect(
                run.err.contains("a reader key cannot ") && run.err.contains("use a key of the role \(roles)"),
                "\(command): \(run.err)")
            let machine = await world.plain(command + reader + ["--json"])
            #expect(machine.err.contains("\"kind\":\"not_permitted\""), "\(command): \(machine.err)")
        }
        // Not even what the store can be trusted with was tried out.
        #expect(try Self.objects(world) == before)
        #expect(!FileManager.default.fileExists(atPath: world.path("reader-cache/stores")))
        #expect(await world.run("verify", "--depth", "full").status == .done)
    }

    @Test("It goes on working after a rotation, and opens nothing once it is removed")
    func ends() async throws {
        let (world, reader) = try await Self.prepared()
        #expect(await world.run("key", "rotate").status == .done)
        try world.write("source/d", "fourth\n")
        #expect(await world.run("backup", "source").status == .done)
        #expect(await world.plain(["restore", "latest", "--target", "out"] + reader).status == .done)
        #expect(try String(contentsOfFile: world.path("out/source/d"), encoding: .utf8) == "fourth\n")
        let keys = try await world.run("key", "list", "--json").objects()
        let id = try #require(keys.first { $0["role"] as? String == "reader" }?["id"] as? String)
        #expect(await world.run("key", "remove", id).status == .done)
        #expect(await world.plain(["snapshots"] + reader).status == .wrongKey)
        #expect(await world.run("snapshots").status == .done)
    }
}
