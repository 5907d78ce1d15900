import Foundation
import HTTPTestServer
import HTTPTransport
import Testing
import Velero

/// The repository in a bucket of moto's, which checks no signatures.
@Suite(.enabled(if: ServerProcess.find("moto_server") != nil, "needs moto_server on the PATH"))
struct VolumeS3Tests {
    private let volume = "becalm1:hostpath:/data/pg"

    private func send(_ method: HTTPMethod, _ url: String) async throws {
        let (response, _) = try await CurlTransport().perform(
            HTTPRequest(method, url, body: HTTPBody([UInt8]())), maximumBytes: 1 << 20)
        #expect(response.isSuccess, "\(url): HTTP \(response.status)")
    }

    @Test("A repository in a bucket is made, used and cleared; a bucket that is gone is no deleted snapshot")
    func bucket() async throws {
        let server = try await ServerProcess.start("moto_server") { port, _ in ["-H", "127.0.0.1", "-p", String(port)] }
        let url = "http://127.0.0.1:\(server.port)"
        try await send(.put, "\(url)/backups")
        let world = try VolumeWorld([
            "AWS_ROLE_ARN": "arn:aws:iam::1:role/x", "AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere",
        ])
        try world.makeVolume()
        try world.write("credentials", "[default]\naws_access_key_id = AKID\naws_secret_access_key = secret\n")
        let config = [
            "repository": "s3://backups/plugins/becalm", "s3Url": url, "s3ForcePathStyle": "true",
            "region": "us-east-1",
            "credentialsFile": world.path("credentials"), "insecureSkipTLSVerify": "true",
        ]
        let plugin = try await world.open(config)
        let first = try await plugin.createSnapshot(volumeID: volume, zone: "", tags: ["velero.io/backup": "b"])
        let second = try await world.open(config).createSnapshot(volumeID: volume, zone: "", tags: [:])
        _ = try await world.open(config).createVolume(snapshotID: first, type: "", zone: "", iops: nil)
        try await plugin.deleteSnapshot(first)
        try await plugin.deleteSnapshot(first)
        let gone = await volumeError {
            _ = try await plugin.createVolume(snapshotID: first, type: "", zone: "", iops: nil)
        }
        #expect(gone?.code == .notFound, "\(gone?.message ?? "no error")")
        // Nothing there, but the bucket is.
        let elsewhere = try await world.open(config.merging(["repository": "s3://backups/other"]) { $1 })
        try await elsewhere.deleteSnapshot(second)
        // Not even the bucket.
        let misspelt = try await world.open(config.merging(["repository": "s3://backup/plugins/becalm"]) { $1 })
        for call in [
            { try await misspelt.deleteSnapshot(second) },
            { _ = try await misspelt.createSnapshot(volumeID: volume, zone: "", tags: [:]) },
        ] as [() async throws -> Void] {
            let error = await volumeError(call)
            #expect(error?.code == .notFound, "\(error?.message ?? "no error")")
        }
    }

    @Test("A server that does not answer is told as such, in time")
    func unreachable() async throws {
        let world = try VolumeWorld(["AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"])
        try world.makeVolume()
        let plugin = try await world.open([
            "repository": "s3://backups/x", "s3Url": "http://127.0.0.1:1", "s3ForcePathStyle": "true",
            "region": "us-east-1",
        ])
        let id = "becalm1:\(String(repeating: "0", count: 32)):\(String(repeating: "1", count: 32))"
        let error = await volumeError { try await plugin.deleteSnapshot(id) }
        #expect(error?.code == .unavailable, "\(error?.message ?? "no error")")
        // An attempt that is made again is no warning, which Velero would count.
        #expect(world.log.warnings.isEmpty, "\(world.log.warnings)")
    }
}
