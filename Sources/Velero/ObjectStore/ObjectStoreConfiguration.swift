internal import ObjectStorage
package import S3ObjectStorage

/// What a BackupStorageLocation's `config` says: every key of Velero's plugin for AWS with the same meaning ("BackupStorageLocation
/// configuration" of that plugin), and ours for encryption on this side.
///
/// Reading it reads nothing else: no file, no Secret, no server.
package struct ObjectStoreConfiguration: Sendable {
    package var bucket: String
    /// Without slashes at its ends.
    package var prefix: String
    package var region: String?
    package var endpoint: S3Endpoint?
    package var publicEndpoint: S3Endpoint?
    package var forcesPathStyle = false
    package var profile: String?
    package var credentialsFile: String?
    package var verifiesTLS = true
    /// PEM, believed beside the system's.
    package var authorities: [UInt8]?
    package var kmsKeyID: String?
    package var serverSideEncryption: String?
    /// The key of server-side encryption with a key of the customer's (SSE-C).
    package var customerKey: KeySource?
    package var tagging: String?
    package var checksum = S3ChecksumOption.crc32
    /// With which what is written is encrypted before it is sent; nil: not at all.
    package var encryptionKey: KeySource?
    /// With which what was written before may be encrypted.
    package var previousEncryptionKeys: [KeySource] = []
    package var allowsUnencryptedReads = false

    /// Every key that is taken.
    static let keys = [
        "allowUnencryptedReads", "bucket", "caCert", "checksumAlgorithm", "credentialsFile",
        "customerKeyEncryptionFile",
        "customerKeyEncryptionSecret", "enableSharedConfig", "encryptionKeyFile", "encryptionKeySecret",
        "insecureSkipTLSVerify", "kmsKeyId", "prefix", "previousEncryptionKeyFiles", "previousEncryptionKeySecrets",
        "profile", "publicUrl", "region", "s3ForcePathStyle", "s3Url", "serverSideEncryption", "signatureVersion",
        "tagging",
    ]

    /// Reads a location's `config`. A value that is empty is one that is not set, but for `checksumAlgorithm`. Throws
    /// `invalidArgument`.
    package init(_ config: [String: String]) throws(VeleroError) {
        try Self.checkKeys(config)
        let values = Values(config)
        bucket = try Self.bucket(values["bucket"])
        prefix = (values["prefix"] ?? "").split(separator: "/").joined(separator: "/")
        region = try Self.region(values["region"])
        endpoint = try values.endpoint("s3Url")
        publicEndpoint = try values.endpoint("publicUrl")
        forcesPathStyle = try values.flag("s3ForcePathStyle")
        profile = values["profile"]
        credentialsFile = values["credentialsFile"]
        verifiesTLS = try !values.flag("insecureSkipTLSVerify")
        authorities = try Self.authorities(values["caCert"])
        tagging = try Self.tagging(values["tagging"])
        if let text = config["checksumAlgorithm"] { checksum = try Self.checksum(text) }
        kmsKeyID = values["kmsKeyId"]
        serverSideEncryption = values["serverSideEncryption"]
        customerKey = try values.key(file: "customerKeyEncryptionFile", secret: "customerKeyEncryptionSecret")
        guard kmsKeyID == nil || customerKey == nil else {
            throw Self.invalid(
                "kmsKeyId and customerKeyEncryptionFile or -Secret are set: the server encrypts with one key; keep one")
        }
        try checkCustomerKeyIsSecret()
        encryptionKey = try values.key(file: "encryptionKeyFile", secret: "encryptionKeySecret")
        previousEncryptionKeys = try values.keys(
            files: "previousEncryptionKeyFiles", secrets: "previousEncryptionKeySecrets")
        allowsUnencryptedReads = try values.flag("allowUnencryptedReads")
        guard encryptionKey != nil || (previousEncryptionKeys.isEmpty && !allowsUnencryptedReads) else {
            throw Self.invalid(
                "a previous encryption key or allowUnencryptedReads is set without a key to write with: set encryptionKeySecret or encryptionKeyFile"
            )
        }
    }

    // MARK: Parts

    static func invalid(_ message: String, fileID: String = #fileID, line: UInt32 = #line) -> VeleroError {
        VeleroError(.invalidArgument, "the location's config: \(message)", fileID: fileID, line: line)
    }

    private static func checkKeys(_ config: [String: String]) throws(VeleroError) {
        guard let unknown = config.keys.filter({ !keys.contains($0) }).min() else { return }
        let shown = Shown.quoted(unknown)
        if let nearest = NearestWord.find(unknown, among: keys) {
            throw invalid("there is no key \(shown); is \(nearest) meant?")
        }
        throw invalid("there is no key \(shown); there are \(keys.joined(separator: ", "))")
    }

    private static func bucket(_ text: String?) throws(VeleroError) -> String {
        guard let text else { throw invalid("no bucket is named; set spec.objectStorage.bucket") }
        guard !text.contains("/") || text.hasPrefix("arn:aws:s3:") else {
            throw invalid(
                "the bucket \(Shown.quoted(text)) has a '/' in it: give the bucket's name alone, and the rest as spec.objectStorage.prefix"
            )
        }
        do {
            return try S3Location(bucket: text).bucket
        } catch {
            throw VeleroError(.invalidArgument, "the location's config: \(error.message)", cause: error)
        }
    }

    private static func region(_ text: String?) throws(VeleroError) -> String? {
        guard let text else { return nil }
        guard S3Configuration.isRegion(text) else {
            throw invalid("region is \(Shown.quoted(text)), which is no region's name, such as us-east-1")
        }
        return text
    }

    private static func authorities(_ text: String?) throws(VeleroError) -> [UInt8]? {
        guard let text else { return nil }
        guard text.contains("-----BEGIN CERTIFICATE-----") || text.contains("-----BEGIN TRUSTED CERTIFICATE-----")
        else {
            throw invalid("caCert holds no certificate in PEM; set spec.objectStorage.caCert to a bundle in base 64")
        }
        return Array(text.utf8)
    }

    /// Amazon's limits for an object's tags.
    private static func tagging(_ text: String?) throws(VeleroError) -> String? {
        guard let text else { return nil }
        let tags = text.split(separator: "&", omittingEmptySubsequences: false)
        let areTags = tags.allSatisfy { tag in
            let parts = tag.split(separator: "=", omittingEmptySubsequences: false)
            return parts.count == 2 && (1...128).contains(parts[0].count) && parts[1].count <= 256
                && tag.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f }
        }
        guard areTags, tags.count <= 10 else {
            throw invalid("tagging is not up to ten tags of the form name=value&name=value, encoded as in a URL")
        }
        return text
    }

    private static func checksum(_ text: String) throws(VeleroError) -> S3ChecksumOption {
        switch text {
        case "": return .none
        case "CRC32": return .crc32
        case "CRC32C": return .crc32c
        case "SHA1": return .sha1
        case "SHA256": return .sha256
        default:
            throw invalid(
                "checksumAlgorithm is \(Shown.quoted(text)); it can be CRC32, CRC32C, SHA1, SHA256, or empty for none")
        }
    }

    /// The key goes along with each request, so the connection has to be secret, unless it does not leave the machine.
    private func checkCustomerKeyIsSecret() throws(VeleroError) {
        guard customerKey != nil, let endpoint, !endpoint.isSecure else { return }
        guard !["127.0.0.1", "[::1]", "localhost"].contains(endpoint.host) else { return }
        throw Self.invalid(
            "customerKeyEncryptionFile or -Secret is set and s3Url is \(endpoint): the key would cross the network in the clear; use https"
        )
    }

    /// The name of an object relative to the location's prefix.
    func relativeName(_ key: String) -> String {
        guard !prefix.isEmpty, key.hasPrefix("\(prefix)/") else { return key }
        return String(key.dropFirst(prefix.count + 1))
    }
}

extension ObjectStoreConfiguration {
    /// The values that are set, with what is made of them.
    private struct Values {
        private let config: [String: String]

        init(_ config: [String: String]) { self.config = config }

        subscript(name: String) -> String? { config[name].flatMap { $0.isEmpty ? nil : $0 } }

        func flag(_ name: String) throws(VeleroError) -> Bool {
            guard let text = self[name] else { return false }
            guard let flag = GoBool.parse(text) else {
                throw invalid("\(name) is \(Shown.quoted(text)); it can be true or false")
            }
            return flag
        }

        func endpoint(_ name: String) throws(VeleroError) -> S3Endpoint? {
            guard let text = self[name] else { return nil }
            let lower = text.lowercased()
            guard lower.hasPrefix("http://") || lower.hasPrefix("https://"), let endpoint = try? S3Endpoint.parse(text)
            else {
                throw invalid("\(name) is \(Shown.quoted(text)); write https://HOST[:PORT] or http://HOST[:PORT]")
            }
            return endpoint
        }

        /// The one key that either setting names.
        func key(file: String, secret: String) throws(VeleroError) -> KeySource? {
            let found = try keys(files: file, secrets: secret, isList: false)
            guard found.count <= 1 else {
                throw invalid("\(file) and \(secret) are set: there is one such key; keep one")
            }
            return found.first
        }

        /// The keys that either setting names, separated by commas.
        func keys(files: String, secrets: String, isList: Bool = true) throws(VeleroError) -> [KeySource] {
            var found: [KeySource] = []
            for path in list(files, isList) {
                guard path.hasPrefix("/") else {
                    throw invalid("\(files) names \(Shown.quoted(path)), which is no absolute path of a file")
                }
                found.append(.file(path))
            }
            for text in list(secrets, isList) {
                guard let secret = KeySource.secret(text) else {
                    throw invalid(
                        "\(secrets) names \(Shown.quoted(text)); write NAME/KEY of a Secret in Velero's namespace")
                }
                found.append(secret)
            }
            return found
        }

        private func list(_ name: String, _ isList: Bool) -> [String] {
            guard let text = self[name] else { return [] }
            return isList ? text.split(separator: ",").map { String($0.drop { $0 == " " }) } : [text]
        }
    }
}

/// What others wrote, made fit for a message.
enum Shown {
    /// In quotes, control characters escaped, at most 100 characters.
    static func quoted(_ text: String) -> String {
        text.count > 100 ? String(reflecting: String(text.prefix(100))) + "..." : String(reflecting: text)
    }
}
