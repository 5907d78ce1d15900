internal import Basics
internal import ObjectStorage

/// What the environment and the user's profile say ("AWS SDKs and Tools Reference Guide", settings reference).
struct AWSSettings: Sendable {
    let environment: [String: String]
    /// All profiles by name.
    let profiles: [String: [String: String]]
    /// The profile in force.
    let profileName: String
    /// Whether the user named it, by flag or `AWS_PROFILE`.
    let isProfileNamed: Bool

    /// Reads the profile files that the environment points to. Throws `.failed` when one is there but unreadable.
    static func load(profile: String?, environment: [String: String]) async throws(ObjectStorageError) -> AWSSettings {
        let home = environment["HOME"]
        let configPath = environment["AWS_CONFIG_FILE"] ?? home.map { "\($0)/.aws/config" }
        let credentialsPath = environment["AWS_SHARED_CREDENTIALS_FILE"] ?? home.map { "\($0)/.aws/credentials" }
        let config = try await SmallFile.readIfPresent(expand(configPath, home))
        let credentials = try await SmallFile.readIfPresent(expand(credentialsPath, home))
        let named = profile ?? environment["AWS_PROFILE"].flatMap { $0.isEmpty ? nil : $0 }
        return AWSSettings(
            environment: environment, profiles: AWSProfileFile.profiles(config: config, credentials: credentials),
            profileName: named ?? "default", isProfileNamed: named != nil)
    }

    private static func expand(_ path: String?, _ home: String?) -> String? {
        guard let path, path.hasPrefix("~/"), let home else { return path }
        return home + path.dropFirst(1)
    }

    /// The settings of the profile in force.
    var profile: [String: String] { profiles[profileName] ?? [:] }

    /// A variable that is set and not empty.
    func variable(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }

    var region: String? { variable("AWS_REGION") ?? variable("AWS_DEFAULT_REGION") ?? profile["region"] }

    /// The endpoint set for a service (`S3`, `STS`); nil: Amazon's.
    func endpoint(of service: String) -> String? {
        if flag("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "ignore_configured_endpoint_urls") { return nil }
        return variable("AWS_ENDPOINT_URL_\(service)") ?? variable("AWS_ENDPOINT_URL")
            ?? profile["\(service.lowercased()).endpoint_url"] ?? profile["endpoint_url"]
    }

    /// A yes-or-no setting, by variable or profile.
    func flag(_ name: String, _ setting: String) -> Bool {
        (variable(name) ?? profile[setting])?.lowercased() == "true"
    }

    /// `s3 = addressing_style = path|virtual|auto` of the profile.
    var usesPathStyle: Bool? {
        switch profile["s3.addressing_style"] {
        case "path": true
        case "virtual": false
        default: nil
        }
    }

    var authoritiesFile: String? {
        variable("AWS_CA_BUNDLE") ?? profile["ca_bundle"] ?? variable("SSL_CERT_FILE")
    }
}
