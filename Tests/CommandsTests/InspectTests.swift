import Commands
import Foundation
import Orchestration
import Testing

/// `becalm inspect`: judgements as people, scripts and exit codes get them.
@Suite("Inspect")
struct InspectTests {
    @Test("A whole run is told with its steps, sizes and what resumes, and ends with 0")
    func complete() async throws {
        let world = try World()
        try world.addSample("Samples/trainer/run", as: "run")
        let text = await world.plain(["inspect", "run"])
        #expect(text.status == .done, "\(text.out)\(text.err)")
        #expect(text.out.contains("transformers-trainer resumes from checkpoint-2"))
        let json = await world.plain(["inspect", "run", "--json"])
        let objects = try json.objects()
        let checkpoint = try #require(objects.first { $0["type"] as? String == "checkpoint" })
        #expect(checkpoint["format"] as? String == "transformers-trainer" && checkpoint["step"] as? Int == 2)
        #expect(checkpoint["judgement"] as? String == "complete" && checkpoint["path"] as? String == "checkpoint-2")
        #expect((checkpoint["dtypes"] as? [[String: any Sendable]])?.isEmpty == false)
        #expect(try json.summary()["complete"] as? Int == 1)
    }

    @Test("A torn newest checkpoint ends with 21, with the evidence and the name that sets it aside")
    func torn() async throws {
        let world = try World()
        try world.addSample("Samples/trainer/run", as: "run")
        try world.addSample("Samples/trainer/run/checkpoint-2", as: "run/checkpoint-4")
        try world.write("run/checkpoint-4/trainer_state.json", "{\"global_st")
        let text = await world.plain(["inspect", "run"])
        #expect(text.status == .checkpointTorn)
        #expect(text.out.contains("torn: checkpoint-4/trainer_state.json: expected"), "\(text.out)")
        #expect(text.out.contains("warning: ") && text.out.contains("checkpoint-2"))
        let json = await world.plain(["inspect", "run", "--json"])
        let torn = try #require(try json.objects().first { $0["judgement"] as? String == "torn" })
        #expect(
            (torn["evidence"] as? [[String: any Sendable]])?.first?["file"] as? String
                == "checkpoint-4/trainer_state.json")
        #expect(torn["quarantine_name"] as? String == "checkpoint-4.torn")
        #expect(try json.summary()["resumes_from_torn"] as? Bool == true)
    }

    @Test("A file is judged by itself, whatever lies beside it")
    func file() async throws {
        let world = try World()
        try world.addSample("Samples/torch", as: "torch")
        let run = await world.plain(["inspect", "torch/plain.pt", "--json"])
        #expect(run.status == .done, "\(run.out)\(run.err)")
        #expect(
            try run.objects().filter { $0["type"] as? String == "checkpoint" }.map { $0["path"] as? String } == [
                "plain.pt"
            ])
    }

    @Test("Deep: bytes that do not match their checksum or their name are found, and only then")
    func deep() async throws {
        let world = try World()
        try world.addSample("Samples/torch", as: "torch")
        let name = "torch/plain.pt"
        var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: world.path(name))))
        // In the middle of a tensor's bytes, which begin at a multiple of 64.
        let start = try #require(Data(bytes).range(of: Data("data/0".utf8))?.upperBound)
        bytes[(start + 64) / 64 * 64 + 3] ^= 1
        try world.write(name, bytes)
        #expect(await world.plain(["inspect", name]).status == .done)
        let run = await world.plain(["inspect", name, "--deep"])
        #expect(run.status == .checkpointTorn && run.out.contains("unknown: "), "\(run.out)")

        // A blob of the hub's cache is named by its digest: SHA-256, or git's SHA-1.
        try world.addSample("FormatSamples/hub", as: "hub")
        let whole = await world.plain(["inspect", "hub", "--deep", "--json"])
        #expect(whole.status == .done, "\(whole.out)")
        for length in [40, 64] {
            let blobs = try FileManager.default.subpathsOfDirectory(atPath: world.path("hub")).filter {
                $0.contains("/blobs/") && $0.split(separator: "/").last?.count == length
            }
            let blob =
                "hub/\(try #require(blobs.first { (try? Data(contentsOf: URL(fileURLWithPath: world.path("hub/\($0)"))))?.isEmpty == false }))"
            let good = [UInt8](try Data(contentsOf: URL(fileURLWithPath: world.path(blob))))
            var bad = good
            bad[bad.count - 1] ^= 1
            try world.write(blob, bad)
            let found = await world.plain(["inspect", "hub", "--deep", "--json"])
            #expect(try found.objects().contains { $0["judgement"] as? String == "torn" }, "\(blob): \(found.out)")
            try world.write(blob, good)
        }
    }

    @Test("Where there is nothing, it says so and ends with 21; where nobody can look, with 1")
    func nothing() async throws {
        let world = try World()
        try world.write("empty/notes.txt", "nothing to see\n")
        let none = await world.plain(["inspect", "empty"])
        #expect(none.status == .checkpointTorn && none.out.contains("no checkpoint, model or cache is recognised"))
        let missing = await world.plain(["inspect", "missing"])
        #expect(missing.status == .failed && missing.err.contains("missing"), "\(missing.err)")
        #expect(missing.err.split(separator: "\n").count == 1)
    }
}
