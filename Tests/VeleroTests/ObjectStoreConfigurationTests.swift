import Logging
import ObjectStorage
import S3ObjectStorage
import Testing

@testable import Velero

@Suite("A location's config")
struct ObjectStoreConfigurationTests {
    static func read(_ more: [String: String]) throws(VeleroError) -> ObjectStoreConfiguration {
        try ObjectStoreConfiguration(["bucket": "b", "prefix": ""].merging(more) { _, new in new })
    }

    @Test("Bucket alone is enough, and the defaults are those of Velero's plugin for AWS")
    func defaults() throws {
        let found = try Self.read([:])
        #expect(found.bucket == "b" && found.prefix.isEmpty && found.region == nil && found.endpoint == nil)
        #expect(!found.forcesPathStyle && found.verifiesTLS && found.checksum == .crc32)
        #expect(found.encryptionKey == nil && !found.allowsUnencryptedReads)
    }

    @Test("Every key of the plugin for AWS is taken")
    func everyKey() throws {
        let certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
        let found = try Self.read([
            "prefix": "/a//b/", "region": "eu-west-1", "s3Url": "https://s3.example:9000", "publicUrl": "http://public",
            "s3ForcePathStyle": "T", "kmsKeyId": "alias/velero", "serverSideEncryption": "aws:kms",
            "signatureVersion": "1", "profile": "p", "credentialsFile": "/tmp/credentials/velero/x",
            "insecureSkipTLSVerify": "1", "caCert": certificate, "enableSharedConfig": "true", "tagging": "a=1&b=%20",
            "checksumAlgorithm": "",
        ])
        #expect(found.prefix == "a/b" && found.region == "eu-west-1" && found.profile == "p")
        #expect(found.endpoint?.description == "https://s3.example:9000")
        #expect(found.publicEndpoint?.description == "http://public")
        #expect(found.forcesPathStyle && !found.verifiesTLS && found.checksum == .none)
        #expect(found.kmsKeyID == "alias/velero" && found.serverSideEncryption == "aws:kms")
        #expect(found.authorities == Array(certificate.utf8) && found.tagging == "a=1&b=%20")
        #expect(found.credentialsFile == "/tmp/credentials/velero/x")
    }

    @Test("Encryption keys come from files or Secrets, with those before them")
    func encryptionKeys() throws {
        let found = try Self.read([
            "encryptionKeySecret": "becalm-key/2026",
            "previousEncryptionKeySecrets": "becalm-key/2025, becalm-key/2024",
            "previousEncryptionKeyFiles": "/k", "allowUnencryptedReads": "true",
        ])
        #expect(found.encryptionKey == .secret(name: "becalm-key", key: "2026"))
        #expect(
            found.previousEncryptionKeys == [
                .file("/k"), .secret(name: "becalm-key", key: "2025"), .secret(name: "becalm-key", key: "2024"),
            ])
        #expect(found.allowsUnencryptedReads)
    }

    struct Refusal: Sendable, CustomTestStringConvertible {
        let config: [String: String]
        let says: String
        init(_ config: [String: String], _ says: String) {
            self.config = config
            self.says = says
        }
        var testDescription: String { says }
    }

    private static let refusals = [
        Refusal(["bucket": ""], "no bucket is named"),
        Refusal(["bucket": "a/b"], "has a '/' in it"),
        Refusal(["bucket": "arn:aws:s3:::b/x"], "access point's ARN"),
        Refusal(["bucket": "arn:aws:s3::123456789012:accesspoint/x.mrap"], "access point"),
        Refusal(["bucket": "a b"], "no bucket's name"),
        Refusal(["s3URL": "http://x"], "is s3Url meant?"),
        Refusal(["forcePathStyle": "true"], "is s3ForcePathStyle meant?"),
        Refusal(["checksum": "CRC32"], "there is no key \"checksum\""),
        Refusal(["zzz": ""], "there is no key \"zzz\"; there are allowUnencryptedReads, bucket,"),
        Refusal(["s3ForcePathStyle": "yes"], "s3ForcePathStyle is \"yes\""),
        Refusal(["insecureSkipTLSVerify": "TRue"], "insecureSkipTLSVerify is \"TRue\""),
        Refusal(["s3Url": "minio:9000"], "s3Url is \"minio:9000\""),
        Refusal(["publicUrl": "ftp://x"], "publicUrl is \"ftp://x\""),
        Refusal(["s3Url": "http://a?b"], "s3Url is"),
        Refusal(["region": "us east"], "region is \"us east\""),
        Refusal(["caCert": "MIIB"], "caCert holds no certificate"),
        Refusal(["tagging": "a"], "tagging is not"),
        Refusal(["tagging": (0...10).map { "k\($0)=v" }.joined(separator: "&")], "tagging is not"),
        Refusal(["tagging": "a=b c"], "tagging is not"),
        Refusal(["checksumAlgorithm": "crc32"], "checksumAlgorithm is \"crc32\""),
        Refusal(["kmsKeyId": "k", "customerKeyEncryptionFile": "/f"], "the server encrypts with one key"),
        Refusal(
            ["customerKeyEncryptionFile": "/f", "customerKeyEncryptionSecret": "a/b"],
            "customerKeyEncryptionFile and customerKeyEncryptionSecret are set"),
        Refusal(["customerKeyEncryptionSecret": "a"], "write NAME/KEY"),
        Refusal(["customerKeyEncryptionSecret": "a/b/c"], "write NAME/KEY"),
        Refusal(["customerKeyEncryptionFile": "relative"], "no absolute path"),
        Refusal(["customerKeyEncryptionFile": "/f", "s3Url": "http://minio:9000"], "in the clear"),
        Refusal(
            ["encryptionKeyFile": "/f", "encryptionKeySecret": "a/b"], "encryptionKeyFile and encryptionKeySecret"),
        Refusal(["encryptionKeySecret": "Upper/b"], "write NAME/KEY"),
        Refusal(["previousEncryptionKeyFiles": "/f"], "without a key to write with"),
        Refusal(["allowUnencryptedReads": "true"], "without a key to write with"),
    ]

    @Test("What makes no sense is refused in one line that names the key", arguments: refusals)
    func refusal(refusal: Refusal) throws {
        let error = #expect(throws: VeleroError.self) { try Self.read(refusal.config) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains(refusal.says) == true, "\(error?.message ?? "")")
        #expect(error?.message.contains("\n") == false)
    }

    @Test("Truth is spelled as in Go")
    func truth() {
        for word in ["1", "t", "T", "TRUE", "true", "True"] { #expect(GoBool.parse(word) == true) }
        for word in ["0", "f", "F", "FALSE", "false", "False"] { #expect(GoBool.parse(word) == false) }
        for word in ["", "yes", "tRUE", "2", " true"] { #expect(GoBool.parse(word) == nil) }
    }

    @Test("A name is told apart from the location's prefix, and from what only begins alike")
    func relativeNames() throws {
        let found = try Self.read(["prefix": "velero/"])
        #expect(found.relativeName("velero/backups/b/velero-backup.json") == "backups/b/velero-backup.json")
        #expect(found.relativeName("velero2/x") == "velero2/x")
        #expect(try Self.read([:]).relativeName("backups/b") == "backups/b")
    }

    @Test("A credentials file is read as both files and hides the pod's web identity")
    func credentialVariables() throws {
        let environment = PluginEnvironment(
            variables: [
                "AWS_WEB_IDENTITY_TOKEN_FILE": "/t", "AWS_ROLE_ARN": "r", "AWS_ROLE_SESSION_NAME": "s",
                "AWS_SHARED_CREDENTIALS_FILE": "/credentials/cloud", "HOME": "/h",
            ], logger: .init(label: "test"))
        let own = try Self.read(["credentialsFile": "/c"]).credentialVariables(environment)
        #expect(own == ["AWS_SHARED_CREDENTIALS_FILE": "/c", "AWS_CONFIG_FILE": "/c", "HOME": "/h"])
        let servers = try Self.read([:]).credentialVariables(environment)
        #expect(servers["AWS_CONFIG_FILE"] == "/credentials/cloud" && servers["AWS_ROLE_ARN"] == nil)
        var bare = environment
        bare.variables["AWS_SHARED_CREDENTIALS_FILE"] = nil
        #expect(try Self.read([:]).credentialVariables(bare)["AWS_ROLE_ARN"] == "r")
    }
}
