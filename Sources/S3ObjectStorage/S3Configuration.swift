package import HTTPTransport
package import ObjectStorage

/// Which extra checksum goes with each upload.
package enum S3ChecksumOption: String, Sendable, CaseIterable {
    /// None, except where the store demands one (Object Lock): then SHA-256, or MD5 for stores that know no other.
    case auto
    case crc32c
    case sha256
    case md5
    case none
}

/// All that an S3 store needs to know. `S3Configuration.resolve` fills it from flags, environment and profile.
package struct S3Configuration: Sendable {
    package var location: S3Location
    /// Nil: Amazon's for the region.
    package var endpoint: S3Endpoint?
    package var region: String
    /// Nil decides by itself: the bucket's name stands in the host's name on Amazon, in the path for endpoints given,
    /// addresses, and names with dots.
    package var usesPathStyle: Bool?
    package var usesFIPS = false
    package var usesDualStack = false
    /// PEM file of the authorities to believe; nil means the system's.
    package var authoritiesFile: String?
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
            authorities: authoritiesFile.map { .file($0) } ?? .system, maximumConnections: maximumConnections,
            stallSeconds: stallSeconds)
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
        guard !configuration.region.isEmpty, configuration.region.utf8.allSatisfy(isLabel) else {
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
        configuration.authoritiesFile = flags.authoritiesFile ?? settings.authoritiesFile
        return configuration
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
