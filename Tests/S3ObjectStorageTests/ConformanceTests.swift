import HTTPTestServer
import ObjectStorage
import ObjectStorageTesting
import S3ObjectStorage
import Testing

@Suite("S3 servers keep the guarantees", .timeLimit(.minutes(30)))
struct ConformanceTests {
    /// moto looks and stores in two steps, on threads without a lock: of two that come at once both may win. A gateway
    /// that is atomic is the test of that.
    private static let motoChecks = ObjectStoreConformance.checks.filter {
        ![
            "of sixteen that create at once exactly one succeeds", "compare-and-swap loses no update",
        ].contains($0.name)
    }

    @Test(
        "moto", .enabled(if: ServerProcess.find("moto_server") != nil, "needs moto_server on the PATH"),
        arguments: motoChecks)
    func moto(check: ObjectStoreConformance.Check) async throws {
        try await check.run(on: S3Servers.shared.server(.moto).store("some/prefix"))
    }

    /// rclone writes in place: its reader may see half an object.
    private static let rcloneChecks = ObjectStoreConformance.checks.filter {
        $0.name != "a reader sees a whole object or none"
    }

    @Test(
        "rclone, as probed", .enabled(if: ServerProcess.find("rclone") != nil, "needs rclone on the PATH"),
        arguments: rcloneChecks)
    func rclone(check: ObjectStoreConformance.Check) async throws {
        let server = try await S3Servers.shared.server(.rclone)
        let store = try server.store("some/prefix")
        try await store.readLockSupport()
        // It answers 500 when two requests make the same directory at once.
        try await check.run(
            on: ProbedObjectStore(RetryingObjectStore(store, policy: .brief), capabilities: server.capabilities))
    }

    @Test(
        "A server named by the environment, as probed",
        .enabled(if: S3Server.external != nil, "needs BECALM_TEST_S3_ENDPOINT, _ACCESS_KEY and _SECRET"),
        arguments: ObjectStoreConformance.checks)
    func external(check: ObjectStoreConformance.Check) async throws {
        let server = try await S3Servers.shared.server(.external)
        let store = try server.store("some/prefix")
        try await store.readLockSupport()
        try await check.run(on: ProbedObjectStore(store, capabilities: server.capabilities))
    }

    @Test(
        "The probe finds what rclone lacks",
        .enabled(if: ServerProcess.find("rclone") != nil, "needs rclone on the PATH"))
    func probeRclone() async throws {
        let server = try await S3Servers.shared.server(.rclone)
        let store = try server.store("probed")
        #expect(try await store.readLockSupport() == false)
        let report = try await CapabilityProbe().run(on: store)
        #expect(report.capabilities == server.capabilities)
        #expect(report.isUsable)
    }

    @Test(
        "The probe finds that moto lacks nothing",
        .enabled(if: ServerProcess.find("moto_server") != nil, "needs moto_server on the PATH"))
    func probeMoto() async throws {
        let store = try await S3Servers.shared.server(.moto).store("probed")
        #expect(try await store.readLockSupport() == true)
        let report = try await CapabilityProbe().run(on: store)
        #expect(report.capabilities == S3ObjectStore.amazonCapabilities)
        #expect(report.findings.isEmpty)
    }
}
