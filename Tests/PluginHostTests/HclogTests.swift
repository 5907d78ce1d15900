import FoundationEssentials
import Logging
import PluginHost
import Synchronization
import Testing

@Suite struct HclogTests {
    private static func decode(_ line: [UInt8]) throws -> [String: String] {
        #expect(line.last == 0x0a)
        // Decodes nothing but strings: a number anywhere makes the host panic.
        return try JSONDecoder().decode([String: String].self, from: Data(line))
    }

    @Test func everyValueIsAString() throws {
        let line = HclogLine.bytes(
            level: .warn, message: "said \"so\"\nand\u{1}", fields: [("count", "7"), ("name", "x")])
        #expect(
            try Self.decode(line) == ["@level": "warn", "@message": "said \"so\"\nand\u{1}", "count": "7", "name": "x"])
        #expect(line.dropLast().allSatisfy { $0 != 0x0a })
    }

    @Test(arguments: ["a", "ä", "\u{1F30A}", "\u{2}"])
    func aLineIsNeverLongerThanAHostReads(_ unit: String) throws {
        let long = String(repeating: unit, count: 100_000)
        let line = HclogLine.bytes(level: .info, message: long, fields: (0..<40).map { ("field\($0)", long) })
        #expect(line.count <= HclogLine.mostBytes + 2)
        let fields = try Self.decode(line)
        #expect(fields["@message"].map { long.hasPrefix($0) && !$0.isEmpty } == true)
    }

    @Test func loggersWriteWhatAHostParses() throws {
        let lines = Mutex<[[UInt8]]>([])
        var logger = Logger(label: "test") { _ in
            HclogHandler(level: .info) { line in lines.withLock { $0.append(line) } }
        }
        logger[metadataKey: "@level"] = "99"
        logger.debug("not shown")
        logger.warning("shown", metadata: ["backup": "nightly"])
        let written = lines.withLock { $0 }
        #expect(written.count == 1)
        let fields = try Self.decode(try #require(written.first))
        #expect(fields["@level"] == "warn")
        #expect(fields["backup"] == "nightly")
        #expect(fields["field.@level"] == "99")
        #expect(fields["logSource"]?.contains("HclogTests.swift:") == true)
    }

    @Test(arguments: [
        ("trace", HclogLevel.trace), ("warning", .warn), ("WARN", .warn), ("fatal", .error), ("panic", .error),
        ("info", .info),
    ])
    func levelsAreReadInLogrusWords(_ word: String, _ level: HclogLevel) {
        #expect(HclogLevel(argument: word) == level)
    }
}
