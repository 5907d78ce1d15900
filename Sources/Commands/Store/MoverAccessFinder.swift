internal import Basics
internal import Orchestration
internal import Snapshots

/// Finds what movers in a cluster need to get at the repository as this process does.
struct MoverAccessFinder: Sendable {
    let session: RepositorySession

    /// Variables that mean the same in a pod.
    private static let variables = [
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION",
        "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
        "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT",
    ]

    /// The access. Credentials are those of the environment, else the shared files of credentials; where there are neither,
    /// movers use what their pods have, such as the role of their service account. Throws a usage error for a repository in
    /// a directory, which no pod has.
    func access() async throws -> MoverAccess {
        guard case .s3(let place) = try session.location else {
            throw JourneyError.usage(
                "a repository in a directory of this machine cannot be reached from a cluster: use one at s3://BUCKET/PREFIX"
            )
        }
        let (options, context) = (session.options, session.context)
        var access = MoverAccess(
            repository: place, endpoint: options.endpoint, region: options.region, usesPathStyle: options.pathStyle)
        for name in Self.variables { access.environment[name] = context.variable(name) }
        // A variable, and the file that is meant without it.
        var files = [("AWS_CA_BUNDLE", context.variable("AWS_CA_BUNDLE") ?? context.variable("SSL_CERT_FILE"), true)]
        if context.variable("AWS_ACCESS_KEY_ID") == nil {
            let home = context.variable("HOME").map { "\($0)/.aws/" }
            for (name, file) in [("AWS_SHARED_CREDENTIALS_FILE", "credentials"), ("AWS_CONFIG_FILE", "config")] {
                let named = context.variable(name)
                files.append((name, named ?? home.map { $0 + file }, named != nil))
            }
        }
        for (variable, path, isNamed) in files {
            guard let path, let content = try await read(path, isNamed: isNamed) else { continue }
            let entry = variable.lowercased()
            access.files[entry] = content
            access.environment[variable] = MoverAccess.file(entry)
        }
        return access
    }

    /// The file's content; nil for one that nobody has named and that is not there.
    private func read(_ path: String, isNamed: Bool) async throws -> [UInt8]? {
        let path = session.context.path(path)
        return try await BlockingBridge.offload(name: "becalm-files") {
            Result { () throws -> [UInt8]? in
                if !isNamed, SystemFiles.canonical(path) == nil { return nil }
                return try SystemFiles.read(path, what: "the file for movers")
            }
        }
    }
}
