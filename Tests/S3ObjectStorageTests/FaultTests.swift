import Basics
import HTTPTestServer
import HTTPTransport
import ObjectStorage
import ObjectStorageTesting
import S3ObjectStorage
import Testing

/// The store against a server that misbehaves as the test says.
@Suite("S3 servers in trouble", .timeLimit(.minutes(15)))
struct FaultTests {
    private static let keys = AWSCredentials(accessKeyID: "AKIDEXAMPLE", secretAccessKey: "s3cr3t")

    static func store(
        _ server: ScriptedServer, credentials: (any CredentialProvider)? = nil,
        clock: any WallClock = SystemWallClock(),
        capabilities: StoreCapabilities = S3ObjectStore.amazonCapabilities,
        change: (inout S3Configuration) -> Void = { _ in }
    ) throws -> S3ObjectStore {
        var configuration = S3Configuration(
            location: try S3Location(bucket: "bucket", prefix: "p"), endpoint: try S3Endpoint.parse(server.url))
        configuration.stallSeconds = 1
        change(&configuration)
        return S3ObjectStore(
            configuration, transport: try CurlTransport(configuration.transport),
            credentials: credentials ?? StaticCredentials(keys), capabilities: capabilities, clock: clock)
    }

    static func failure(_ body: () async throws -> Void) async -> ObjectStorageError? {
        do {
            try await body()
            return nil
        } catch {
            return error as? ObjectStorageError
        }
    }

    static func document(_ code: String, _ message: String = "words", more: String = "") -> String {
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>\(code)</Code><Message>\(message)</Message>\(more)</Error>"
    }

    struct Refusal: Sendable, CustomTestStringConvertible {
        let status: Int
        let code: String
        let expected: ObjectStorageError.Code
        var message = "words"
        var testDescription: String { "\(status) \(code) \(message)" }
    }

    private static let refusals = [
        Refusal(status: 404, code: "NoSuchKey", expected: .notFound),
        Refusal(status: 404, code: "NoSuchBucket", expected: .noSuchBucket),
        Refusal(status: 403, code: "AccessDenied", expected: .accessDenied),
        Refusal(status: 403, code: "SignatureDoesNotMatch", expected: .accessDenied),
        Refusal(status: 403, code: "InvalidAccessKeyId", expected: .accessDenied),
        Refusal(status: 400, code: "ExpiredToken", expected: .expiredCredentials),
        Refusal(status: 403, code: "RequestTimeTooSkewed", expected: .failed),
        Refusal(status: 409, code: "ConditionalRequestConflict", expected: .conflict),
        Refusal(status: 412, code: "PreconditionFailed", expected: .preconditionFailed),
        Refusal(status: 503, code: "SlowDown", expected: .throttled),
        Refusal(status: 503, code: "ServiceUnavailable", expected: .throttled),
        Refusal(status: 429, code: "TooManyRequests", expected: .throttled),
        Refusal(status: 500, code: "InternalError", expected: .unavailable),
        Refusal(status: 502, code: "", expected: .unavailable),
        Refusal(status: 507, code: "", expected: .noSpace),
        Refusal(status: 403, code: "QuotaExceeded", expected: .noSpace),
        Refusal(status: 400, code: "BadDigest", expected: .corrupted),
        Refusal(status: 400, code: "RequestTimeout", expected: .timedOut),
        Refusal(status: 400, code: "EntityTooLarge", expected: .tooLarge),
        Refusal(status: 501, code: "NotImplemented", expected: .unsupported),
        Refusal(status: 403, code: "AccessDenied", expected: .locked, message: "Object is WORM protected"),
        Refusal(status: 400, code: "InvalidArgument", expected: .failed),
    ]

    @Test("A refusal of a put becomes the right error, on one line, with all that helps", arguments: refusals)
    func refusal(refusal: Refusal) async throws {
        let text =
            refusal.code.isEmpty ? "<html>oops</html>" : Self.document(refusal.code, "\(refusal.message)\nof  it")
        let server = try ScriptedServer { _ in [.answer(refusal.status, [], text)] }
        let error = await Self.failure { try await Self.store(server).put("data/x", bytes: [1, 2, 3]) }
        #expect(error?.code == refusal.expected)
        let message = error?.message ?? ""
        #expect(
            message.hasPrefix(
                "cannot store data/x in s3://bucket/p: the server answers \(refusal.code.isEmpty ? "HTTP" : refusal.code)"
            ))
        #expect(message.contains("\(refusal.status)") && !message.contains("\n") && !message.contains("s3cr3t"))
        #expect(refusal.code.isEmpty || message.contains("\(refusal.message) of it"))
        #expect(error?.isAmbiguous == [500, 502].contains(refusal.status))
        #expect(server.requests.count == 1, "the store itself does not retry")
    }

    @Test("Retry-After is passed on, as seconds and as a date")
    func retryAfter() async throws {
        let server = try ScriptedServer { request in
            let value = request.number == 0 ? "7" : "Sun, 06 Nov 1994 08:50:37 GMT"
            return [
                .answer(
                    503, [("Retry-After", value), ("Date", "Sun, 06 Nov 1994 08:49:37 GMT")], Self.document("SlowDown"))
            ]
        }
        let store = try Self.store(server)
        for seconds in [7.0, 60] {
            let error = await Self.failure { _ = try await store.get("x", maximumBytes: 10) }
            #expect(error?.code == .throttled)
            #expect(error?.retryAfterSeconds == seconds)
        }
    }

    @Test("A wrong clock is put right by the server's, once and for all")
    func clockSkew() async throws {
        let serverTime = Timestamp(seconds: 1_700_000_000)
        let date = "Tue, 14 Nov 2023 22:13:20 GMT"
        let server = try ScriptedServer { request in
            request.headers["x-amz-date"] == CalendarTime(serverTime).compactText
                ? [.answer(200, [("Date", date), ("ETag", "\"t\"")])]
                : [
                    .answer(
                        403, [("Date", date)], request.method == "HEAD" ? "" : Self.document("RequestTimeTooSkewed"))
                ]
        }
        let store = try Self.store(server, clock: ManualWallClock(serverTime.advanced(bySeconds: 4000)))
        _ = try await store.put("x", bytes: [1])
        #expect(server.requests.count == 2)
        _ = try await store.put("x", bytes: [1])
        #expect(server.requests.count == 3)
        let other = try Self.store(server, clock: ManualWallClock(serverTime.advanced(bySeconds: -4000)))
        let receipt = try await other.put("y", bytes: [1])
        #expect(receipt.date == serverTime)
    }

    @Test(
        "A bucket elsewhere is followed once and remembered",
        arguments: [
            (301, "PermanentRedirect", true), (307, "TemporaryRedirect", true),
            (400, "AuthorizationHeaderMalformed", false), (400, "", true),
        ])
    func region(status: Int, code: String, inHeader: Bool) async throws {
        let server = try ScriptedServer { request in
            if (request.headers["authorization"] ?? "").contains("/eu-west-3/") {
                return [
                    .answer(
                        200,
                        [
                            ("ETag", "\"t\""), ("Content-Length", "1"),
                            ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
                        ], request.method == "HEAD" ? "" : "1")
                ]
            }
            let headers = inHeader ? [("x-amz-bucket-region", "eu-west-3")] : []
            let text = code.isEmpty ? "" : Self.document(code, more: inHeader ? "" : "<Region>eu-west-3</Region>")
            return [.answer(status, headers, text)]
        }
        let store = try Self.store(server)
        #expect(try await store.get("x", maximumBytes: 10) == [0x31])
        #expect(try await store.get("x", maximumBytes: 10) == [0x31])
        #expect(server.requests.count == 3)
        #expect(store.region == "eu-west-3")
    }

    @Test("A server that sends from region to region is not followed for ever")
    func regionLoop() async throws {
        let server = try ScriptedServer { request in
            [.answer(301, [("x-amz-bucket-region", "r-\(request.number)")], Self.document("PermanentRedirect"))]
        }
        let error = await Self.failure { _ = try await Self.store(server).get("x", maximumBytes: 1) }
        #expect(error?.code == .failed)
        #expect(server.requests.count == 2)
    }

    @Test("Credentials that the server takes for ended are renewed once", arguments: ["GET", "HEAD", "PUT"])
    func expiredToken(method: String) async throws {
        let server = try ScriptedServer { request in
            if request.headers["x-amz-security-token"] == "token-2" {
                return [.answer(200, [("ETag", "\"t\""), ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")])]
            }
            return [.answer(400, [], request.method == "HEAD" ? "" : Self.document("ExpiredToken"))]
        }
        let count = Monitor(0)
        let provider = RefreshingCredentials(source: .instanceMetadata) { () async throws(ObjectStorageError) in
            let number = count.withLock { count in
                count += 1
                return count
            }
            return AWSCredentials(accessKeyID: "id\(number)", secretAccessKey: "s", sessionToken: "token-\(number)")
        }
        let store = try Self.store(server, credentials: provider)
        switch method {
        case "GET": _ = try await store.get("x", maximumBytes: 10)
        case "HEAD": _ = try await store.head("x")
        default: _ = try await store.put("x", bytes: [1])
        }
        #expect(count.withLock { $0 } == 2)
        let fixed = await Self.failure { _ = try await Self.store(server).head("x") }
        #expect(fixed?.code == .expiredCredentials, "keys that cannot be renewed say what is wrong, even to HEAD")
    }

    @Test("A body cut off on the way is no object")
    func cutBody() async throws {
        let server = try ScriptedServer { _ in
            [.send(Array("HTTP/1.1 200 OK\r\nETag: \"t\"\r\nContent-Length: 100\r\n\r\nabc".utf8)), .close]
        }
        let buffer = Buffer(capacity: 100)
        let error = await Self.failure {
            _ = try await Self.store(server).get("x", range: nil, into: buffer, maximumBytes: 100)
        }
        #expect(error?.code == .unavailable)
        #expect(error?.isAmbiguous == false)
        #expect(buffer.count == 0)
    }

    @Test(
        "A put whose answer is lost may have happened, and is not repeated",
        arguments: [PutCondition.ifAbsent, .ifTag("t")])
    func lostAnswer(condition: PutCondition) async throws {
        let server = try ScriptedServer { request in
            request.number == 0 ? [.answer(200, [("ETag", "\"t\"")])] : [.close]
        }
        let store = try Self.store(server)
        try await store.put("a", bytes: [1])
        let error = await Self.failure {
            try await store.put("b", bytes: [1, 2, 3], options: PutOptions(condition: condition))
        }
        #expect(error?.code == .unavailable)
        #expect(error?.isAmbiguous == true)
        #expect(server.requests.count == 2)
    }

    @Test("Stalls time out, refused connections are unreachable")
    func stalls() async throws {
        let server = try ScriptedServer { _ in [.stall] }
        let store = try Self.store(server)
        let put = await Self.failure { try await store.put("a", bytes: [1]) }
        #expect(put?.code == .timedOut)
        #expect(put?.isAmbiguous == true)
        server.stop()
        let refused = await Self.failure { try await store.put("a", bytes: [1]) }
        #expect(refused?.code == .unreachable)
        #expect(refused?.isAmbiguous == false)
        #expect(refused?.message.contains("127.0.0.1") == true)
    }

    @Test("A cancelled task sends nothing any more")
    func cancelled() async throws {
        let server = try ScriptedServer { _ in [.stall] }
        let store = try Self.store(server) { $0.stallSeconds = 30 }
        let task = Task { try await store.put("a", bytes: [1]) }
        try await server.waitForRequests(1)
        task.cancel()
        let error = await Self.failure { _ = try await task.value }
        #expect(error?.code == .cancelled)
    }

    private static let whole = String((0..<100).map { Character(UnicodeScalar(UInt8(0x30 + $0 % 64))) })

    struct RangeAnswer: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let range: Range<UInt64>
        let status: Int
        var contentRange: String?
        let body: Range<Int>
        let expected: Range<Int>?
        var code = ObjectStorageError.Code.corrupted
    }

    private static let rangeAnswers = [
        RangeAnswer(
            testDescription: "as asked", range: 10..<20, status: 206, contentRange: "bytes 10-19/100", body: 10..<20,
            expected: 10..<20),
        RangeAnswer(
            testDescription: "to the end", range: 90..<200, status: 206, contentRange: "bytes 90-99/100",
            body: 90..<100, expected: 90..<100),
        RangeAnswer(
            testDescription: "200 and the right bytes", range: 10..<20, status: 200, body: 10..<20, expected: 10..<20),
        RangeAnswer(
            testDescription: "200 and the rest", range: 10..<200, status: 200, body: 10..<100, expected: 10..<100),
        RangeAnswer(
            testDescription: "200 and the whole", range: 10..<20, status: 200, body: 0..<100, expected: 10..<20),
        RangeAnswer(
            testDescription: "200 and the whole, no longer than asked", range: 10..<110, status: 200, body: 0..<100,
            expected: 10..<100),
        RangeAnswer(
            testDescription: "another range", range: 10..<20, status: 206, contentRange: "bytes 11-20/100",
            body: 11..<21, expected: nil),
        RangeAnswer(
            testDescription: "less than asked", range: 10..<20, status: 206, contentRange: "bytes 10-18/100",
            body: 10..<19, expected: nil),
        RangeAnswer(
            testDescription: "more than announced", range: 10..<20, status: 206, contentRange: "bytes 10-19/100",
            body: 10..<21, expected: nil),
        RangeAnswer(
            testDescription: "nonsense", range: 10..<20, status: 206, contentRange: "bytes x-19/100", body: 10..<20,
            expected: nil),
        RangeAnswer(testDescription: "200 and too few", range: 10..<20, status: 200, body: 10..<15, expected: nil),
        RangeAnswer(
            testDescription: "200 and past the end", range: 100..<120, status: 200, body: 0..<100, expected: nil,
            code: .invalidArgument),
    ]

    @Test("Ranges are checked, wholes are cut", arguments: rangeAnswers)
    func ranges(answer: RangeAnswer) async throws {
        let whole = Array(Self.whole.utf8)
        let server = try ScriptedServer { request in
            if request.method == "HEAD" { return [.answer(200, [("Content-Length", "100"), ("ETag", "\"t\"")])] }
            let text = String(decoding: whole[answer.body], as: UTF8.self)
            return [.answer(answer.status, answer.contentRange.map { [("Content-Range", $0)] } ?? [], text)]
        }
        let buffer = Buffer([1, 2, 3])
        let store = try Self.store(server)
        if let expected = answer.expected {
            let attributes = try await store.get("x", range: answer.range, into: buffer, maximumBytes: 1000)
            #expect(buffer.array() == Array(whole[expected]))
            #expect(attributes.size == 100)
        } else {
            let error = await Self.failure {
                _ = try await store.get("x", range: answer.range, into: buffer, maximumBytes: 1000)
            }
            #expect(error?.code == answer.code)
        }
    }

    @Test(
        "A listing that is broken is an error, not a shorter list",
        arguments: [
            "", "<ListBucketResult>", "<html></html>",
            "<ListBucketResult><Contents><Key>p/a</Key></Contents></ListBucketResult>",
            "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
            "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken></NextContinuationToken></ListBucketResult>",
        ])
    func brokenListing(text: String) async throws {
        let server = try ScriptedServer { _ in [.answer(200, [], text)] }
        let error = await Self.failure { _ = try await Self.store(server).listAll(prefix: "") }
        #expect(error?.code == .corrupted || error?.code == .failed)
    }

    @Test("A listing that goes round in a circle ends")
    func circularListing() async throws {
        let text =
            "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></ListBucketResult>"
        let server = try ScriptedServer { _ in [.answer(200, [], text)] }
        let error = await Self.failure { _ = try await Self.store(server).listAll(prefix: "") }
        #expect(error?.code == .corrupted)
    }

    @Test("Names in a listing are decoded, others' objects left out")
    func listing() async throws {
        let text = """
            <?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><EncodingType>url</EncodingType>
            <Contents><Key>p/a%2Bb+c</Key><Size>3</Size><ETag>&quot;t1&quot;</ETag><LastModified>2026-11-21T09:30:00.123Z</LastModified></Contents>
            <Contents><Key>pq</Key><Size>3</Size><ETag>"t"</ETag><LastModified>2026-11-21T09:30:00Z</LastModified></Contents>
            <CommonPrefixes><Prefix>p/dir/</Prefix></CommonPrefixes></ListBucketResult>
            """
        let server = try ScriptedServer { _ in [.answer(200, [], text)] }
        let store = try Self.store(server)
        let page = try await store.list(prefix: "x", token: "a b")
        #expect(page.objects.map(\.key) == ["a+b c"])
        #expect(page.objects.first?.tag == "t1")
        #expect(page.objects.first?.size == 3)
        #expect(page.objects.first?.modified.nanoseconds == 1_795_253_400_123_000_000)
        #expect(
            server.requests[0].target
                == "/bucket?continuation-token=a%20b&encoding-type=url&list-type=2&max-keys=1000&prefix=p%2Fx")
        #expect(try await store.listCommonPrefixes(prefix: "") == ["dir/"])
    }

    @Test("No server in front of the address: said so")
    func wrongServer() async throws {
        let server = try ScriptedServer { _ in [.answer(404, [], "<html>not here</html>")] }
        let error = await Self.failure { _ = try await Self.store(server).get("x", maximumBytes: 1) }
        #expect(error?.code == .failed)
        #expect(error?.message.contains("S3 server") == true)
    }

    @Test("Conditions, encryption and large bodies are asked for as S3 wants it")
    func requestHeaders() async throws {
        let server = try ScriptedServer { _ in [.answer(200, [("ETag", "\"t\"")])] }
        let store = try Self.store(server) { configuration in
            configuration.serverSideEncryption = "aws:kms"
            configuration.encryptionKeyID = "key"
            configuration.storageClass = "STANDARD_IA"
            configuration.tagging = "a=b"
        }
        try await store.put(
            "x", bytes: [UInt8](repeating: 1, count: 2 << 20), options: PutOptions(condition: .ifAbsent))
        try await store.put("x", bytes: [1], options: PutOptions(condition: .ifTag("abc")))
        try await store.delete("x", ifTag: "abc")
        let first = server.requests[0].headers
        #expect(first["if-none-match"] == "*" && first["expect"] == "100-continue")
        #expect(first["x-amz-server-side-encryption"] == "aws:kms" && first["x-amz-tagging"] == "a=b")
        #expect(
            first["x-amz-server-side-encryption-aws-kms-key-id"] == "key"
                && first["x-amz-storage-class"] == "STANDARD_IA")
        #expect(first["x-amz-content-sha256"]?.count == 64, "over plain HTTP the body is signed")
        #expect(server.requests[1].headers["if-match"] == "\"abc\"" && server.requests[1].headers["expect"] == nil)
        #expect(server.requests[2].headers["if-match"] == "\"abc\"" && server.requests[2].method == "DELETE")
    }

    @Test("A server that wants tags without quotes gets them so, and other tags are still refused")
    func bareTags() async throws {
        let server = try ScriptedServer { request in
            switch request.headers["if-match"] {
            case "present": [.answer(200, [("ETag", "\"next\"")])]
            case nil: [.answer(200, [("ETag", "\"present\""), ("Content-Length", "0")])]
            default: [.answer(412, [], Self.document("PreconditionFailed"))]
            }
        }
        let store = try Self.store(server)
        let stale = await Self.failure {
            try await store.put("x", bytes: [1], options: PutOptions(condition: .ifTag("old")))
        }
        #expect(stale?.code == .preconditionFailed)
        #expect(server.requests.map { $0.headers["if-match"] } == ["\"old\"", nil])
        for _ in 0..<2 { try await store.put("x", bytes: [1], options: PutOptions(condition: .ifTag("present"))) }
        #expect(
            server.requests.dropFirst(2).map { $0.headers["if-match"] } == ["\"present\"", nil, "present", "present"])
    }

    @Test("Object Lock: a server that knows only MD5 gets it, one without lock gets nothing")
    func lock() async throws {
        let server = try ScriptedServer { request in
            if request.target.hasSuffix("?object-lock=") {
                return [
                    .answer(
                        200, [],
                        "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"
                    )
                ]
            }
            return request.headers["content-md5"] == nil
                ? [.answer(400, [], Self.document("InvalidRequest", "Content-MD5 HTTP header is required"))]
                : [.answer(200, [("ETag", "\"t\"")])]
        }
        let retention = Retention(mode: .compliance, until: Timestamp(nanoseconds: 1_795_253_400_000_000_001))
        let store = try Self.store(server)
        for _ in 0..<2 { try await store.put("x", bytes: Array("abc".utf8), options: PutOptions(retention: retention)) }
        let puts = server.requests.filter { $0.method == "PUT" }.map(\.headers)
        #expect(puts.map { $0["content-md5"] } == [nil, "kAFQmDzST7DWlj99KOF/cg==", "kAFQmDzST7DWlj99KOF/cg=="])
        #expect(puts[0]["x-amz-checksum-sha256"] == "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=")
        #expect(puts[0]["x-amz-object-lock-mode"] == "COMPLIANCE")
        #expect(puts[0]["x-amz-object-lock-retain-until-date"] == "2026-11-21T09:30:01Z", "rounded up")

        let plain = try ScriptedServer { _ in [.answer(200, [("ETag", "\"t\"")], "<ListBucketResult/>")] }
        let without = try Self.store(plain)
        let put = await Self.failure {
            try await without.put("x", bytes: [1], options: PutOptions(retention: retention))
        }
        let extend = await Self.failure { try await without.extendRetention("x", retention) }
        #expect(put?.code == .unsupported && extend?.code == .unsupported)
        #expect(plain.requests.map(\.method) == ["GET"], "nothing that such a server could take for a put")
    }
}
