internal import Basics
internal import Orchestration

/// What the ConfigMaps of `becalm.io/volume-backup`, `-restore` and `-delete`, and of `becalm.io/quiesce`, say of the repository that claims' data goes
/// to, and of the pods that move it.
struct MoverConfiguration: Sendable {
    /// The repository, and how this process opens it.
    var repository: VolumesConfiguration
    /// How the pods are made.
    var movers: MoverSettings

    private static let repositoryKeys = [
        "repository", "repositoryKeyFile", "repositoryPasswordFile", "repositoryKeySecret", "repositoryPasswordSecret",
        "createRepository", "region", "s3Url", "s3ForcePathStyle", "profile", "credentialsFile", "caCert", "memory",
        "cacheDirectory",
    ]
    /// Settings of the actions that may share one ConfigMap with four labels.
    private static let siblingKeys = [
        "volumes", "shards", "source", "snapshotTimeout", "snapshotReadyTimeout", "ephemeralClaims", "resources",
        "mode",
        "consistency", "timeout", "deadline", "stopTimeout",
    ]

    /// Nil where no repository is named. Throws `invalidArgument` for what makes no sense.
    init?(_ configuration: inout PluginConfiguration, _ environment: PluginEnvironment) throws(VeleroError) {
        var values: [String: String] = [:]
        for key in Self.repositoryKeys { values[key] = configuration.text(key) }
        let image = configuration.text("moverImage")
        let settings = configuration.text("moverSettings")
        for key in Self.siblingKeys { _ = configuration.text(key) }
        guard !values.isEmpty || image != nil || settings != nil else { return nil }
        repository = try VolumesConfiguration(ofMovers: values, source: configuration.source, environment)
        movers = MoverSettings()
        if let settings {
            do throws(JourneyError) {
                movers = try MoverSettings(
                    parsing: Array(settings.utf8), source: "\(configuration.source): moverSettings")
            } catch {
                throw VeleroError(.invalidArgument, error.message, cause: error)
            }
        }
        if let image { movers.image = image }
        guard !movers.image.isEmpty else {
            throw VeleroError(
                .invalidArgument,
                "\(configuration.source): `moverImage` is missing: name an image that has becalm in its PATH")
        }
    }

    /// How movers get at the repository: with what this process has. Reads files of this pod.
    func access(_ environment: PluginEnvironment) async throws -> MoverAccess {
        guard case .s3(let location) = repository.place else {
            throw VeleroError(.invalidArgument, "movers reach no directory of this pod: name a repository at s3://")
        }
        let s3 = repository.s3
        var access = MoverAccess(
            repository: "\(location)", endpoint: s3.url, region: s3.region, usesPathStyle: s3.usesPathStyle)
        if s3.credentialsFile == nil {
            for name in MoverAccess.variables { access.environment[name] = environment.variable(name) }
        }
        if let profile = s3.profile { access.environment["AWS_PROFILE"] = profile }
        if let pem = s3.caCert {
            access.files["ca.pem"] = Array(pem.utf8)
        } else if let bundle = environment.variable("AWS_CA_BUNDLE") {
            access.files["ca.pem"] = try await KeyFile.read(
                bundle, "the certificates in AWS_CA_BUNDLE", maximumBytes: MoverAccess.maximumBytes)
        }
        if access.files["ca.pem"] != nil { access.environment["AWS_CA_BUNDLE"] = MoverAccess.file("ca.pem") }
        guard access.environment["AWS_ACCESS_KEY_ID"] == nil else { return access }
        if let file = s3.credentialsFile ?? environment.variable("AWS_SHARED_CREDENTIALS_FILE") {
            access.files["credentials"] = try await KeyFile.read(file, "the credentials file")
            access.environment["AWS_SHARED_CREDENTIALS_FILE"] = MoverAccess.file("credentials")
        }
        return access
    }
}
