import Basics
import Foundation
import HTTPTestServer
import HTTPTransport
import ObjectStorage
import S3ObjectStorage
import Testing

/// A real S3 server to test against, and what it can be trusted with.
struct S3Server: Sendable {
    let endpoint: String
    let credentials: AWSCredentials
    let bucket: String
    let capabilities: StoreCapabilities
    /// Kept alive for as long as the server is used.
    let process: ServerProcess?

    func store(
        _ prefix: String = "", transport: (any HTTPTransport)? = nil,
        change: (inout S3Configuration) -> Void = { _ in }
    ) throws -> S3ObjectStore {
        var configuration = S3Configuration(
            location: try S3Location(bucket: bucket, prefix: prefix), endpoint: try S3Endpoint.parse(endpoint))
        change(&configuration)
        let transport = try transport ?? CurlTransport(configuration.transport)
        return S3ObjectStore(
            configuration, transport: transport, credentials: StaticCredentials(credentials), capabilities: capabilities
        )
    }

    func createBucket(lock: Bool = false) async throws {
        try await S3Raw(server: self).createBucket(lock: lock)
    }

    /// moto: everything in memory, checks no signatures.
    static func moto() async throws -> S3Server {
        let process = try await ServerProcess.start("moto_server") { port, _ in ["-H", "127.0.0.1", "-p", String(port)]
        }
        let server = S3Server(
            endpoint: "http://127.0.0.1:\(process.port)",
            credentials: AWSCredentials(accessKeyID: "AKIDEXAMPLE", secretAccessKey: "secret"), bucket: "test-bucket",
            capabilities: S3ObjectStore.amazonCapabilities, process: process)
        try await server.createBucket(lock: true)
        return server
    }

    /// rclone: files in a directory, checks signatures, ignores conditions.
    static func rclone() async throws -> S3Server {
        let process = try await ServerProcess.start("rclone") { port, directory in
            try FileManager.default.createDirectory(
                at: directory.appendingPathComponent("data/test-bucket"), withIntermediateDirectories: true)
            return [
                "serve", "s3", "--auth-key", "AKIDEXAMPLE,secret", "--addr", "127.0.0.1:\(port)", "--config",
                "/dev/null",
                "--vfs-cache-mode", "off", directory.appendingPathComponent("data").path,
            ]
        }
        return S3Server(
            endpoint: "http://127.0.0.1:\(process.port)",
            credentials: AWSCredentials(accessKeyID: "AKIDEXAMPLE", secretAccessKey: "secret"), bucket: "test-bucket",
            capabilities: StoreCapabilities(
                createIfAbsent: false, replaceIfTag: false, conditionalDelete: false, listIsOrdered: true,
                retention: false), process: process)
    }

    /// The server that the environment names, or nil. What it can be trusted with is probed when it is first used.
    static var external: S3Server? {
        let environment = ProcessInfo.processInfo.environment
        guard let endpoint = environment["BECALM_TEST_S3_ENDPOINT"],
            let key = environment["BECALM_TEST_S3_ACCESS_KEY"], let secret = environment["BECALM_TEST_S3_SECRET"]
        else { return nil }
        return S3Server(
            endpoint: endpoint, credentials: AWSCredentials(accessKeyID: key, secretAccessKey: secret),
            bucket: environment["BECALM_TEST_S3_BUCKET"] ?? "becalm-test",
            capabilities: S3ObjectStore.amazonCapabilities, process: nil)
    }

    /// The same server with the capabilities that the probe finds.
    func probed() async throws -> S3Server {
        let store = try store("probed")
        try await store.readLockSupport()
        let found = try await CapabilityProbe().run(on: store)
        print("\(endpoint)/\(bucket): \(found.capabilities) \(found.findings)")
        return S3Server(
            endpoint: endpoint, credentials: credentials, bucket: bucket, capabilities: found.capabilities,
            process: process)
    }
}

/// Starts each server once, for all tests of this process.
actor S3Servers {
    static let shared = S3Servers()
    private var running: [Kind: Task<S3Server, any Error>] = [:]

    enum Kind: Sendable { case moto, rclone, external }

    func server(_ kind: Kind) async throws -> S3Server {
        let task = running[kind] ?? Task { try await Self.start(kind) }
        running[kind] = task
        return try await task.value
    }

    private static func start(_ kind: Kind) async throws -> S3Server {
        switch kind {
        case .moto: return try await S3Server.moto()
        case .rclone: return try await S3Server.rclone()
        case .external:
            let server = try #require(S3Server.external)
            let isLocked = ProcessInfo.processInfo.environment["BECALM_TEST_S3_LOCK"] == "1"
            try await server.createBucket(lock: isLocked)
            return try await server.probed()
        }
    }
}

/// Requests that the store has no use for.
struct S3Raw {
    let server: S3Server

    /// Creates the bucket unless it exists.
    func createBucket(lock: Bool) async throws {
        let headers = lock ? [("x-amz-bucket-object-lock-enabled", "true")] : []
        let (response, _) = try await send(.put, "/\(server.bucket)", headers: headers, body: [])
        guard response.isSuccess || response.status == 409 else {
            throw ServerFailure(
                description:
                    "create bucket: \(response.status) \(String(decoding: response.failureBody, as: UTF8.self))")
        }
    }

    struct ServerFailure: Error, CustomStringConvertible { let description: String }

    func send(
        _ method: HTTPMethod, _ path: String, query: [(String, String)] = [], headers: [(String, String)] = [],
        body: [UInt8]? = nil
    ) async throws -> (response: HTTPResponse, body: [UInt8]) {
        let endpoint = try S3Endpoint.parse(server.endpoint)
        let time = Date.now.formatted(
            Date.ISO8601FormatStyle(dateSeparator: .omitted, timeSeparator: .omitted, timeZone: .gmt))
        let clock = Int64(Date.now.timeIntervalSince1970)
        var all = headers
        all.append(("X-Amz-Date", time))
        all.append(("X-Amz-Content-Sha256", SigV4Signer.unsignedPayload))
        let signed = SigV4Signer.Request(
            method: method.rawValue, path: path, query: query,
            headers: all + [("Host", endpoint.description.split(separator: "/").last.map(String.init) ?? "")],
            payloadHash: SigV4Signer.unsignedPayload)
        all.append(
            (
                "Authorization",
                SigV4Signer(service: "s3").authorization(
                    signed, region: "us-east-1", credentials: server.credentials, time: .init(seconds: clock))
            ))
        let queryText = query.isEmpty ? "" : "?" + SigV4Signer.canonicalQuery(query)
        let request = HTTPRequest(
            method, server.endpoint + path + queryText, headers: HTTPHeaders(all), body: body.map { HTTPBody($0) })
        return try await CurlTransport().perform(request, maximumBytes: 1 << 20)
    }
}
