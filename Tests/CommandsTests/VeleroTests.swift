import Foundation
import HTTPTestServer
import HTTPTransport
import Logging
import ObjectStorageTesting
import Orchestration
import Testing
import Velero

/// A location that `becalm.io/s3` has written to, on moto, and commands that read it.
@Suite(
    "Reading Velero's location",
    .enabled(if: ServerProcess.find("moto_server") != nil, "needs moto_server on the PATH"),
    .timeLimit(.minutes(10)))
struct VeleroTests {
    private static let keyText = "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=\n"
    private static let record = """
        {"kind":"Backup","status":{"phase":"PartiallyFailed","startTimestamp":"2026-08-01T02:00:00Z",\
        "expiration":"2026-08-31T02:00:00Z","errors":2,"warnings":5,"progress":{"itemsBackedUp":321}}}
        """

    private struct Site {
        let server: ServerProcess
        let world: World

        var url: String { "http://127.0.0.1:\(server.port)" }

        static func start() async throws -> Site {
            let server = try await ServerProcess.start("moto_server") { port, _ in
                ["-H", "127.0.0.1", "-p", String(port)]
            }
            let site = Site(
                server: server,
                world: try World([
                    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:\(server.port)", "AWS_ACCESS_KEY_ID": "id",
                    "AWS_SECRET_ACCESS_KEY": "secret",
                ]))
            _ = try await CurlTransport().perform(
                HTTPRequest(.put, site.url + "/backups", body: HTTPBody([UInt8]())), maximumBytes: 1 << 20)
            try site.world.write("velero.key", keyText)
            return site
        }

        /// The object as it lies in the bucket.
        func raw(_ name: String) async throws -> [UInt8] {
            let url = try await open(key: nil).signedURL(bucket: "backups", key: "prod/\(name)", seconds: 60)
            return try await CurlTransport().perform(HTTPRequest(.get, url), maximumBytes: 1 << 20).body
        }

        func open(key: String?) async throws -> S3ObjectStorePlugin {
            var config = ["bucket": "backups", "prefix": "prod", "s3Url": url, "s3ForcePathStyle": "true"]
            if let key { config["encryptionKeyFile"] = world.path(key) }
            let environment = PluginEnvironment(
                variables: world.environment, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            return try await S3ObjectStorePlugin.open(config: config, environment: environment)
        }

        /// Stores as Velero does, through the plugin; `key` is a file's name in the world.
        func store(_ objects: [String: [UInt8]], key: String?) async throws {
            let plugin = try await open(key: key)
            for (name, bytes) in objects {
                let upload = try await plugin.beginUpload(bucket: "backups", key: "prod/\(name)")
                try await upload.write(bytes)
                try await upload.finish()
            }
        }

        func run(_ words: String..., keys: [String] = ["velero.key"], at location: String = "s3://backups/prod") async
            -> Run
        {
            let options = keys.flatMap { ["--encryption-key-file", world.path($0)] }
            return await world.plain(["velero"] + words + ["--location", location] + options)
        }
    }

    @Test("Backups are listed with what their records say, encrypted or not")
    func list() async throws {
        let site = try await Site.start()
        try await site.store(["backups/plain/velero-backup.json": Array(Self.record.utf8)], key: nil)
        // Encryption may begin with any backup.
        try await site.store(
            ["backups/night/velero-backup.json": Array(Self.record.utf8), "backups/night/night-logs.gz": [1, 2]],
            key: "velero.key")
        let run = await site.run("list")
        #expect(run.status == .done && run.err.isEmpty, "\(run.err)")
        let lines = run.out.split(separator: "\n").map(String.init)
        #expect(lines.count == 3)
        #expect(
            lines[1].hasPrefix("night  PartiallyFailed  2026-08-01T02:00:00Z  2026-08-31T02:00:00Z       2         5"))
        #expect(lines[1].contains("  key ") && lines[2].hasSuffix("  no"))
        let json = try await site.run("list", "--json").objects()
        #expect(json.count == 3 && json[0]["name"] as? String == "night" && json[0]["items"] as? Int == 321)
        #expect(json[0]["encrypted"] as? Bool == true && json[1]["encrypted"] as? Bool == false)
        let objects = await site.run("list", "night")
        #expect(objects.out.contains("backups/night/night-logs.gz") && objects.out.contains("velero-backup.json"))
    }

    @Test("Without the key, the list names the key that is missing and ends with 12")
    func wrongKey() async throws {
        let site = try await Site.start()
        try await site.store(["backups/night/velero-backup.json": Array(Self.record.utf8)], key: "velero.key")
        try site.world.write("other.key", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
        let id = try ObjectEncryptionKey(Array(Self.keyText.utf8), source: "").id
        for keys in [[], ["other.key"]] {
            let list = await site.run("list", keys: keys)
            #expect(list.status == .wrongKey)
            #expect(
                list.out.contains("night  ?") && list.err.contains(id) && list.err.contains("--encryption-key-file"))
            let get = await site.run("get", "night", "--target", site.world.path("out"), keys: keys)
            #expect(get.status == .wrongKey && get.err.contains(id))
            #expect(!FileManager.default.fileExists(atPath: site.world.path("out/night/velero-backup.json")))
            let cat = await site.run("cat", "backups/night/velero-backup.json", keys: keys)
            #expect(cat.status == .wrongKey && cat.out.isEmpty)
        }
        let both = await site.run("cat", "backups/night/velero-backup.json", keys: ["other.key", "velero.key"])
        #expect(both.status == .done && both.out == Self.record)
    }

    @Test("A backup is fetched whole, and no file is replaced")
    func get() async throws {
        let site = try await Site.start()
        let archive = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 7 >> 2) }
        try await site.store(
            ["backups/night/velero-backup.json": Array(Self.record.utf8), "backups/night/night.tar.gz": archive],
            key: "velero.key")
        let target = site.world.path("out")
        let run = await site.run("get", "night", "--target", target)
        #expect(run.status == .done, "\(run.err)")
        let names = try FileManager.default.contentsOfDirectory(atPath: "\(target)/night").sorted()
        #expect(names == ["night.tar.gz", "velero-backup.json"])
        #expect(try Array(Data(contentsOf: URL(fileURLWithPath: "\(target)/night/night.tar.gz"))) == archive)
        let again = await site.run("get", "night", "--target", target)
        #expect(again.status == .failed && again.err.contains("exists already"))
        let none = await site.run("get", "nothing", "--target", target)
        #expect(none.status == .usage && none.err.contains("there is no backup \"nothing\""))
    }

    @Test(
        "A changed object ends with 13, a plain one among encrypted ones is refused, and a copy in a directory reads alike"
    )
    func damage() async throws {
        let site = try await Site.start()
        try await site.store(["backups/night/night-logs.gz": [1, 2, 3]], key: nil)
        try await site.store(["backups/night/velero-backup.json": Array(Self.record.utf8)], key: "velero.key")
        let sealed = try await site.raw("backups/night/velero-backup.json")
        try site.world.write("copy/backups/night/velero-backup.json", sealed)
        let copy = await site.run("cat", "backups/night/velero-backup.json", at: site.world.path("copy"))
        #expect(copy.status == .done && copy.out == Self.record, "\(copy.err)")
        try site.world.write(
            "copy/backups/night/velero-backup.json", sealed.dropLast() + [sealed[sealed.count - 1] ^ 1])
        let changed = await site.run("cat", "backups/night/velero-backup.json", at: site.world.path("copy"))
        #expect(changed.status == .integrity && changed.out.isEmpty)
        #expect(await site.run("list", at: site.world.path("copy")).status == .integrity)
        let plain = await site.run("cat", "backups/night/night-logs.gz")
        #expect(plain.status == .integrity && plain.err.contains("--allow-unencrypted"))
        #expect(await site.run("cat", "backups/night/night-logs.gz", "--allow-unencrypted").out == "\u{1}\u{2}\u{3}")
    }

    @Test("Nothing is stored in an encrypted location without its key, or with another, and Velero is told")
    func keyCheck() async throws {
        let site = try await Site.start()
        try await site.store(["backups/night/velero-backup.json": Array(Self.record.utf8)], key: "velero.key")
        try site.world.write("other.key", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
        let id = try ObjectEncryptionKey(Array(Self.keyText.utf8), source: "").id
        for key in [nil, "other.key"] {
            let plugin = try await site.open(key: key)
            for _ in 0..<2 {
                let list = await #expect(throws: VeleroError.self) {
                    _ = try await plugin.commonPrefixes(bucket: "backups", delimiter: "/", prefix: "prod/")
                }
                #expect(list?.code == .accessDenied && list?.message.contains(id) == true)
                await #expect(throws: VeleroError.self) {
                    _ = try await plugin.beginUpload(bucket: "backups", key: "prod/backups/next/velero-backup.json")
                }
            }
        }
        let right = try await site.open(key: "velero.key")
        #expect(try await right.commonPrefixes(bucket: "backups", delimiter: "/", prefix: "prod/") == ["prod/backups/"])
        #expect(try await right.keys(bucket: "backups", prefix: "prod/").count == 1)
    }

    @Test("Keys and places that make no sense are usage errors")
    func usage() async throws {
        let world = try World()
        try world.write("weak", "password")
        for (words, says) in [
            (["list", "--location", "s3://b", "--encryption-key-file", world.path("weak")], "openssl rand -base64 32"),
            (["list", "--location", "s3://b", "--encryption-key-file", world.path("none")], "cannot read the key"),
            (["list", "--location", "ftp://b"], "'ftp:' begins no place"), (["list"], "--location"),
            (["cat", "x", "--location", "/tmp", "--json"], "leave '--json' out"),
        ] {
            let run = await world.plain(["velero"] + words)
            #expect(run.status == .usage && run.err.contains(says), "\(run.err)")
        }
    }
}
