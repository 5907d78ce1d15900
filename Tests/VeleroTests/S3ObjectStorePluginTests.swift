import Basics
import Foundation
import HTTPTestServer
import HTTPTransport
import Testing
import Velero

@Suite(
    "becalm.io/s3 call by call", .enabled(if: S3Fixture.isAvailable, "needs moto_server on the PATH"),
    .timeLimit(.minutes(10)))
struct S3ObjectStorePluginTests {
    private static func pattern(_ count: Int) -> [UInt8] {
        var state: UInt64 = 0x9e37_79b9_7f4a_7c15
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 8)
        while bytes.count < count {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            withUnsafeBytes(of: state) { bytes += $0 }
        }
        bytes.removeLast(bytes.count - count)
        return bytes
    }

    @Test(
        "What is put comes back, from nothing to several parts and ranges",
        arguments: [0, 1, 16 << 10, (2 << 20) - 1, 2 << 20, 6 << 20, (6 << 20) + 1, (21 << 20) + 17])
    func roundTrip(count: Int) async throws {
        let fixture = try await S3Fixture.shared.value
        let plugin = try await fixture.open()
        let bytes = Self.pattern(count)
        let key = "round/backups/b/\(count).tar.gz"
        try await plugin.put(fixture.bucket, key, bytes)
        #expect(try await plugin.get(fixture.bucket, key) == bytes)
        #expect(try await plugin.exists(bucket: fixture.bucket, key: key))
        #expect(try await fixture.unfinishedUploads(key) == 0)
    }

    @Test("An object appears at the end of its upload, and leaves nothing when it is abandoned")
    func abandon() async throws {
        let fixture = try await S3Fixture.start()
        let plugin = try await fixture.open()
        for count in [100, 20 << 20] {
            let upload = try await plugin.beginUpload(bucket: fixture.bucket, key: "abandoned")
            try await upload.write(Self.pattern(count))
            #expect(try await plugin.exists(bucket: fixture.bucket, key: "abandoned") == false)
            #expect(try await fixture.unfinishedUploads("abandoned") == (count > 6 << 20 ? 1 : 0))
            // In a task that is cancelled, as when Velero hangs up.
            let task = Task { await upload.abandon() }
            task.cancel()
            await task.value
            #expect(try await plugin.exists(bucket: fixture.bucket, key: "abandoned") == false)
            #expect(try await fixture.unfinishedUploads("abandoned") == 0)
        }
    }

    @Test("Keys come with the last first, prefixes with their delimiter, and names are what S3 takes")
    func listing() async throws {
        let fixture = try await S3Fixture.shared.value
        let plugin = try await fixture.open()
        let names = ["a b+c/1", "a b+c/ü&<2>", "backups/x/y", "backups/x2/y", "backups/z"]
        for name in names { try await plugin.put(fixture.bucket, "list ed/\(name)", [1]) }
        let keys = try await plugin.keys(bucket: fixture.bucket, prefix: "list ed/")
        #expect(keys == names.reversed().map { "list ed/\($0)" })
        #expect(
            try await plugin.commonPrefixes(bucket: fixture.bucket, delimiter: "/", prefix: "list ed/")
                == ["list ed/a b+c/", "list ed/backups/"])
        #expect(
            try await plugin.commonPrefixes(bucket: fixture.bucket, delimiter: "/", prefix: "list ed/backups/")
                == ["list ed/backups/x/", "list ed/backups/x2/"])
        #expect(try await plugin.commonPrefixes(bucket: fixture.bucket, delimiter: "", prefix: "list ed/") == [])
        #expect(try await plugin.keys(bucket: fixture.bucket, prefix: "nothing/") == [])
        #expect(try await plugin.get(fixture.bucket, "list ed/a b+c/ü&<2>") == [1])
    }

    @Test("More than a page of keys and prefixes is listed whole")
    func pages() async throws {
        let fixture = try await S3Fixture.start()
        let plugin = try await fixture.open()
        try await withThrowingTaskGroup { group in
            for lane in 0..<8 {
                group.addTask {
                    for number in stride(from: lane, to: 1234, by: 8) {
                        try await fixture.send(.put, "/\(fixture.bucket)/p/\(1000 + number)/x", body: [])
                    }
                }
            }
            try await group.waitForAll()
        }
        let keys = try await plugin.keys(bucket: fixture.bucket, prefix: "p/")
        #expect(keys == (0..<1234).reversed().map { "p/\(1000 + $0)/x" })
        let prefixes = try await plugin.commonPrefixes(bucket: fixture.bucket, delimiter: "/", prefix: "p/")
        #expect(prefixes == (0..<1234).map { "p/\(1000 + $0)/" })
    }

    @Test("What is missing is false, an error that names it, or nothing to delete")
    func missing() async throws {
        let fixture = try await S3Fixture.shared.value
        let plugin = try await fixture.open()
        #expect(try await plugin.exists(bucket: fixture.bucket, key: "backups/none") == false)
        #expect(try await plugin.exists(bucket: "nobucket", key: "backups/none") == false)
        try await plugin.delete(bucket: fixture.bucket, key: "backups/none")
        let object = await veleroError { _ = try await plugin.get(fixture.bucket, "backups/none") }
        #expect(object?.code == .notFound)
        #expect(object?.message.contains("backups/none") == true && object?.message.contains("s3://velero") == true)
        let bucket = await veleroError {
            _ = try await plugin.commonPrefixes(bucket: "nobucket", delimiter: "/", prefix: "")
        }
        #expect(bucket?.code == .notFound && bucket?.message.contains("nobucket") == true)
        let put = await veleroError { try await plugin.put("nobucket", "x", [1]) }
        #expect(put?.code == .notFound)
    }

    @Test("Deleting removes the object alone")
    func deletion() async throws {
        let fixture = try await S3Fixture.shared.value
        let plugin = try await fixture.open()
        for key in ["d/1", "d/10"] { try await plugin.put(fixture.bucket, key, [7]) }
        try await plugin.delete(bucket: fixture.bucket, key: "d/1")
        #expect(try await plugin.keys(bucket: fixture.bucket, prefix: "d/") == ["d/10"])
    }

    @Test("A signed address gives the object to a plain client, and names the public endpoint")
    func signedURL() async throws {
        let fixture = try await S3Fixture.shared.value
        let plugin = try await fixture.open()
        try await plugin.put(fixture.bucket, "sig ned/x+y", [1, 2, 3])
        let url = try await plugin.signedURL(bucket: fixture.bucket, key: "sig ned/x+y", seconds: 600)
        #expect(url.hasPrefix("\(fixture.url)/velero/sig%20ned/x%2By?X-Amz-Algorithm=AWS4-HMAC-SHA256&"))
        #expect(url.contains("X-Amz-Expires=600&") && url.contains("AKIDEXAMPLE%2F"))
        let (response, body) = try await CurlTransport().perform(HTTPRequest(.get, url), maximumBytes: 100)
        #expect(response.status == 200 && body == [1, 2, 3])
        let elsewhere = try await fixture.open(["publicUrl": "https://s3.example.com:8443/base"])
        let other = try await elsewhere.signedURL(bucket: fixture.bucket, key: "k", seconds: 60)
        #expect(other.hasPrefix("https://s3.example.com:8443/base/velero/k?"))
        #expect(try await elsewhere.get(fixture.bucket, "sig ned/x+y") == [1, 2, 3], "only addresses are others'")
        for seconds in [0, -1, 604_801] {
            let error = await veleroError {
                _ = try await plugin.signedURL(bucket: fixture.bucket, key: "k", seconds: seconds)
            }
            #expect(error?.code == .invalidArgument)
        }
    }

    @Test("An object that is replaced while it is read is an error, not a mixture")
    func replaced() async throws {
        let fixture = try await S3Fixture.shared.value
        let plugin = try await fixture.open()
        let count = 40 << 20
        try await plugin.put(fixture.bucket, "replaced", Self.pattern(count))
        let download = try await plugin.beginDownload(bucket: fixture.bucket, key: "replaced")
        _ = try await download.next()
        try await plugin.put(fixture.bucket, "replaced", Self.pattern(count).reversed())
        let error = await veleroError { while try await download.next() != nil {} }
        #expect(error?.message.contains("replaced while it was being read") == true)
    }

    @Test("Streams, lists and deletions go on at once")
    func atOnce() async throws {
        let fixture = try await S3Fixture.shared.value
        let plugin = try await fixture.open()
        let bytes = Self.pattern(9 << 20)
        try await withThrowingTaskGroup { group in
            for number in 0..<6 {
                group.addTask {
                    let key = "at-once/\(number)"
                    try await plugin.put(fixture.bucket, key, bytes)
                    let found = try await plugin.get(fixture.bucket, key)
                    #expect(found == bytes)
                    _ = try await plugin.keys(bucket: fixture.bucket, prefix: "at-once/")
                    try await plugin.delete(bucket: fixture.bucket, key: key)
                }
            }
            try await group.waitForAll()
        }
        #expect(try await plugin.keys(bucket: fixture.bucket, prefix: "at-once/") == [])
    }

    @Test("Opening speaks to no server, and says at once which file is missing")
    func opening() async throws {
        let server = try ScriptedServer { _ in [.answer(500)] }
        let config = ["bucket": "b", "s3Url": server.url]
        _ = try await S3ObjectStorePlugin.open(config: config, environment: S3Fixture.environment())
        #expect(server.requests.isEmpty)
        for (key, path) in [("credentialsFile", "/none/credentials"), ("customerKeyEncryptionFile", "/none/key")] {
            let error = await veleroError {
                _ = try await S3ObjectStorePlugin.open(
                    config: config.merging([key: path]) { $1 }, environment: S3Fixture.environment())
            }
            #expect(error?.code == .invalidArgument)
            #expect(error?.message.contains("\(path) does not exist") == true)
        }
        let missing = await veleroError {
            _ = try await S3ObjectStorePlugin.open(
                config: config.merging(["profile": "p"]) { $1 }, environment: S3Fixture.environment(["HOME": "/none"]))
        }
        #expect(missing?.code == .accessDenied && missing?.message.contains("no profile p") == true)
    }
}
