import Foundation
import HTTPTestServer
import ObjectStorage
import ObjectStorageTesting
import S3ObjectStorage
import Synchronization
import Testing

/// Starts each server once, for all tests of this process.
actor SharedServers {
    static let shared = SharedServers()
    private var moto: Task<S3Server, any Error>?
    private var rclone: Task<S3Server, any Error>?
    private var external: Task<S3Server, any Error>?

    enum Kind: String, Sendable { case moto, rclone, external }

    func server(_ kind: Kind) async throws -> S3Server {
        switch kind {
        case .moto:
            let task = moto ?? Task { try await S3Server.moto() }
            moto = task
            return try await task.value
        case .rclone:
            let task = rclone ?? Task { try await S3Server.rclone() }
            rclone = task
            return try await task.value
        case .external:
            let task =
                external
                ?? Task {
                    let server = try #require(S3Server.external)
                    try await server.createBucket(lock: server.capabilities.retention)
                    return server
                }
            external = task
            return try await task.value
        }
    }
}

@Suite("S3 servers keep the guarantees", .timeLimit(.minutes(10)))
struct ConformanceTests {
    @Test(
        "moto", .enabled(if: ServerProcess.find("moto_server") != nil, "needs moto_server on the PATH"),
        arguments: ObjectStoreConformance.checks)
    func moto(check: ObjectStoreConformance.Check) async throws {
        try await check.run(on: SharedServers.shared.server(.moto).store("some/prefix"))
    }

    @Test(
        "rclone", .enabled(if: ServerProcess.find("rclone") != nil, "needs rclone on the PATH"),
        arguments: ObjectStoreConformance.checks)
    func rclone(check: ObjectStoreConformance.Check) async throws {
        try await check.run(on: SharedServers.shared.server(.rclone).store("some/prefix"))
    }

    @Test(
        "A server named by the environment",
        .enabled(if: S3Server.external != nil, "needs BECALM_TEST_S3_ENDPOINT, _ACCESS_KEY and _SECRET"),
        arguments: ObjectStoreConformance.checks)
    func external(check: ObjectStoreConformance.Check) async throws {
        try await check.run(on: SharedServers.shared.server(.external).store("some/prefix"))
    }
}
