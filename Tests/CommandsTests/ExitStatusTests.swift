import Commands
import Foundation
import ObjectStorage
import ObjectStorageTesting
import Orchestration
import Repository
import RepositoryFormat
import Sealing
import Snapshots
import Testing

@Suite("Exit statuses")
struct ExitStatusTests {
    @Test("No repository: nothing there, an empty directory, a file, and nothing named")
    func noRepository() async throws {
        let world = try World()
        let missing = await world.run("snapshots", "--json")
        #expect(missing.status == .noRepository)
        let error = try #require(
            try JSONSerialization.jsonObject(with: Data(missing.err.utf8)) as? [String: any Sendable])
        #expect(error["type"] as? String == "error")
        #expect(error["code"] as? Int == 10)
        #expect(error["kind"] as? String == "no_repository")
        #expect((error["message"] as? String)?.contains("repository") == true)
        #expect(missing.out.isEmpty)
        try world.write("empty/.keep", "")
        try FileManager.default.removeItem(atPath: world.path("empty/.keep"))
        #expect(await world.run("snapshots", "--repository", "empty").status == .noRepository)
        #expect(await world.run("backup", "key", "--repository", "empty").status == .noRepository)
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: world.path("empty")).allSatisfy { $0.hasSuffix("~") })
        #expect(await world.run("snapshots", "--repository", "key").status == .noRepository)
        #expect(await world.run("snapshots", environment: ["BECALM_REPOSITORY": ""]).status == .usage)
        #expect(await world.run("init", "--repository", "no/such/parent").status == .noRepository)
    }

    @Test("A second init of the same place fails and changes nothing")
    func alreadyThere() async throws {
        let world = try World()
        try await world.prepare()
        let again = await world.run("init", "--json")
        #expect(again.status == .failed)
        #expect(again.err.contains("already_exists"))
        #expect(await world.run("restore", "latest", "--target", "out").status == .done)
    }

    @Test("Another key is told as such, on one line")
    func wrongKey() async throws {
        let world = try World()
        try await world.prepare()
        try world.write("other", Array(50..<90))
        let run = await world.plain(["snapshots", "--key-file", "other"])
        #expect(run.status == .wrongKey)
        #expect(run.err.split(separator: "\n").count == 1)
        #expect(run.err.hasPrefix("becalm: "))
    }

    @Test(
        "What makes no sense is usage",
        arguments: [
            ["bogus"], ["backup"], ["snapshots", "--bogus"], ["restore", "latest"],
            ["backup", "x", "--memory", "much"],
            ["backup", "x", "--memory", "1M"], ["backup", "x", "--compression", "99"], ["forget"],
            ["forget", "abc", "--keep-last", "1"], ["verify", "--budget", "5m"], ["verify", "--depth", "deep"],
            ["manifest", "latest", "--sign", "x"], ["prune", "--max-unused", "200"],
            ["snapshots", "--quiet", "--verbose"], ["key", "add", "--recipient", "nonsense"],
            ["snapshots", "--repository", "ftp://host/x"], ["snapshots", "--repository", "sftp:host/x"],
            ["snapshots", "--repository", "s3:/bucket"], ["init", "--repository", "nas:backups"],
            ["key", "remove", "5be"], ["forget", "5be"], ["--json", "snapshots"],
            ["snapshots", "--endpoint", "http://localhost"],
            ["snapshots", "--connections", "0"], ["init", "--grace", "1s"], ["snapshots", "--repository", "s3://"],
        ])
    func usage(arguments: [String]) async throws {
        let world = try World()
        let run = await world.plain(
            arguments + (arguments.contains("--key-file") ? [] : ["--key-file", world.path("key")]))
        #expect(run.status == .usage, "\(run.err)")
        #expect(!run.err.isEmpty)
        #expect(run.out.isEmpty)
        let json = await world.plain(arguments + ["--json"])
        #expect(json.status == .usage)
        let error = try #require(try JSONSerialization.jsonObject(with: Data(json.err.utf8)) as? [String: any Sendable])
        #expect(error["code"] as? Int == 64)
    }

    @Test("Unreadable sources make a backup partial, and name them")
    func partial() async throws {
        let world = try World()
        try await world.prepare()
        let run = await world.run("backup", "source", "missing", "--json")
        #expect(run.status == .partial, "\(run.out) \(run.err)")
        let problem = try #require(try run.objects().first { $0["type"] as? String == "problem" })
        #expect((problem["path"] as? String)?.hasSuffix("missing") == true)
        #expect(await world.run("backup", "missing").status == .failed)
    }

    @Test(
        "Damage is found by verify and by restore, which restores the rest", arguments: ["data", "tree", "snapshots"])
    func damaged(kind: String) async throws {
        let world = try World()
        try await world.prepare()
        let root = URL(fileURLWithPath: world.path("repository/\(kind)"))
        let names = try FileManager.default.subpathsOfDirectory(atPath: root.path)
        for name in names {
            let file = root.appendingPathComponent(name)
            guard try file.resourceValues(forKeys: [.isRegularFileKey]).isRegularFile == true else { continue }
            var bytes = [UInt8](try Data(contentsOf: file))
            bytes[bytes.count / 2] ^= 0x40
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: file.path)
            try Data(bytes).write(to: file)
        }
        let verify = await world.run("verify", "--depth", "full", "--json")
        #expect(verify.status == .integrity, "\(verify.out) \(verify.err)")
        let problem = try #require(try verify.objects().first { $0["harmless"] as? Bool == false })
        #expect((problem["object"] as? String)?.hasPrefix(kind) == true)
        #expect(Set(problem.keys).isSuperset(of: ["object", "kind", "message", "snapshots", "files"]))
        let restore = await world.run("restore", "latest", "--target", "out")
        #expect(restore.status == .integrity, "\(restore.err)")
        if kind == "snapshots" { #expect(await world.run("snapshots").status == .integrity) }
    }

    @Test("A store without credentials, and one that cannot be reached")
    func storage() async throws {
        let world = try World()
        let none = await world.run(
            "snapshots", "--repository", "s3://bucket/prefix", "--endpoint", "http://127.0.0.1:9", "--json",
            environment: ["AWS_EC2_METADATA_DISABLED": "true"])
        #expect(none.status == .credentialsRefused, "\(none.err)")
        let keys = ["AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI-very-secret"]
        let unreachable = await world.run(
            "snapshots", "--repository", "s3://bucket/prefix", "--endpoint", "http://127.0.0.1:9", "--quiet",
            environment: keys)
        #expect(unreachable.status == .storageUnreachable, "\(unreachable.err)")
        #expect(!unreachable.err.contains("very-secret"))
    }

    @Test("A backup of what holds the repository, or lies in it, is refused unless it is left out")
    func repositoryInSource() async throws {
        let world = try World()
        try await world.prepare()
        let holds = await world.run("backup", ".")
        #expect(holds.status == .usage)
        let name = URL(fileURLWithPath: world.path).lastPathComponent
        #expect(holds.err.contains("--exclude '/\(name)/repository'"))
        #expect(await world.run("backup", "repository/data").status == .usage)
        #expect(await world.run("backup", "repository").status == .usage)
        let without = await world.run("backup", ".", "--exclude", "/\(name)/repository", "--exclude", "cache")
        #expect(without.status == .done, "\(without.err)")
        let listing = await world.run("show", "latest", name)
        #expect(!listing.out.contains("/repository"))
        #expect(listing.out.contains("/source"))
    }

    /// An error and what it must become.
    struct Mapping: Sendable, CustomTestStringConvertible {
        var error: any Error
        var status: ExitStatus
        var kind: String
        var testDescription: String { "\(kind) \(status.rawValue)" }

        init(_ error: any Error, _ status: ExitStatus, _ kind: String) {
            self.error = error
            self.status = status
            self.kind = kind
        }

        static func store(_ code: ObjectStorageError.Code, _ status: ExitStatus, _ kind: String) -> Mapping {
            Mapping(RepositoryError(ObjectStorageError(code, "message"), doing: "reading"), status, kind)
        }
    }

    static let mappings: [Mapping] = [
        .store(.accessDenied, .credentialsRefused, "access_denied"),
        .store(.expiredCredentials, .credentialsRefused, "expired_credentials"),
        .store(.unreachable, .storageUnreachable, "unreachable"),
        .store(.timedOut, .storageUnreachable, "timed_out"),
        .store(.unavailable, .storageUnreachable, "unavailable"),
        .store(.throttled, .storageUnreachable, "throttled"), .store(.noSpace, .noSpace, "no_space"),
        .store(.noSuchBucket, .noRepository, "no_such_bucket"), .store(.corrupted, .integrity, "corrupted"),
        .store(.notFound, .integrity, "object_missing"), .store(.conflict, .busy, "conflict"),
        .store(.locked, .failed, "locked"), .store(.cancelled, .interrupted, "cancelled"),
        .store(.failed, .failed, "storage_failed"),
        Mapping(RepositoryError(.busy, "m"), .busy, "busy"),
        Mapping(RepositoryError(.collectedMeanwhile, "m"), .busy, "collected_meanwhile"),
        Mapping(RepositoryError(.wrongKey, "m"), .wrongKey, "wrong_key"),
        Mapping(RepositoryError(.damaged, "m"), .integrity, "damaged"),
        Mapping(RepositoryError(.newerVersion, "m"), .failed, "newer_version"),
        Mapping(RepositoryError(.noRepository, "m"), .noRepository, "no_repository"),
        Mapping(RepositoryError(.invalidArgument, "m"), .usage, "invalid_argument"),
        Mapping(RepositoryError(.noSuchName, "m"), .usage, "not_found"),
        Mapping(RepositoryError(.ambiguous, "m"), .usage, "ambiguous"),
        Mapping(RepositoryError(.notFound, "m"), .integrity, "chunk_missing"),
        Mapping(RepositoryError(SnapshotError(.noSpace, "m")), .noSpace, "no_space"),
        Mapping(FormatError(.damaged, "m"), .integrity, "damaged"),
        Mapping(FormatError(.wrongKey, "m"), .wrongKey, "wrong_key"),
        Mapping(SnapshotError(.noSpace, "m"), .noSpace, "no_space"),
        Mapping(SnapshotError(.targetNotEmpty, "m"), .failed, "target_exists"),
        Mapping(SealingError(.invalidKey, "m"), .usage, "invalid_key"),
        Mapping(CancellationError(), .interrupted, "cancelled"),
    ]

    @Test("Each error of each layer has its status", arguments: mappings)
    func mapping(row: Mapping) {
        let error = JourneyError(row.error)
        #expect(error.status == row.status)
        #expect(error.kind == row.kind)
        #expect(!error.message.isEmpty)
    }
}
