import ArgumentParser
import Commands
import Foundation
import ObjectStorageTesting
import Orchestration
import Testing

@Suite("Help, completions, manual page")
struct HelpTests {
    static let commands = [
        "init", "backup", "restore", "drill", "snapshots", "show", "diff", "manifest", "verify", "forget", "prune",
        "key",
        "key list", "key add", "key remove", "key rotate", "key passwd", "key generate", "doctor",
        "velero", "velero list", "velero get", "velero cat", "data-mover",
    ]

    @Test("Every command's help has an overview, an example of that command, and ends with 0", arguments: commands)
    func help(command: String) async throws {
        let run = try await World().plain(command.split(separator: " ").map(String.init) + ["--help"])
        #expect(run.status == .done)
        #expect(run.err.isEmpty)
        #expect(run.out.contains("OVERVIEW: "))
        let example = try #require(run.out.range(of: "EXAMPLE:"))
        #expect(run.out[example.upperBound...].contains("$ becalm \(command)"))
    }

    @Test("Defaults and values are told as they are typed", arguments: commands)
    func defaults(command: String) async throws {
        let run = try await World().plain(command.split(separator: " ").map(String.init) + ["--help"])
        #expect(!run.out.contains("TimeSpan"))
        #expect(!run.out.contains("(default: 1)"))
        #expect(run.out.firstMatch(of: /(?m)^ +\w+ +- *$/) == nil)
    }

    @Test("The help of '--mover-settings' names every setting there is")
    func moverSettings() async throws {
        let run = try await World().plain(["backup", "--help"])
        let settings = Mirror(reflecting: MoverSettings()).children.compactMap(\.label)
        #expect(settings.count == 20)
        let words = Set(run.out.split { !$0.isLetter }.map(String.init))
        for setting in settings { #expect(words.contains(setting), "\(setting)") }
    }

    @Test("The help lists every command")
    func root() async throws {
        let run = try await World().plain([])
        #expect(run.status == .done)
        for command in Self.commands where !command.contains(" ") { #expect(run.out.contains("\n  \(command) ")) }
        #expect(!run.out.contains("\n  man "))
        for text in ["EXIT STATUS", "ENVIRONMENT", "becalm man", "--generate-completion-script"] {
            #expect(run.out.contains(text))
        }
    }

    @Test("No example and no help asks for a password on the command line", arguments: commands)
    func noPasswordArgument(command: String) async throws {
        let run = try await World().plain(command.split(separator: " ").map(String.init) + ["--help"])
        #expect(run.out.firstMatch(of: /--(new-)?password[ =]/) == nil)
    }

    @Test("The version is the one that is stated in one place")
    func version() async throws {
        let run = try await World().plain(["--version"])
        #expect(run.status == .done)
        #expect(run.out == "\(Version.number)\n")
    }

    @Test("Completion scripts are made for three shells", arguments: ["bash", "zsh", "fish"])
    func completion(shell: String) async throws {
        let world = try World()
        let run = await world.plain(["--generate-completion-script", shell])
        #expect(run.status == .done)
        #expect(run.out.contains("becalm"))
        #expect(run.out.contains("snapshots"))
        try world.write("script", run.out)
        let checker = "/usr/bin/\(shell)"
        if FileManager.default.isExecutableFile(atPath: checker) {
            let check = try execute(checker, ["-n", world.path("script")], in: world.path)
            #expect(check.status == 0, "\(check.output)")
        }
    }

    @Test("The manual page names every command and every exit code, and groff has nothing to say against it")
    func manual() async throws {
        let world = try World()
        let run = await world.plain(["man"])
        #expect(run.status == .done)
        for command in Self.commands where command != "key" && command != "velero" {
            let name = command.replacing("-", with: "\\-")
            #expect(run.out.contains(".SS \"becalm \(name)\""), "\(command)")
        }
        for code in ["0", "1", "3", "10", "11", "12", "13", "14", "15", "16", "21", "64", "130, 143"] {
            #expect(run.out.contains("\\fB\(code)\\fR"))
        }
        #expect(run.out.contains("\\fB\\-\\-repository\\fR"))
        #expect(run.out.contains("Default: 1d."))
        #expect(!run.out.contains("TimeSpan"))
        let groff = "/usr/bin/groff"
        if FileManager.default.isExecutableFile(atPath: groff) {
            let check = try execute(groff, ["-man", "-ww", "-z"], in: world.path, input: Array(run.out.utf8))
            #expect(check.status == 0)
            #expect(check.output.isEmpty, "\(check.output)")
        }
    }
}
