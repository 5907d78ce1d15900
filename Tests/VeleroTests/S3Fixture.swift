import Basics
import Foundation
import HTTPTestServer
import HTTPTransport
import Logging
import Testing
import Velero

/// moto with a bucket, and requests past the plugin: moto checks no signatures.
struct S3Fixture: Sendable {
    static let isAvailable = ServerProcess.find("moto_server") != nil

    let server: ServerProcess
    let bucket = "velero"
    let transport: CurlTransport

    static func start() async throws -> S3Fixture {
        let server = try await ServerProcess.start("moto_server") { port, _ in ["-H", "127.0.0.1", "-p", String(port)] }
        let fixture = S3Fixture(server: server, transport: try CurlTransport())
        _ = try await fixture.send(.put, "/\(fixture.bucket)", body: [])
        return fixture
    }

    var url: String { "http://127.0.0.1:\(server.port)" }

    /// One server for all tests of this process; each test works below a prefix of its own.
    static let shared = Task { try await start() }

    @discardableResult
    func send(
        _ method: HTTPMethod, _ path: String, headers: [(String, String)] = [], body: [UInt8]? = nil
    ) async throws -> (response: HTTPResponse, body: [UInt8]) {
        let request = HTTPRequest(method, url + path, headers: HTTPHeaders(headers), body: body.map { HTTPBody($0) })
        return try await transport.perform(request, maximumBytes: 256 << 20)
    }

    /// The object as it lies in the bucket.
    func raw(_ key: String) async throws -> [UInt8] {
        let url = try await open().signedURL(bucket: bucket, key: key, seconds: 60)
        let (response, body) = try await transport.perform(HTTPRequest(.get, url), maximumBytes: 256 << 20)
        try #require(response.isSuccess, "\(key): HTTP \(response.status)")
        return body
    }

    /// How many uploads in parts of that key were begun and not ended.
    func unfinishedUploads(_ key: String) async throws -> Int {
        let (_, body) = try await send(.get, "/\(bucket)?uploads")
        return String(decoding: body, as: UTF8.self).split(separator: "<Key>\(key)</Key>").count - 1
    }

    static func environment(_ more: [String: String] = [:]) -> PluginEnvironment {
        let keys = ["AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"]
        return PluginEnvironment(
            variables: keys.merging(more) { _, new in new },
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    func open(
        _ more: [String: String] = [:], secrets: (any SecretSource)? = nil
    ) async throws(VeleroError) -> S3ObjectStorePlugin {
        let config = ["bucket": bucket, "region": "us-east-1", "s3Url": url, "s3ForcePathStyle": "true"]
        return try await S3ObjectStorePlugin.open(
            config: config.merging(more) { _, new in new }, environment: Self.environment(), secrets: secrets)
    }
}

extension ObjectStorePlugin {
    /// Stores an object in pieces of 16 KiB, as Velero sends it.
    func put(_ bucket: String, _ key: String, _ bytes: [UInt8]) async throws {
        let upload = try await beginUpload(bucket: bucket, key: key)
        for start in stride(from: 0, to: bytes.count, by: 16 << 10) {
            try await upload.write(Array(bytes[start..<min(start + 16 << 10, bytes.count)]))
        }
        try await upload.finish()
    }

    func get(_ bucket: String, _ key: String) async throws -> [UInt8] {
        let download = try await beginDownload(bucket: bucket, key: key)
        var bytes: [UInt8] = []
        while let piece = try await download.next() {
            #expect(!piece.isEmpty)
            bytes += piece
        }
        await download.close()
        return bytes
    }
}

/// The plugin's error that `body` throws.
func veleroError(_ body: () async throws -> Void) async -> VeleroError? {
    do {
        try await body()
        return nil
    } catch {
        return error as? VeleroError
    }
}
