import FoundationEssentials
import PluginHost
import Testing

@Suite struct SelfInstallerTests {
    private static func directory() throws -> String {
        let path = "/tmp/becalm-install-\(UInt64.random(in: 0 ... .max))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        return path
    }

    @Test func theExecutableIsCopiedForEveryoneToRunOverAnOlderOne() throws {
        let directory = try Self.directory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let content = Data((0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) })
        try content.write(to: URL(filePath: "\(directory)/source"))
        try Data("older".utf8).write(to: URL(filePath: "\(directory)/plugin"))
        let path = try SelfInstaller.install(executable: "\(directory)/source", as: "plugin", into: directory)
        #expect(path == "\(directory)/plugin")
        #expect(try Data(contentsOf: URL(filePath: path)) == content)
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        #expect(mode == 0o755)
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory).sorted() == ["plugin", "source"])
    }

    @Test func whatCannotBeWrittenIsToldAndLeavesNothing() throws {
        let directory = try Self.directory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let error = #expect(throws: SelfInstaller.Failure.self) {
            try SelfInstaller.install(executable: "\(directory)/none", as: "plugin", into: directory)
        }
        #expect(error?.description.contains("\(directory)/none") == true)
        #expect(throws: SelfInstaller.Failure.self) {
            try SelfInstaller.install(executable: "/proc/self/exe", as: "plugin", into: "\(directory)/missing")
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty)
    }
}
