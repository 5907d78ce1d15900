import Commands
import Foundation
import ObjectStorageTesting
import Orchestration
import Testing

@Suite("Differences between snapshots")
struct DifferenceTests {
    private func change(_ world: World, _ script: String) throws {
        let run = try execute("/bin/sh", ["-ec", script], in: world.path)
        try #require(run.status == 0, "\(run.output)")
    }

    @Test("Every kind of change is named once, with its bytes")
    func kinds() async throws {
        let world = try World()
        try change(
            world,
            """
            mkdir -p source/same source/gone source/turned; cd source
            printf 12345 > content; printf 1 > mode; printf 1 > time; ln -s content link; printf 1 > gone/x
            printf 1 > turned/x; printf same > same/x; printf 1 > turned2
            """)
        await world.run("init")
        #expect(await world.run("backup", "source").status == .done)
        try change(
            world,
            """
            cd source; printf 1234567 > content; chmod 600 mode; touch -d 2001-01-01 time; ln -sf mode link
            rm -r gone turned; printf 123 > turned; mkdir -p new/deep turned2.d; printf 12 > new/deep/x
            rm turned2; mkdir turned2; printf 1 > turned2/inside
            """)
        #expect(await world.run("backup", "source").status == .done)
        let ids = try await world.run("snapshots", "--json").objects().compactMap { $0["id"] as? String }
        try #require(ids.count == 2)
        let run = await world.run("diff", ids[0], ids[1])
        #expect(run.status == .done, "\(run.err)")
        let lines = run.out.split(separator: "\n").map(String.init)
        #expect(
            Array(lines.dropLast()) == [
                "M source/content", "- source/gone/", "- source/gone/x", "M source/link", "U source/mode",
                "+ source/new/", "+ source/new/deep/", "+ source/new/deep/x", "U source/time", "T source/turned",
                "- source/turned/x", "T source/turned2/", "+ source/turned2/inside", "+ source/turned2.d/",
            ], "\(run.out)")
        let json = await world.run("diff", ids[0], ids[1], "--json")
        let summary = try json.summary()
        #expect(summary["added"] as? Int == 2)
        #expect(summary["removed"] as? Int == 2)
        #expect(summary["modified"] as? Int == 6)
        #expect(summary["bytes_added"] as? Int == 3)
        #expect(summary["bytes_removed"] as? Int == 2)
        #expect(summary["bytes_modified"] as? Int == 7)
        let content = try #require(try json.objects().first { $0["path"] as? String == "source/content" })
        #expect(content["content"] as? Bool == true)
        #expect(content["bytes_before"] as? Int == 5)
        #expect(content["bytes_after"] as? Int == 7)
        let reversed = try await world.run("diff", ids[1], ids[0], "--json").summary()
        #expect(reversed["added"] as? Int == 2)
        #expect(reversed["bytes_removed"] as? Int == 3)
        let contentOnly = await world.run("diff", ids[0], ids[1], "--content-only")
        #expect(!contentOnly.out.contains("U "))
        #expect(contentOnly.out.contains("M source/content"))
    }

    @Test("Snapshots of the same tree do not differ")
    func same() async throws {
        let world = try World()
        try await world.prepare()
        await world.run("backup", "source")
        let ids = try await world.run("snapshots", "--json").objects().compactMap { $0["id"] as? String }
        try #require(ids.count == 2)
        let run = await world.run("diff", ids[0], ids[1], "--json")
        #expect(try run.objects().count == 1)
    }

    @Test("In directories of many pages, single changes are found among what is skipped", arguments: [1, 2, 3])
    func manyPages(seed: UInt64) async throws {
        let world = try World()
        await world.run("init")
        var random = SeededGenerator(seed: seed)
        for number in 0..<3000 { try world.write("source/file-\(number)", "\(number)") }
        #expect(await world.run("backup", "source").status == .done)
        var expected: Set<String> = []
        for _ in 0..<20 {
            let number = Int.random(in: 0..<3000, using: &random)
            let name = "source/file-\(number)"
            switch Int.random(in: 0..<3, using: &random) {
            case 0 where !expected.contains { $0.hasSuffix(" \(name)") }:
                try FileManager.default.removeItem(atPath: world.path(name))
                expected.insert("- \(name)")
            case 1 where !expected.contains { $0.hasSuffix(" \(name)") }:
                try world.write(name, "changed")
                expected.insert("M \(name)")
            default:
                try world.write("\(name)-more", "new")
                expected.insert("+ \(name)-more")
            }
        }
        #expect(await world.run("backup", "source").status == .done)
        let ids = try await world.run("snapshots", "--json").objects().compactMap { $0["id"] as? String }
        try #require(ids.count == 2)
        let run = await world.run("diff", ids[0], ids[1])
        let found = run.out.split(separator: "\n").dropLast().map(String.init)
        #expect(Set(found) == expected, "seed \(seed)")
        #expect(found.count == expected.count)
    }
}
