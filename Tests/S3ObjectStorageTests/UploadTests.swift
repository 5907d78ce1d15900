import Basics
import HTTPTestServer
import HTTPTransport
import ObjectStorage
import ObjectStorageTesting
import S3ObjectStorage
import Testing

@Suite("Uploads of unknown size", .timeLimit(.minutes(15)))
struct UploadTests {
    /// No waiting, a few attempts.
    private static let retrier = Retrier(
        policy: RetryPolicy(maximumAttempts: 3, totalSeconds: 60, baseSeconds: 0, maximumDelaySeconds: 0))

    private static func limits(_ partBytes: Int) -> S3Upload.Limits {
        var limits = S3Upload.Limits()
        limits.partBytes = partBytes
        return limits
    }

    private static let begun =
        "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>"
    private static let completed =
        "<CompleteMultipartUploadResult><ETag>&quot;whole-2&quot;</ETag></CompleteMultipartUploadResult>"

    /// Answers as S3 does, but for what `other` says to a request.
    private static func server(
        _ other: @escaping @Sendable (ScriptedServer.Request) -> [ScriptedServer.Step]? = { _ in nil }
    ) throws -> ScriptedServer {
        try ScriptedServer { request in
            if let steps = other(request) { return steps }
            switch (request.method, request.target.contains("uploads=")) {
            case ("POST", true): return [.answer(200, [], begun)]
            case ("POST", false): return [.answer(200, [], completed)]
            case ("PUT", _): return [.answer(200, [("ETag", "\"p\"")])]
            case ("HEAD", _): return [.answer(404)]
            default: return [.answer(204)]
            }
        }
    }

    private func upload(
        _ server: ScriptedServer, partBytes: Int = 1000, change: (inout S3Configuration) -> Void = { _ in }
    ) throws -> S3Upload {
        try S3Upload(
            FaultTests.store(server, change: change), key: "x", limits: Self.limits(partBytes), retrier: Self.retrier)
    }

    @Test("What fits into a part is one request", arguments: [0, 1, 999, 1000])
    func single(count: Int) async throws {
        let server = try Self.server()
        let upload = try upload(server)
        var random = SeededGenerator(seed: 1)
        let bytes = random.bytes(count)
        for start in stride(from: 0, to: count, by: 300) {
            try await upload.write(Array(bytes[start..<min(start + 300, count)]))
        }
        #expect(server.requests.isEmpty)
        #expect(try await upload.finish().tag == "p")
        #expect(server.requests.map(\.method) == ["PUT"])
        #expect(server.requests[0].body == bytes)
    }

    @Test("More goes in parts, all equal but the last, in order", arguments: [1001, 2000, 4321])
    func parts(count: Int) async throws {
        let server = try Self.server()
        let upload = try upload(server)
        var random = SeededGenerator(seed: 2)
        let bytes = random.bytes(count)
        try await upload.write(bytes)
        #expect(try await upload.finish().tag == "whole-2")
        let parts = server.requests.filter { $0.method == "PUT" }.sorted { $0.target < $1.target }
        #expect(parts.count == (count + 999) / 1000)
        #expect(parts.dropLast().allSatisfy { $0.body.count == 1000 })
        #expect(parts.flatMap(\.body) == bytes)
        let document = String(decoding: server.requests.last?.body ?? [], as: UTF8.self)
        #expect(document.split(separator: "<PartNumber>").count - 1 == parts.count)
    }

    @Test("Parts grow, so that ten thousand of them carry five tebibytes, and those of the first gibibytes are equal")
    func growth() {
        let limits = S3Upload.Limits()
        let sizes = (0..<10).map { UInt64(limits.partBytes) << UInt64($0) }
        #expect(sizes.reduce(0, +) * UInt64(limits.partsOfOneSize) >= 5 << 40)
        #expect(sizes.last.map { $0 <= 5 << 30 } == true, "S3's limit for a part")
        #expect(UInt64(limits.partBytes * limits.partsOfOneSize) > 5 << 30)
    }

    @Test("Parts double after as many as are of one size")
    func doubling() async throws {
        let server = try Self.server()
        var limits = Self.limits(10)
        limits.partsOfOneSize = 2
        let upload = try S3Upload(FaultTests.store(server), key: "x", limits: limits, retrier: Self.retrier)
        try await upload.write([UInt8](repeating: 7, count: 100))
        try await upload.finish()
        let parts = server.requests.filter { $0.method == "PUT" }.sorted { $0.target < $1.target }
        #expect(parts.map(\.body.count) == [10, 10, 20, 20, 40])
    }

    @Test("A part that fails for a while is sent again, alone")
    func retriedPart() async throws {
        let failures = Counter()
        let server = try Self.server { request in
            guard request.target.contains("partNumber=2&"), failures.add() <= 2 else { return nil }
            return [.answer(503, [], FaultTests.document("SlowDown"))]
        }
        let upload = try upload(server)
        try await upload.write([UInt8](repeating: 1, count: 2500))
        try await upload.finish()
        let numbers = server.requests.filter { $0.method == "PUT" }.map { $0.target.contains("partNumber=2&") }
        #expect(numbers.count { $0 } == 3 && numbers.count { !$0 } == 2)
    }

    @Test("A part that fails for good aborts the upload", arguments: [500, 403])
    func failedPart(status: Int) async throws {
        let server = try Self.server { request in
            request.target.contains("partNumber=1&") ? [.answer(status, [], FaultTests.document("Broken"))] : nil
        }
        let upload = try upload(server)
        let error = await FaultTests.failure {
            try await upload.write([UInt8](repeating: 1, count: 1500))
            try await upload.finish()
        }
        #expect(error?.isAmbiguous == false)
        await upload.abandon()
        #expect(server.requests.filter { $0.method == "DELETE" }.map(\.target) == ["/bucket/p/x?uploadId=u1"])
        #expect(!server.requests.contains { $0.method == "POST" && $0.target.contains("uploadId") })
    }

    @Test("A completion whose answer is lost counts when the object is there, whole")
    func lostCompletion() async throws {
        let attempts = Counter()
        let server = try Self.server { request in
            switch request.method {
            case "POST" where request.target.contains("uploadId"):
                return attempts.add() == 1
                    ? [.close] : [.answer(404, [], FaultTests.document("NoSuchUpload"))]
            case "HEAD": return [.send(Array("HTTP/1.1 200 OK\r\nContent-Length: 1500\r\nETag: \"t-2\"\r\n\r\n".utf8))]
            default: return nil
            }
        }
        let upload = try upload(server)
        try await upload.write([UInt8](repeating: 1, count: 1500))
        #expect(try await upload.finish().tag == "t-2")
        #expect(!server.requests.contains { $0.method == "DELETE" })
    }

    @Test("A customer's key goes with the beginning, each part, the completion and each reading")
    func customerKey() async throws {
        let server = try Self.server { request in
            request.method == "GET" ? [.answer(200, [("ETag", "\"t\"")], "abc")] : nil
        }
        let change: (inout S3Configuration) -> Void = {
            $0.customerKey = S3CustomerKey(Array("0123456789abcdef0123456789abcdef".utf8))
        }
        let upload = try upload(server, change: change)
        try await upload.write([UInt8](repeating: 1, count: 1500))
        try await upload.finish()
        let store = try FaultTests.store(server, change: change)
        try await store.put("y", bytes: [1])
        _ = try await store.get("y", maximumBytes: 10)
        _ = await FaultTests.failure { _ = try await store.head("y") }
        for request in server.requests {
            let name = "x-amz-server-side-encryption-customer-"
            #expect(request.headers[name + "algorithm"] == "AES256", "\(request.method) \(request.target)")
            #expect(request.headers[name + "key"] == "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
            #expect(request.headers[name + "key-md5"] == "hRasmdxgYDKV3nvbahU1MA==")
        }
        #expect(server.requests.count == 7)
        try await store.delete("y", ifTag: nil)
        #expect(server.requests.last?.headers["x-amz-server-side-encryption-customer-key"] == nil)
        #expect(S3CustomerKey([1]) == nil)
    }

    @Test("The bucket is asked for its region where it was guessed, once, before anything else")
    func region() async throws {
        let server = try ScriptedServer { request in
            let isThere = request.headers["authorization"]?.contains("/eu-south-2/s3/") == true
            if request.method == "HEAD" { return [.answer(403, [("x-amz-bucket-region", "eu-south-2")])] }
            return isThere ? [.answer(200, [("ETag", "\"t\"")], "abc")] : [.answer(500)]
        }
        let store = try FaultTests.store(server) { $0.guessesRegion = true }
        #expect(store.region == "us-east-1")
        #expect(try await store.get("x", maximumBytes: 10) == Array("abc".utf8))
        #expect(try await store.get("x", maximumBytes: 10) == Array("abc".utf8))
        #expect(server.requests.map(\.method) == ["HEAD", "GET", "GET"])
    }

    @Test("A bucket elsewhere is found by HeadBucket's redirection")
    func redirectedRegion() async throws {
        let server = try ScriptedServer { request in
            guard request.headers["authorization"]?.contains("/eu-south-2/s3/") == true else {
                return [.answer(301, [("x-amz-bucket-region", "eu-south-2")])]
            }
            return [.answer(200, [("x-amz-bucket-region", "eu-south-2")], request.method == "HEAD" ? "" : "abc")]
        }
        let store = try FaultTests.store(server) { $0.guessesRegion = true }
        let url = try await store.presignedURL(.get, "x", seconds: 60)
        #expect(url.contains("%2Feu-south-2%2Fs3%2F"))
        #expect(try await store.get("x", maximumBytes: 10) == Array("abc".utf8))
        #expect(server.requests.map(\.method) == ["HEAD", "GET"])
    }

    struct Address: Sendable, CustomTestStringConvertible {
        var bucket = "bucket"
        var endpoint: String?
        var publicEndpoint: String?
        var usesPathStyle: Bool?
        let url: String
        var testDescription: String { url }
    }

    private static let addresses = [
        Address(url: "https://bucket.s3.eu-west-1.amazonaws.com/a%20b/c?"),
        Address(usesPathStyle: true, url: "https://s3.eu-west-1.amazonaws.com/bucket/a%20b/c?"),
        Address(
            bucket: "my.bucket", usesPathStyle: false, url: "https://s3.eu-west-1.amazonaws.com/my.bucket/a%20b/c?"),
        Address(endpoint: "http://minio:9000", url: "http://minio:9000/bucket/a%20b/c?"),
        Address(endpoint: "http://minio:9000", usesPathStyle: false, url: "http://bucket.minio:9000/a%20b/c?"),
        Address(endpoint: "http://10.0.0.1", usesPathStyle: false, url: "http://10.0.0.1/bucket/a%20b/c?"),
        Address(
            endpoint: "http://minio:9000", publicEndpoint: "https://s3.example.com/x",
            url: "https://s3.example.com/x/bucket/a%20b/c?"),
        Address(publicEndpoint: "https://cdn", usesPathStyle: false, url: "https://bucket.cdn/a%20b/c?"),
        Address(
            bucket: "arn:aws:s3:eu-central-1:123456789012:accesspoint/my-point", usesPathStyle: true,
            url: "https://my-point-123456789012.s3-accesspoint.eu-central-1.amazonaws.com/a%20b/c?"),
    ]

    @Test("Where a bucket's objects are", arguments: addresses)
    func address(address: Address) async throws {
        var configuration = S3Configuration(
            location: try S3Location(bucket: address.bucket),
            endpoint: try address.endpoint.map { try S3Endpoint.parse($0) },
            region: "eu-west-1")
        configuration.publicEndpoint = try address.publicEndpoint.map { try S3Endpoint.parse($0) }
        configuration.usesPathStyle = address.usesPathStyle
        configuration.keyRule = .any
        let store = S3ObjectStore(
            configuration, transport: try CurlTransport(),
            credentials: StaticCredentials(AWSCredentials(accessKeyID: "id", secretAccessKey: "s", sessionToken: "t/+"))
        )
        let url = try await store.presignedURL(.get, "a b/c", seconds: 60)
        #expect(url.hasPrefix(address.url), "\(url)")
        #expect(url.contains("&X-Amz-Security-Token=t%2F%2B&") && url.contains("&X-Amz-SignedHeaders=host&"))
        if address.bucket.hasPrefix("arn:") { #expect(url.contains("%2Feu-central-1%2Fs3%2F")) }
    }

    @Test("Names that others chose are taken as they are, up to S3's limit")
    func anyKey() async throws {
        let server = try ScriptedServer { _ in [.answer(200, [("ETag", "\"t\"")])] }
        let store = try FaultTests.store(server) { $0.keyRule = .any }
        try await store.put("a b/../ü", bytes: [1])
        #expect(server.requests[0].target == "/bucket/p/a%20b/../%C3%BC")
        for key in ["", String(repeating: "x", count: 1023), "a\0"] {
            let error = await FaultTests.failure { try await store.put(key, bytes: [1]) }
            #expect(error?.code == .invalidArgument)
        }
        #expect(server.requests.count == 1)
    }
}
