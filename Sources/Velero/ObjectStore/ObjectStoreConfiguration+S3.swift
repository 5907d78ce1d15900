internal import Basics
internal import HTTPTransport
internal import ObjectStorage
internal import S3ObjectStorage
internal import SystemPackage

extension ObjectStoreConfiguration {
    /// Requests under way at once, of all calls of a process together: two parts or three ranges for each of several streams.
    private static let maximumConnections = 16

    /// The variables that decide on credentials, as Velero's plugin for AWS has them: a credentials file, the location's or
    /// the server's, is read as credentials and as settings, and hides the pod's web identity.
    func credentialVariables(_ environment: PluginEnvironment) -> [String: String] {
        var variables = environment.variables
        guard let file = credentialsFile ?? environment.variable("AWS_SHARED_CREDENTIALS_FILE") else {
            return variables
        }
        variables["AWS_SHARED_CREDENTIALS_FILE"] = file
        variables["AWS_CONFIG_FILE"] = file
        for name in ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME"] { variables[name] = nil }
        return variables
    }

    /// What stands above the environment.
    var flags: S3Configuration.Flags {
        var flags = S3Configuration.Flags()
        flags.region = region
        flags.profile = profile
        flags.endpoint = endpoint?.description
        return flags
    }

    /// The S3 store's settings for the location's bucket. Reads the shared configuration files, and sends nothing.
    func storeConfiguration(
        _ variables: [String: String], customerKey: [UInt8]?
    ) async throws(VeleroError) -> S3Configuration {
        var configuration: S3Configuration
        do throws(ObjectStorageError) {
            configuration = try await S3Configuration.resolve(
                S3Location(bucket: bucket), flags: flags, environment: variables)
        } catch {
            throw VeleroError(error)
        }
        configuration.guessesRegion = region == nil && configuration.endpoint == nil
        if configuration.guessesRegion { configuration.region = "us-east-1" }
        configuration.publicEndpoint = publicEndpoint
        configuration.usesPathStyle = forcesPathStyle
        configuration.maximumConnections = Self.maximumConnections
        configuration.keyRule = .any
        configuration.checksum = checksum
        configuration.tagging = tagging
        if let authorities { configuration.authorities = .systemAnd(pem: authorities) }
        if !verifiesTLS { configuration.authorities = .anyone }
        if let kmsKeyID {
            configuration.serverSideEncryption = "aws:kms"
            configuration.encryptionKeyID = kmsKeyID
        } else if let customerKey {
            configuration.customerKey = S3CustomerKey(customerKey)
            guard configuration.customerKey != nil else {
                throw Self.invalid(
                    "the customer key for the server's encryption has \(customerKey.count) bytes; it must have \(S3CustomerKey.size)"
                )
            }
        } else {
            configuration.serverSideEncryption = serverSideEncryption
        }
        return configuration
    }

    /// Throws `invalidArgument` when the location's own credentials file is not there.
    func checkCredentialsFile() async throws(VeleroError) {
        guard let credentialsFile else { return }
        do throws(VeleroError) {
            _ = try await KeyFile.read(credentialsFile, "the credentials file", maximumBytes: 1 << 20)
        } catch {
            throw VeleroError(
                .invalidArgument, "\(error.message); check the location's spec.credential and its Secret",
                cause: error.cause)
        }
    }
}
