package import ArgumentParser
internal import Basics
internal import Orchestration
internal import Snapshots

/// How movers are made, as options.
package struct MoverArguments: ParsableArguments, Sendable {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "With a cluster: the image that reads and writes volumes, with becalm in it. Default: BECALM_MOVER_IMAGE.",
            valueName: "image"))
    package var moverImage: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            """
            With a cluster: a YAML file with more about these pods: image, imagePullPolicy, imagePullSecrets, serviceAccount, \
            priorityClass, nodeSelector, tolerations, resources, labels, annotations, user, group, supplementalGroups, \
            seLinuxOptions, retries, startSeconds, deadlineSeconds, lifeSeconds, cacheSize, memory.
            """, valueName: "file"),
        completion: .file())
    package var moverSettings: String?

    package init() {}

    /// What they ask for.
    func settings(_ context: CommandContext) async throws -> MoverSettings {
        var settings = MoverSettings()
        if let moverSettings {
            let path = context.path(moverSettings)
            let text = try await BlockingBridge.offload(name: "becalm-files") {
                Result { try SystemFiles.read(path, what: "the settings of movers") }
            }
            settings = try MoverSettings(parsing: text, source: moverSettings)
        }
        if let image = moverImage ?? context.variable("BECALM_MOVER_IMAGE") { settings.image = image }
        return settings
    }

    /// How movers get at the repository: by what this process gets at it with. Throws a usage error for a directory, which
    /// pods do not see.
    static func access(_ session: RepositorySession) async throws -> MoverAccess {
        guard case .s3(let place) = try session.location else {
            throw JourneyError.usage(
                "pods of the cluster do not see the directory \(try session.location.text): use a repository at s3://BUCKET/PREFIX"
            )
        }
        let (context, options) = (session.context, session.options)
        var access = MoverAccess(
            repository: place, endpoint: options.endpoint, region: options.region, usesPathStyle: options.pathStyle)
        for name in MoverAccess.variables { access.environment[name] = context.variable(name) }
        if let bundle = context.variable("AWS_CA_BUNDLE") {
            access.files["ca.pem"] = try await read(context, bundle, "the certificates in AWS_CA_BUNDLE")
            access.environment["AWS_CA_BUNDLE"] = MoverAccess.file("ca.pem")
        }
        guard context.variable("AWS_ACCESS_KEY_ID") == nil else { return access }
        let shared =
            context.variable("AWS_SHARED_CREDENTIALS_FILE") ?? context.variable("HOME").map { "\($0)/.aws/credentials" }
        if let shared, SystemFiles.canonical(context.path(shared)) != nil {
            access.files["credentials"] = try await read(context, shared, "the credentials file")
            access.environment["AWS_SHARED_CREDENTIALS_FILE"] = MoverAccess.file("credentials")
        }
        return access
    }

    private static func read(_ context: CommandContext, _ path: String, _ what: String) async throws -> [UInt8] {
        let path = context.path(path)
        return try await BlockingBridge.offload(name: "becalm-files") {
            Result { try SystemFiles.read(path, what: what) }
        }
    }
}
