import Foundation
import HTTPTestServer
import HTTPTransport
import Logging
import Testing
import Velero

/// The plugin against servers that check signatures: those of presigned addresses, too.
@Suite("becalm.io/s3 on servers that check signatures", .timeLimit(.minutes(15)))
struct OtherServersTests {
    private struct Server {
        let config: [String: String]
        let variables: [String: String]
        let process: ServerProcess?

        static func rclone() async throws -> Server {
            let process = try await ServerProcess.start("rclone") { port, directory in
                let data = directory.appendingPathComponent("data")
                try FileManager.default.createDirectory(
                    at: data.appendingPathComponent("velero"), withIntermediateDirectories: true)
                return [
                    "serve", "s3", "--auth-key", "AKIDEXAMPLE,secret", "--addr", "127.0.0.1:\(port)", "--config",
                    "/dev/null", "--vfs-cache-mode", "off", data.path,
                ]
            }
            return Server(
                config: [
                    "bucket": "velero", "s3Url": "http://127.0.0.1:\(process.port)", "s3ForcePathStyle": "true",
                ], variables: ["AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"], process: process)
        }

        /// The server and bucket that the environment names, or nil.
        static var external: Server? {
            let environment = ProcessInfo.processInfo.environment
            guard let endpoint = environment["BECALM_TEST_S3_ENDPOINT"],
                let bucket = environment["BECALM_TEST_S3_BUCKET"],
                let key = environment["BECALM_TEST_S3_ACCESS_KEY"], let secret = environment["BECALM_TEST_S3_SECRET"]
            else { return nil }
            return Server(
                config: ["bucket": bucket, "s3Url": endpoint, "s3ForcePathStyle": "true"],
                variables: ["AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret], process: nil)
        }

        func open(_ more: [String: String] = [:]) async throws -> (S3ObjectStorePlugin, String) {
            let environment = PluginEnvironment(
                variables: variables, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            let plugin = try await S3ObjectStorePlugin.open(
                config: config.merging(more) { _, new in new }, environment: environment,
                secrets: FixedSecrets(entries: [
                    "becalm/key": Array("q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=\n".utf8)
                ]))
            return (plugin, config["bucket"] ?? "")
        }
    }

    private func check(_ server: Server, checksum: String) async throws {
        // A prefix for each argument: they run at once.
        let prefix = "t\(checksum)"
        let (plugin, bucket) = try await server.open(["checksumAlgorithm": checksum])
        let (sealed, _) = try await server.open(
            ["checksumAlgorithm": checksum, "prefix": prefix, "encryptionKeySecret": "becalm/key"])
        for count in [0, 1, 300_000, (17 << 20) + 3] {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 4) }
            for (number, store) in [plugin, sealed].enumerated() {
                let key = "\(prefix)/backups/b\(number)/\(count).gz"
                try await store.put(bucket, key, bytes)
                #expect(try await store.get(bucket, key) == bytes, "\(key)")
                #expect(try await store.exists(bucket: bucket, key: key))
            }
        }
        #expect(
            try await plugin.commonPrefixes(bucket: bucket, delimiter: "/", prefix: "\(prefix)/backups/")
                == ["\(prefix)/backups/b0/", "\(prefix)/backups/b1/"])
        let keys = try await plugin.keys(bucket: bucket, prefix: "\(prefix)/backups/b0/")
        #expect(keys.count == 4 && keys == keys.sorted().reversed())
        #expect(try await plugin.exists(bucket: bucket, key: "\(prefix)/none") == false)
        let url = try await plugin.signedURL(bucket: bucket, key: "\(prefix)/backups/b0/300000.gz", seconds: 600)
        let (response, body) = try await CurlTransport().perform(HTTPRequest(.get, url), maximumBytes: 1 << 20)
        #expect(response.status == 200 && body.count == 300_000)
        let (refused, _) = try await CurlTransport().perform(
            HTTPRequest(.get, url.replacing("Signature=", with: "Signature=0")), maximumBytes: 1 << 20)
        #expect(refused.status == 403, "the address proves something")
        for key in try await plugin.keys(bucket: bucket, prefix: "\(prefix)/") {
            try await plugin.delete(bucket: bucket, key: key)
        }
        #expect(try await plugin.keys(bucket: bucket, prefix: "\(prefix)/") == [])
    }

    @Test(
        "rclone", .enabled(if: ServerProcess.find("rclone") != nil, "needs rclone on the PATH"),
        arguments: ["CRC32", "SHA256", ""])
    func rclone(checksum: String) async throws { try await check(Server.rclone(), checksum: checksum) }

    @Test(
        "A server named by the environment",
        .enabled(
            if: ProcessInfo.processInfo.environment["BECALM_TEST_S3_ENDPOINT"] != nil,
            "needs BECALM_TEST_S3_ENDPOINT, _BUCKET, _ACCESS_KEY and _SECRET"),
        arguments: ["CRC32", "CRC32C", "SHA1", "SHA256", ""])
    func external(checksum: String) async throws { try await check(#require(Server.external), checksum: checksum) }
}
