import Basics
import HTTPTestServer
import HTTPTransport
import ObjectStorage
import S3ObjectStorage
import Testing

/// Servers that check signatures: rclone, and the one that the environment names.
@Suite("Signatures, checked by servers", .timeLimit(.minutes(15)))
struct SignatureTests {
    private static let kinds: [S3Servers.Kind] =
        (ServerProcess.find("rclone") == nil ? [] : [.rclone]) + (S3Server.external == nil ? [] : [.external])

    @Test(
        "A presigned address opens one object to anybody, and a changed one nothing",
        .enabled(if: !kinds.isEmpty, "needs rclone on the PATH or BECALM_TEST_S3_ENDPOINT"), arguments: kinds)
    func presigned(kind: S3Servers.Kind) async throws {
        let server = try await S3Servers.shared.server(kind)
        let store = try server.store("signed prefix+&=")
        let transport = try CurlTransport()
        let body = Array("by anybody".utf8)
        let put = try await store.presignedURL(.put, "a/b", seconds: 60)
        let stored = try await transport.perform(HTTPRequest(.put, put, body: HTTPBody(body)), maximumBytes: 1 << 16)
        #expect(stored.response.status == 200, "\(String(decoding: stored.response.failureBody, as: UTF8.self))")
        #expect(try await store.get("a/b", maximumBytes: 100) == body)
        let get = try await store.presignedURL(.get, "a/b", seconds: 60)
        #expect(try await transport.perform(HTTPRequest(.get, get), maximumBytes: 100).body == body)
        for changed in [get.replacing("a/b?", with: "a/c?"), get.replacing("Expires=60", with: "Expires=61"), put] {
            #expect(try await transport.perform(HTTPRequest(.get, changed), maximumBytes: 100).response.status == 403)
        }
    }

    @Test(
        "Wrong keys are refused as such",
        .enabled(if: !kinds.isEmpty, "needs rclone on the PATH or BECALM_TEST_S3_ENDPOINT"), arguments: kinds)
    func wrongKeys(kind: S3Servers.Kind) async throws {
        let server = try await S3Servers.shared.server(kind)
        for (id, secret) in [(server.credentials.accessKeyID, "wr0ng"), ("nobody", "wr0ng")] {
            let other = S3Server(
                endpoint: server.endpoint, credentials: AWSCredentials(accessKeyID: id, secretAccessKey: secret),
                bucket: server.bucket, capabilities: server.capabilities, process: nil)
            let store = try other.store("x")
            for attempt in 0..<3 {
                let error = await FaultTests.failure {
                    switch attempt {
                    case 0: try await store.put("k", bytes: [1])
                    case 1: _ = try await store.head("k")
                    default: _ = try await store.listAll(prefix: "")
                    }
                }
                #expect(error?.code == .accessDenied, "\(error?.message ?? "it was allowed")")
                #expect(error?.message.contains("wr0ng") == false)
            }
        }
    }

    @Test(
        "A bucket that is not there is told as such",
        .enabled(if: !kinds.isEmpty, "needs rclone on the PATH or BECALM_TEST_S3_ENDPOINT"), arguments: kinds)
    func noBucket(kind: S3Servers.Kind) async throws {
        let server = try await S3Servers.shared.server(kind)
        let other = S3Server(
            endpoint: server.endpoint, credentials: server.credentials, bucket: "no-such-bucket",
            capabilities: server.capabilities, process: nil)
        let store = try other.store("x")
        let put = await FaultTests.failure { try await store.put("k", bytes: [1]) }
        let list = await FaultTests.failure { _ = try await store.listAll(prefix: "") }
        let time = await FaultTests.failure { _ = try await store.serverTime() }
        #expect(put?.code == .noSuchBucket && list?.code == .noSuchBucket && time?.code == .noSuchBucket)
        #expect(put?.message.contains("create the bucket") == true)
    }
}
