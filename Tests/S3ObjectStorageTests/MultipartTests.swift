import Basics
import HTTPTestServer
import HTTPTransport
import ObjectStorage
import ObjectStorageTesting
import S3ObjectStorage
import Testing

@Suite("Uploads in parts", .timeLimit(.minutes(15)))
struct MultipartTests {
    private static let hasMoto = ServerProcess.find("moto_server") != nil

    private static func small(_ configuration: inout S3Configuration) {
        configuration.multipartThreshold = 6 << 20
        configuration.partBytes = 5 << 20
        configuration.partConcurrency = 3
    }

    /// A body of 23 MiB and some in uneven pieces.
    private static func body(_ seed: UInt64) -> (ObjectBody, [UInt8]) {
        var random = SeededGenerator(seed: seed)
        let pieces = [7 << 20, 1, 0, (9 << 20) + 13, 7 << 20].map { random.bytes($0) }
        return (ObjectBody(pieces.map { Buffer($0) }), pieces.flatMap { $0 })
    }

    private static func unfinished(_ server: S3Server) async throws -> Int {
        let (_, bytes) = try await S3Raw(server: server).send(.get, "/\(server.bucket)", query: [("uploads", "")])
        return String(decoding: bytes, as: UTF8.self).split(separator: "<UploadId>").count - 1
    }

    private func roundTrip(_ server: S3Server, _ option: S3ChecksumOption, keepsTag: Bool = true) async throws {
        let store = try server.store("parts-\(option)") {
            Self.small(&$0)
            $0.checksum = option
        }
        let (body, bytes) = Self.body(7)
        let receipt = try await store.put("big", body, options: PutOptions())
        let buffer = Buffer(capacity: 0)
        let attributes = try await store.get("big", range: nil, into: buffer, maximumBytes: 64 << 20)
        #expect(buffer.array() == bytes)
        #expect(!receipt.tag.isEmpty && (attributes.tag == receipt.tag || !keepsTag))
        _ = try await store.get("big", range: 5_242_870..<5_242_890, into: buffer, maximumBytes: 100)
        #expect(buffer.array() == Array(bytes[5_242_870..<5_242_890]))
        try await store.put("small", bytes: [1, 2, 3])
        #expect(try await store.get("small", maximumBytes: 3) == [1, 2, 3])
    }

    @Test(
        "moto keeps every checksum", .enabled(if: hasMoto, "needs moto_server on the PATH"),
        arguments: S3ChecksumOption.allCases)
    func moto(option: S3ChecksumOption) async throws {
        try await roundTrip(S3Servers.shared.server(.moto), option)
    }

    @Test("rclone", .enabled(if: ServerProcess.find("rclone") != nil, "needs rclone on the PATH"))
    func rclone() async throws {
        // It answers a completion with one tag and knows the object by another.
        try await roundTrip(S3Servers.shared.server(.rclone), .auto, keepsTag: false)
    }

    @Test(
        "A server named by the environment",
        .enabled(if: S3Server.external != nil, "needs BECALM_TEST_S3_ENDPOINT and keys"))
    func external() async throws {
        try await roundTrip(S3Servers.shared.server(.external), .auto)
    }

    @Test(
        "Created at once in parts, one wins, and nothing is left of the others",
        .enabled(if: hasMoto, "needs moto_server on the PATH"))
    func conditional() async throws {
        let server = try await S3Servers.shared.server(.moto)
        let store = try server.store("conditional", change: Self.small)
        let (body, bytes) = Self.body(8)
        let (other, _) = Self.body(9)
        _ = try await store.put("once", body, options: PutOptions(condition: .ifAbsent))
        let error = await FaultTests.failure {
            _ = try await store.put("once", other, options: PutOptions(condition: .ifAbsent))
        }
        #expect(error?.code == .preconditionFailed)
        #expect(try await store.get("once", maximumBytes: 64 << 20) == bytes)
    }

    @Test(
        "Unfinished uploads of ours are swept, when old enough", .enabled(if: hasMoto, "needs moto_server on the PATH"))
    func sweep() async throws {
        let process = try await S3Server.moto()
        let raw = S3Raw(server: process)
        for key in ["mine/a", "mine/b", "other/c"] {
            #expect(
                try await raw.send(.post, "/\(process.bucket)/\(key)", query: [("uploads", "")], body: []).response
                    .isSuccess)
        }
        let store = try process.store("mine")
        // moto says that uploads began in 2010.
        #expect(try await store.abortStaleUploads(olderThan: Timestamp(seconds: 1_000_000_000)) == 0)
        #expect(try await Self.unfinished(process) == 3)
        #expect(try await store.abortStaleUploads(olderThan: store.serverTime()) == 2)
        #expect(try await Self.unfinished(process) == 1)
    }

    /// A server that takes parts and then does as told.
    private static func partServer(
        part: @escaping @Sendable (ScriptedServer.Request) -> [ScriptedServer.Step] = { _ in
            [.answer(200, [("ETag", "\"p\"")])]
        },
        complete: @escaping @Sendable (ScriptedServer.Request) -> [ScriptedServer.Step]
    ) throws -> ScriptedServer {
        try ScriptedServer { request in
            switch request.method {
            case "POST" where request.target.hasSuffix("?uploads="):
                return [
                    .answer(
                        200, [],
                        "<InitiateMultipartUploadResult><UploadId>u&amp;1</UploadId></InitiateMultipartUploadResult>")
                ]
            case "PUT": return part(request)
            case "POST": return complete(request)
            default: return [.answer(204)]
            }
        }
    }

    @Test("A completion that answers 200 and then fails is a failure that may have happened")
    func lateFailure() async throws {
        let server = try Self.partServer { _ in [.answer(200, [], " \n" + FaultTests.document("InternalError"))] }
        let error = await FaultTests.failure {
            _ = try await FaultTests.store(server, change: Self.small).put("x", Self.body(1).0, options: PutOptions())
        }
        #expect(error?.code == .unavailable)
        #expect(error?.isAmbiguous == true)
        #expect(!server.requests.contains { $0.method == "DELETE" }, "it may be complete")
    }

    @Test(
        "A lost race at the completion aborts the upload",
        arguments: [
            (412, "PreconditionFailed", ObjectStorageError.Code.preconditionFailed),
            (409, "ConditionalRequestConflict", .conflict),
        ])
    func lostRace(status: Int, name: String, code: ObjectStorageError.Code) async throws {
        let server = try Self.partServer { request in
            request.headers["if-none-match"] == "*" ? [.answer(status, [], FaultTests.document(name))] : [.answer(500)]
        }
        let error = await FaultTests.failure {
            _ = try await FaultTests.store(server, change: Self.small)
                .put("x", Self.body(1).0, options: PutOptions(condition: .ifAbsent))
        }
        #expect(error?.code == code)
        #expect(server.requests.last?.method == "DELETE")
        #expect(server.requests.last?.target == "/bucket/p/x?uploadId=u%261")
    }

    @Test("A part that fails ends the upload and aborts it")
    func failedPart() async throws {
        let server = try Self.partServer(part: { request in
            request.target.contains("partNumber=2&")
                ? [.answer(503, [], FaultTests.document("SlowDown"))] : [.answer(200, [("ETag", "\"p\"")])]
        }) { _ in [.answer(500)] }
        let error = await FaultTests.failure {
            _ = try await FaultTests.store(server, change: Self.small).put("x", Self.body(1).0, options: PutOptions())
        }
        #expect(error?.code == .throttled)
        #expect(error?.isAmbiguous == false)
        // A part that was cut off may still be read by the server's thread after the abort.
        #expect(server.requests.filter { $0.method == "DELETE" }.count == 1)
        #expect(!server.requests.contains { $0.method == "POST" && $0.target.contains("uploadId") })
    }

    @Test("Not more parts are under way than allowed, all arrive, in order in the completion")
    func concurrency() async throws {
        let server = try Self.partServer { request in
            [
                .answer(
                    200, [],
                    "<CompleteMultipartUploadResult><ETag>&quot;whole-5&quot;</ETag></CompleteMultipartUploadResult>")
            ]
        }
        let (body, bytes) = Self.body(3)
        let receipt = try await FaultTests.store(server, change: Self.small).put("x", body, options: PutOptions())
        #expect(receipt.tag == "whole-5")
        let parts = server.requests.filter { $0.method == "PUT" }
        #expect(parts.count == 5)
        #expect(Set(parts.map(\.connection)).count <= 3)
        let ordered = parts.sorted { $0.target < $1.target }
        #expect(ordered.flatMap(\.body) == bytes)
        let document = String(decoding: server.requests.last?.body ?? [], as: UTF8.self)
        #expect(document.split(separator: "<PartNumber>").dropFirst().map(\.first) == ["1", "2", "3", "4", "5"])
    }
}
