package import Basics
package import HTTPTransport
package import Logging
package import ObjectStorage

/// Finds out where credentials are to come from: the first source that is configured counts. When that one fails, the
/// failure is told; a weaker source is never used in its place.
package struct CredentialChain: Sendable {
    private let settings: AWSSettings
    private let explicit: AWSCredentials?
    private let isProfileFlagged: Bool
    private let services: CredentialServices
    private let logger: Logger

    /// The provider for these flags and this environment. Throws `.invalidArgument` or `.expiredCredentials` when a
    /// source is configured but incomplete.
    package static func provider(
        flags: S3Configuration.Flags = S3Configuration.Flags(), environment: [String: String],
        transport: any HTTPTransport, clock: any WallClock = SystemWallClock(), logger: Logger = Logger(label: "s3")
    ) async throws(ObjectStorageError) -> any CredentialProvider {
        let settings = try await AWSSettings.load(profile: flags.profile, environment: environment)
        let region = flags.region ?? settings.region ?? "us-east-1"
        let services = CredentialServices(settings: settings, region: region, transport: transport, clock: clock)
        let chain = CredentialChain(
            settings: settings, explicit: flags.credentials, isProfileFlagged: flags.profile != nil,
            services: services, logger: logger)
        return try chain.choose()
    }

    private func choose() throws(ObjectStorageError) -> any CredentialProvider {
        if let explicit { return StaticCredentials(explicit) }
        // A profile asked for on the command line stands above keys that happen to be in the environment.
        if !isProfileFlagged {
            if let keys = try environmentKeys() { return StaticCredentials(keys, source: .environment) }
            if let file = settings.variable("AWS_WEB_IDENTITY_TOKEN_FILE") { return try webIdentity(file) }
        }
        if settings.isProfileNamed || settings.profiles["default"] != nil {
            if let provider = try profileProvider() { return provider }
        }
        if let request = try services.containerRequest() {
            let services = services
            return refreshing(.container(address: request.label)) { () async throws(ObjectStorageError) in
                try await services.container(request)
            }
        }
        guard settings.variable("AWS_EC2_METADATA_DISABLED")?.lowercased() != "true" else {
            throw ObjectStorageError(
                .expiredCredentials,
                "no credentials for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role")
        }
        let services = services
        return refreshing(.instanceMetadata) { () async throws(ObjectStorageError) in
            try await services.instanceMetadata()
        }
    }

    private func refreshing(
        _ source: CredentialSource, _ fetch: @escaping RefreshingCredentials.Fetch
    ) -> RefreshingCredentials {
        RefreshingCredentials(source: source, clock: services.clock, logger: logger, fetch: fetch)
    }

    private func environmentKeys() throws(ObjectStorageError) -> AWSCredentials? {
        let id = settings.variable("AWS_ACCESS_KEY_ID")
        let secret = settings.variable("AWS_SECRET_ACCESS_KEY")
        guard let id, let secret else {
            guard id == nil, secret == nil else {
                let missing = id == nil ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY"
                throw ObjectStorageError(
                    .expiredCredentials,
                    "one of the two keys in the environment is missing: set \(missing), or unset the other")
            }
            return nil
        }
        return AWSCredentials(
            accessKeyID: id, secretAccessKey: secret, sessionToken: settings.variable("AWS_SESSION_TOKEN"))
    }

    private func webIdentity(_ file: String) throws(ObjectStorageError) -> any CredentialProvider {
        guard let role = settings.variable("AWS_ROLE_ARN") else {
            throw ObjectStorageError(
                .expiredCredentials, "AWS_WEB_IDENTITY_TOKEN_FILE is set without AWS_ROLE_ARN: set the role to assume")
        }
        let services = services
        let session = settings.variable("AWS_ROLE_SESSION_NAME")
        return refreshing(.webIdentity(role: role, tokenFile: file)) { () async throws(ObjectStorageError) in
            try await services.assumeRoleWithWebIdentity(role: role, tokenFile: file, session: session, seconds: nil)
        }
    }

    // MARK: Profiles

    /// The provider of the profile in force; nil when an unnamed default profile holds no credentials at all.
    private func profileProvider() throws(ObjectStorageError) -> (any CredentialProvider)? {
        let name = settings.profileName
        guard settings.profiles[name] != nil else {
            throw ObjectStorageError(
                .expiredCredentials,
                "there is no profile \(name) in the AWS config and credentials files; write it or name another")
        }
        guard let (detail, fetch) = try fetcher(profile: name, seen: []) else {
            guard settings.isProfileNamed else { return nil }
            throw ObjectStorageError(
                .expiredCredentials,
                "profile \(name) has no credentials: it needs keys, role_arn, credential_process or web_identity_token_file"
            )
        }
        return refreshing(.profile(name: name, detail: detail), fetch)
    }

    /// How to get the credentials of a profile, and by which setting.
    private func fetcher(
        profile name: String, seen: [String]
    ) throws(ObjectStorageError) -> (detail: String, fetch: RefreshingCredentials.Fetch)? {
        guard let profile = settings.profiles[name] else {
            throw ObjectStorageError(
                .expiredCredentials, "profile \(seen.last ?? "") names the profile \(name), which is missing")
        }
        let services = services
        if let role = profile["role_arn"], !seen.contains(name) {
            return try roleFetcher(role, name, profile, seen: seen)
        }
        if let id = profile["aws_access_key_id"], let secret = profile["aws_secret_access_key"] {
            let keys = AWSCredentials(
                accessKeyID: id, secretAccessKey: secret, sessionToken: profile["aws_session_token"])
            return ("static keys", { () async throws(ObjectStorageError) in keys })
        }
        if profile["aws_access_key_id"] != nil || profile["aws_secret_access_key"] != nil {
            throw ObjectStorageError(.expiredCredentials, "profile \(name) has one key of the two; add the other")
        }
        if let command = profile["credential_process"] {
            let environment = settings.environment
            return (
                "credential_process",
                { () async throws(ObjectStorageError) in
                    try await CredentialProcess.run(
                        command, profile: name, environment: environment, clock: services.clock)
                }
            )
        }
        if profile.keys.contains(where: { $0.hasPrefix("sso_") }) {
            throw ObjectStorageError(
                .expiredCredentials,
                "profile \(name) signs in by SSO, which is not supported: set credential_process = aws configure export-credentials --profile \(name) in a profile of its own"
            )
        }
        return nil
    }

    private func roleFetcher(
        _ role: String, _ name: String, _ profile: [String: String], seen: [String]
    ) throws(ObjectStorageError) -> (detail: String, fetch: RefreshingCredentials.Fetch) {
        let services = services
        let session = profile["role_session_name"]
        let seconds = profile["duration_seconds"].flatMap { Int($0) }
        if profile["mfa_serial"] != nil {
            throw ObjectStorageError(
                .expiredCredentials,
                "profile \(name) wants a code of a second factor, which cannot be asked for here; use another")
        }
        if let file = profile["web_identity_token_file"] {
            return (
                "role \(role) by web identity",
                { () async throws(ObjectStorageError) in
                    try await services.assumeRoleWithWebIdentity(
                        role: role, tokenFile: file, session: session, seconds: seconds)
                }
            )
        }
        let base: RefreshingCredentials.Fetch
        if let source = profile["source_profile"] {
            guard !seen.contains(source) || source == name, seen.count < 8 else {
                throw ObjectStorageError(
                    .expiredCredentials,
                    "the profiles \((seen + [name, source]).joined(separator: ", ")) name each other in a circle")
            }
            guard let found = try fetcher(profile: source, seen: seen + [name]) else {
                throw ObjectStorageError(
                    .expiredCredentials, "profile \(source), which \(name) builds on, has no credentials")
            }
            base = found.fetch
        } else {
            base = try credentialSource(profile["credential_source"], name)
        }
        let externalID = profile["external_id"]
        return (
            "role \(role)",
            { () async throws(ObjectStorageError) in
                try await services.assumeRole(
                    role: role, with: try await base(), session: session, externalID: externalID, seconds: seconds)
            }
        )
    }

    private func credentialSource(_ source: String?, _ name: String) throws(ObjectStorageError)
        -> RefreshingCredentials.Fetch
    {
        let services = services
        switch source {
        case "Environment":
            guard let keys = try environmentKeys() else {
                throw ObjectStorageError(
                    .expiredCredentials, "profile \(name) builds on keys in the environment, which are not set")
            }
            return { () async throws(ObjectStorageError) in keys }
        case "Ec2InstanceMetadata":
            return { () async throws(ObjectStorageError) in try await services.instanceMetadata() }
        case "EcsContainer":
            guard let request = try services.containerRequest() else {
                throw ObjectStorageError(
                    .expiredCredentials,
                    "profile \(name) builds on the container's credentials, and AWS_CONTAINER_CREDENTIALS_FULL_URI is not set"
                )
            }
            return { () async throws(ObjectStorageError) in try await services.container(request) }
        default:
            throw ObjectStorageError(
                .expiredCredentials,
                "profile \(name) has a role_arn and needs source_profile, credential_source or web_identity_token_file")
        }
    }
}
