import Commands
import Foundation
import ObjectStorageTesting
import Orchestration
import Repository
import Snapshots
import Testing

@Suite("Small parts of the command line")
struct PartsTests {
    @Test(
        "Sizes",
        arguments: [
            ("0", 0), ("4096", 4096), ("256M", 256 << 20), ("1GiB", 1 << 30), ("1g", 1 << 30), ("10MB", 10_000_000),
            ("1.5K", 1536), ("2tib", 2 << 40), ("7b", 7),
        ])
    func sizes(text: String, bytes: Int) { #expect(ByteCount(argument: text)?.bytes == bytes) }

    @Test("What is no size", arguments: ["", "M", "-1", "1X", "1 M", "1e400", "99999999T", "..", "１"])
    func noSizes(text: String) { #expect(ByteCount(argument: text) == nil) }

    @Test(
        "Times", arguments: [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("2d", 172_800), ("1w", 604_800)])
    func times(text: String, seconds: Double) { #expect(TimeSpan(argument: text)?.seconds == seconds) }

    @Test(
        "Times as help tells them",
        arguments: [(0, "0s"), (0.5, "0.5s"), (86_400, "1d"), (5400, "1h30m"), (61, "1m1s")])
    func timesTold(seconds: Double, text: String) {
        #expect(TimeSpan(seconds: seconds).defaultValueDescription == text)
    }

    @Test(
        "A guess at an unknown option is told only when it is near",
        arguments: [
            ("--foo", "--json", false), ("--jsn", "--json", true), ("--quite", "--quiet", true),
            ("--x", "--json", false),
            ("--tags", "--tag", true), ("--recursively", "--recursive", true),
        ])
    func guesses(typed: String, guess: String, isTold: Bool) {
        let message = "Error: Unknown option '\(typed)'. Did you mean '\(guess)'?\nUsage: becalm"
        let shown = UsageMessage.withoutFarGuess(message)
        #expect(shown == (isTold ? message : "Error: Unknown option '\(typed)'\nUsage: becalm"))
    }

    @Test("What is no time", arguments: ["", "m", "-1", "1y", "1h30x", "999999w"])
    func noTimes(text: String) { #expect(TimeSpan(argument: text) == nil) }

    @Test(
        "Bytes for people",
        arguments: [
            (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_048_575, "1.0 MiB"), (1_610_612_736, "1.5 GiB"),
            (.max, "16.0 EiB"),
        ] as [(UInt64, String)])
    func bytes(count: UInt64, text: String) { #expect(Format.bytes(count) == text) }

    @Test(
        "Durations for people",
        arguments: [(0.44, "0.4 s"), (9.96, "10 s"), (61, "1:01"), (3723, "1:02:03"), (-1, "?"), (.infinity, "?")])
    func durations(seconds: Double, text: String) { #expect(Format.duration(seconds) == text) }

    @Test("Compression is off, auto, or a level that exists")
    func compression() {
        #expect(CompressionOption(argument: "off")?.mode == .off)
        #expect(CompressionOption(argument: "auto")?.mode == .zstd(level: 1))
        #expect(CompressionOption(argument: "19")?.mode == .zstd(level: 19))
        for text in ["0", "20", "-1", "fast", ""] { #expect(CompressionOption(argument: text) == nil) }
    }

    @Test("Any text comes back from JSON as it was, on one line", arguments: [1, 2, 3])
    func jsonText(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            var text = ""
            for _ in 0..<Int.random(in: 0..<20, using: &random) {
                let ranges: [ClosedRange<UInt32>] = [0...0x7f, 0x80...0xd7ff, 0xe000...0x10ffff]
                let range = ranges[Int.random(in: 0..<3, using: &random)]
                if let scalar = Unicode.Scalar(UInt32.random(in: range, using: &random)) {
                    text.unicodeScalars.append(scalar)
                }
            }
            let line = JSONValue.object([.init(text, .array([.string(text), .unsigned(.max), .null]))]).text
            #expect(!line.contains { $0 < 0x20 || $0 == 0x7f }, "seed \(seed)")
            let object = try JSONSerialization.jsonObject(with: Data(line)) as? [String: [any Sendable]]
            let found = try #require(object?.first)
            #expect(Array(found.key.unicodeScalars) == Array(text.unicodeScalars), "seed \(seed)")
            #expect((found.value[0] as? String).map { Array($0.unicodeScalars) } == Array(text.unicodeScalars))
            #expect((found.value[1] as? NSNumber)?.uint64Value == .max)
            #expect(found.value[2] is NSNull)
        }
    }

    @Test("Numbers that JSON has not are null")
    func jsonNumbers() {
        let values: [(JSONValue, String)] = [
            (.number(0.5), "0.5"), (.number(.nan), "null"), (.number(.infinity), "null"), (.integer(-3), "-3"),
            (.bool(false), "false"), (.array([]), "[]"), (.object([]), "{}"),
        ]
        for (value, text) in values { #expect(String(decoding: value.text, as: UTF8.self) == text) }
    }

    @Test("The progress line tells bytes, rate, time left and the end of the current file's name, and fits")
    func meter() {
        var meter = ProgressMeter(verb: "backing up")
        var status = OperationProgress().status
        status.bytesTotal = 100 << 20
        status.filesTotal = 10
        _ = meter.line(status, at: 0, columns: 120)
        #expect(meter.rate == nil)
        status.bytes = 20 << 20
        status.files = 2
        status.current = "/a/very/long/path/that/does/not/fit/into/the/line/whatever/one/does/to/it/model.safetensors"
        let line = meter.line(status, at: 2, columns: 120)
        #expect(line.hasPrefix("backing up  20 % of 100.0 MiB  2/10 files  10.0 MiB/s  8.0 s left"))
        #expect(line.hasSuffix("model.safetensors"))
        #expect(line.count == 119)
        for columns in 1...130 { #expect(meter.line(status, at: 3, columns: columns).count <= max(10, columns - 1)) }
        status.isCancelled = true
        #expect(meter.line(status, at: 4, columns: 120).hasPrefix("ending cleanly"))
    }

    @Test("The rate follows the last seconds, not the whole run")
    func meterWindow() throws {
        var meter = ProgressMeter(verb: "x")
        var status = OperationProgress().status
        for second in 0...100 {
            status.bytes += second < 60 ? 1_000_000 : 0
            _ = meter.line(status, at: Double(second), columns: 80)
        }
        #expect(try #require(meter.rate) == 0)
    }

    @Test("A table's columns stand below each other, numbers to the right")
    func table() {
        var table = TextTable([.left("name"), .right("size"), .left("note")])
        table.add(["a", "1", ""])
        table.add(["longer", "1000", "x"])
        #expect(table.lines == ["name    size  note", "a          1", "longer  1000  x"])
    }

    @Test("A log line or an error cannot begin a line of its own or move the cursor")
    func oneLine() async throws {
        let world = try World()
        let run = await world.plain(["snapshots", "--repository", "a\nb\u{1b}[2Jc", "--key-file", "key"])
        #expect(run.status == .noRepository)
        #expect(run.err.split(separator: "\n").count == 1)
        #expect(!run.err.contains("\u{1b}"))
    }
}
