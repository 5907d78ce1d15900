import Basics
import Foundation
import HTTPTestServer
import HTTPTransport
import ObjectStorage
import ObjectStorageTesting
import S3ObjectStorage
import SystemPackage
import Testing

@Suite("S3 locations and settings")
struct ConfigurationTests {
    @Test(
        "Locations",
        arguments: [
            ("s3://bucket", "bucket", ""), ("s3://bucket/", "bucket", ""), ("s3://b.c-d/a/b/", "b.c-d", "a/b"),
            ("s3://bucket//a//b", "bucket", "a/b"),
        ])
    func locations(text: String, bucket: String, prefix: String) throws {
        let location = try S3Location.parse(text)
        #expect(location.bucket == bucket && location.prefix == prefix)
    }

    @Test(
        "What is no location",
        arguments: [
            "", "bucket", "s3:/bucket", "s3://", "s3:///a", "s3://a b", "s3://b/../c", "s3://b/a/.", "s3://b?x",
            "s3://..", "https://b/c",
            "s3://b/a\nb", "s3://u:p@b",
        ])
    func badLocations(text: String) {
        #expect(throws: ObjectStorageError.self) { try S3Location.parse(text) }
    }

    @Test(
        "Endpoints",
        arguments: [
            ("https://h", "https://h"), ("h:9000", "https://h:9000"), ("http://H:80/", "http://h"),
            ("https://h:443/a/", "https://h/a"),
            ("http://[::1]:9000", "http://[::1]:9000"), ("http://127.0.0.1:1/x/y", "http://127.0.0.1:1/x/y"),
        ])
    func endpoints(text: String, expected: String) throws {
        #expect(try S3Endpoint.parse(text).description == expected)
    }

    @Test(
        "What is no endpoint",
        arguments: [
            "", "ftp://h", "http://", "http://h:0", "http://h:x", "http://h:70000", "http://u@h", "http://h?x",
            "http://[::1", "http://a b",
        ])
    func badEndpoints(text: String) {
        #expect(throws: ObjectStorageError.self) { try S3Endpoint.parse(text) }
    }

    private static func address(_ location: String, _ change: (inout S3Configuration) throws -> Void) async throws
        -> String
    {
        var configuration = S3Configuration(location: try S3Location.parse(location))
        try change(&configuration)
        let store = S3ObjectStore(
            configuration, transport: try CurlTransport(),
            credentials: StaticCredentials(AWSCredentials(accessKeyID: "a", secretAccessKey: "b")))
        return try await String(store.presignedURL(.get, "k/x", seconds: 60).prefix { $0 != "?" })
    }

    @Test("Where objects are asked for")
    func addresses() async throws {
        #expect(try await Self.address("s3://bucket/p") { _ in } == "https://bucket.s3.us-east-1.amazonaws.com/p/k/x")
        #expect(try await Self.address("s3://b.c/p") { _ in } == "https://s3.us-east-1.amazonaws.com/b.c/p/k/x")
        #expect(
            try await Self.address("s3://bucket") {
                $0.region = "cn-north-1"
                $0.usesDualStack = true
            } == "https://bucket.s3.dualstack.cn-north-1.amazonaws.com.cn/k/x")
        #expect(
            try await Self.address("s3://bucket") {
                $0.usesFIPS = true
                $0.usesPathStyle = true
            } == "https://s3-fips.us-east-1.amazonaws.com/bucket/k/x")
        #expect(
            try await Self.address("s3://bucket") { $0.endpoint = try S3Endpoint.parse("http://h:9000/base") }
                == "http://h:9000/base/bucket/k/x")
        #expect(
            try await Self.address("s3://bucket") {
                $0.endpoint = try S3Endpoint.parse("https://objects.example")
                $0.usesPathStyle = false
            } == "https://bucket.objects.example/k/x")
        #expect(
            try await Self.address("s3://bucket/p q") { _ in } == "https://bucket.s3.us-east-1.amazonaws.com/p%20q/k/x")
    }

    @Test("Flags come before the environment, and that before the profile")
    func precedence() async throws {
        let home = try TemporaryDirectory()
        let config = home.path.appending("config")
        let text = """
            [default]
            region = profile-1
            endpoint_url = http://profile
            ca_bundle = /profile.pem
            s3 =
              addressing_style = virtual
            [profile other]
            region = other-1
            """
        try await write(text, to: config.string)
        let location = try S3Location.parse("s3://bucket")
        var environment = ["AWS_CONFIG_FILE": config.string]
        var found = try await S3Configuration.resolve(location, environment: environment)
        #expect(found.region == "profile-1" && found.endpoint?.description == "http://profile")
        #expect(found.usesPathStyle == false && found.authorities == .file("/profile.pem"))
        environment["AWS_DEFAULT_REGION"] = "default-1"
        environment["AWS_ENDPOINT_URL"] = "http://general"
        environment["SSL_CERT_FILE"] = "/ssl.pem"
        found = try await S3Configuration.resolve(location, environment: environment)
        #expect(found.region == "default-1" && found.endpoint?.description == "http://general")
        #expect(found.authorities == .file("/profile.pem"))
        environment.merge(
            [
                "AWS_REGION": "env-1", "AWS_ENDPOINT_URL_S3": "http://s3", "AWS_CA_BUNDLE": "/env.pem",
                "AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "TRUE",
            ]) { $1 }
        found = try await S3Configuration.resolve(location, environment: environment)
        #expect(found.region == "env-1" && found.endpoint?.description == "http://s3")
        #expect(found.authorities == .file("/env.pem") && found.usesFIPS && found.usesDualStack)
        var flags = S3Configuration.Flags()
        flags.region = "flag-1"
        flags.endpoint = "http://flag"
        flags.usesPathStyle = true
        found = try await S3Configuration.resolve(location, flags: flags, environment: environment)
        #expect(found.region == "flag-1" && found.endpoint?.description == "http://flag" && found.usesPathStyle == true)
        let ignoring = environment.merging(["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"]) { $1 }
        #expect(try await S3Configuration.resolve(location, environment: ignoring).endpoint == nil)
        let plain = try await S3Configuration.resolve(
            location, environment: ["AWS_CONFIG_FILE": config.string, "AWS_PROFILE": "other"])
        #expect(plain.region == "other-1" && plain.endpoint == nil && plain.usesPathStyle == nil)
        flags.region = "no region"
        await #expect(throws: ObjectStorageError.self) {
            try await S3Configuration.resolve(location, flags: flags, environment: environment)
        }
    }

    private func write(_ text: String, to path: String) async throws {
        try text.write(toFile: path, atomically: false, encoding: .utf8)
    }
}
