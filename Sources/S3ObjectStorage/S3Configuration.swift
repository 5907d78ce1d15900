package import HTTPTransport
package import ObjectStorage

/// Which extra checksum goes with each upload.
package enum S3ChecksumOption: String, Sendable, CaseIterable {
    /// None, except where the store demands one (Object Lock): then SHA-256, or MD5 for stores that know no other.
    case auto
    case crc32
    case crc32c
    case sha1
    case sha256
    case md5
    case none
}

/// Which names objects may have.
package enum S3KeyRule: Sendable {
    /// `ObjectKey`'s rule: names that we chose.
    case ours
    /// Whatever S3 takes, at most 1024 bytes: names that others chose.
    case any
}

/// All that an S3 store needs to know. `S3Configuration.resolve` fills it from flags, environment and profile.
package struct S3Configuration: Sendable {
    package var location: S3Location
    /// Nil: Amazon's for the region.
    package var endpoint: S3Endpoint?
    package var region: String
    /// Whether `region` is but a guess: the bucket is asked for its own before the first request.
    package var guessesRegion = false
    /// Where others reach the server that we reach at `endpoint`; for presigned addresses alone. Nil: the same place.
    package var publicEndpoint: S3Endpoint?
    /// Whether the bucket's name stands in the path of requests. With false it stands in the host's name, unless that is
    /// an address or the name has dots. Nil is true for endpoints given, else false.
    package var usesPathStyle: Bool?
    package var usesFIPS = false
    package var usesDualStack = false
    /// Whom to believe in TLS.
    package var authorities = CurlTransportConfiguration.Authorities.system
    package var keyRule = S3KeyRule.ours
    package var checksum = S3ChecksumOption.auto
    /// Bodies larger than this are sent in parts. Packs are at most 128 MiB: one PUT is atomic and one request.
    package var multipartThreshold = 128 << 20
    /// Bytes of a part; at 10,000 parts this carries objects of 312 GiB.
    package var partBytes = 32 << 20
    /// Parts under way at once, per upload.
    package var partConcurrency = 4
    /// Requests under way at once.
    package var maximumConnections = 32
    /// Seconds without a byte after which a request fails.
    package var stallSeconds = 30
    /// `x-amz-server-side-encryption`: `AES256`, `aws:kms`, …; nil leaves it to the bucket.
    package var serverSideEncryption: String?
    /// The KMS key's id for `aws:kms`.
    package var encryptionKeyID: String?
    /// The server encrypts and decrypts with this key, which it forgets after each request (SSE-C).
    package var customerKey: S3CustomerKey?
    /// `x-amz-storage-class` of what is put.
    package var storageClass: String?
    /// `x-amz-tagging` of what is put: `name=value&…`, encoded.
    package var tagging: String?

    /// The defaults for a location.
    package init(location: S3Location, endpoint: S3Endpoint? = nil, region: String = "us-east-1") {
        self.location = location
        self.endpoint = endpoint
        self.region = region
    }

    /// How to connect.
    package var transport: CurlTransportConfiguration {
        CurlTransportConfiguration(
            authorities: authorities, maximumConnections: maximumConnections, stallSeconds: stallSeconds)
    }

    /// Flags that stand above the environment; nil where the user said nothing.
    package struct Flags: Sendable {
        package var endpoint: String?
        package var region: String?
        package var profile: String?
        package var usesPathStyle: Bool?
        package var authoritiesFile: String?
        /// Keys given by the caller; never from a command line.
        package var credentials: AWSCredentials?

        package init() {}
    }

    /// The configuration for a location: flags, then environment, then the profile's settings, then defaults.
    ///
    /// Reads the shared configuration files (on a thread of its own). Throws `.invalidArgument` for settings that make
    /// no sense and `.failed` for files that cannot be read.
    package static func resolve(
        _ location: S3Location, flags: Flags = Flags(), environment: [String: String]
    ) async throws(ObjectStorageError) -> S3Configuration {
        let settings = try await AWSSettings.load(profile: flags.profile, environment: environment)
        var configuration = S3Configuration(location: location)
        if let region = flags.region ?? settings.region { configuration.region = region }
        guard isRegion(configuration.region) else {
            throw ObjectStorageError(
                .invalidArgument,
                "\(String(reflecting: configuration.region)) is no region; set AWS_REGION, say, to us-east-1")
        }
        if let text = flags.endpoint ?? settings.endpoint(of: "S3") {
            configuration.endpoint = try S3Endpoint.parse(text)
        }
        configuration.usesPathStyle = flags.usesPathStyle ?? settings.usesPathStyle
        configuration.usesFIPS = settings.flag("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint")
        configuration.usesDualStack = settings.flag("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint")
        if let file = flags.authoritiesFile ?? settings.authoritiesFile { configuration.authorities = .file(file) }
        return configuration
    }

    /// Whether `text` can be a region's name: it becomes part of hosts' names and signatures.
    package static func isRegion(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count) && text.utf8.allSatisfy(isLabel)
    }

    private static func isLabel(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
