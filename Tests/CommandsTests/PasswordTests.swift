import Commands
import Foundation
import ObjectStorageTesting
import Orchestration
import Testing

@Suite("Where passwords come from")
struct PasswordTests {
    private static let secret = "correct horse battery"

    /// A repository that the secret opens.
    private func prepared() async throws -> World {
        let world = try World()
        let run = await world.plain(["init"], ["BECALM_PASSWORD": Self.secret])
        try #require(run.status == .done, "\(run.err)")
        try world.write("with-newline", Self.secret + "\n")
        try world.write("with-crlf", Self.secret + "\r\n")
        try world.write("without", Self.secret)
        try world.write("wrong", "guess\n")
        return world
    }

    @Test("Each source opens the repository, the newline at its end cut")
    func sources() async throws {
        let world = try await prepared()
        for file in ["with-newline", "with-crlf", "without"] {
            #expect(await world.plain(["key", "list", "--password-file", file]).status == .done, "\(file)")
        }
        let environments = [
            ["BECALM_PASSWORD": Self.secret], ["BECALM_PASSWORD_FILE": world.path("with-newline")],
            ["BECALM_PASSWORD_COMMAND": "cat '\(world.path("with-newline"))'"],
        ]
        for environment in environments {
            let run = await world.plain(["key", "list"], environment)
            #expect(run.status == .done, "\(environment.keys) \(run.err)")
        }
    }

    @Test("Options come before variables, and the variable before the file and the command")
    func precedence() async throws {
        let world = try await prepared()
        let wrong = world.path("wrong")
        let file = await world.plain(["key", "list", "--password-file", "without"], ["BECALM_PASSWORD": "guess"])
        #expect(file.status == .done)
        let variable = await world.plain(
            ["key", "list"], ["BECALM_PASSWORD": Self.secret, "BECALM_PASSWORD_FILE": wrong])
        #expect(variable.status == .done)
        let command = await world.plain(
            ["key", "list"], ["BECALM_PASSWORD_FILE": wrong, "BECALM_PASSWORD_COMMAND": "echo '\(Self.secret)'"])
        #expect(command.status == .wrongKey)
    }

    @Test("What is wrong with a source is told without telling the secret or the command")
    func failures() async throws {
        let world = try await prepared()
        let cases: [([String], [String: String], ExitStatus)] = [
            (["--password-file", "nowhere"], [:], .usage), ([], ["BECALM_PASSWORD_FILE": "/nowhere"], .usage),
            ([], ["BECALM_PASSWORD_COMMAND": "echo '\(Self.secret)'; exit 7"], .failed),
            ([], ["BECALM_PASSWORD_COMMAND": "true"], .usage),
            ([], ["BECALM_PASSWORD_COMMAND": "kill -9 $$ # '\(Self.secret)'"], .failed),
            ([], ["BECALM_PASSWORD_COMMAND": "head -c 100000 /dev/zero"], .failed),
            (["--key-file", "without"], [:], .usage), (["--identity", "without"], [:], .usage),
            (["--key-file", "key", "--password-file", "without"], [:], .usage),
        ]
        for (arguments, environment, status) in cases {
            let run = await world.plain(["snapshots"] + arguments, environment)
            #expect(run.status == status, "\(arguments) \(environment.keys) \(run.err)")
            #expect(!run.err.contains(Self.secret))
            #expect(!run.out.contains(Self.secret))
            #expect(run.err.count < 400)
        }
    }

    @Test("No output holds the password, at the highest verbosity, right or wrong")
    func silence() async throws {
        let world = try await prepared()
        try world.write("source/x", "x")
        let environment = ["BECALM_PASSWORD": Self.secret]
        for arguments in [["backup", "source"], ["snapshots"], ["doctor"], ["key", "list"], ["verify"]] {
            for form in [[], ["--json"]] {
                let run = await world.plain(arguments + form + ["-vv"], environment)
                #expect(run.status == .done, "\(run.err)")
                #expect(!(run.out + run.err).contains(Self.secret))
                #expect(!(run.out + run.err).contains("battery"))
            }
        }
        let wrong = await world.plain(["snapshots", "-vv"], ["BECALM_PASSWORD": "a wrong battery"])
        #expect(wrong.status == .wrongKey)
        #expect(!wrong.err.contains("battery"))
    }

    @Test("A new password replaces the old one")
    func passwd() async throws {
        let world = try await prepared()
        let changed = await world.plain(
            ["key", "passwd"], ["BECALM_PASSWORD": Self.secret, "BECALM_NEW_PASSWORD_COMMAND": "echo next"])
        #expect(changed.status == .done, "\(changed.err)")
        #expect(await world.plain(["key", "list"], ["BECALM_PASSWORD": Self.secret]).status == .wrongKey)
        #expect(await world.plain(["key", "list"], ["BECALM_PASSWORD": "next"]).status == .done)
    }
}
