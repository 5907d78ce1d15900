internal import Logging
internal import ObjectStorage
internal import Orchestration
internal import S3ObjectStorage
internal import Snapshots
internal import SystemPackage

/// Builds the store of a location: the only place that knows which kinds there are.
package struct StoreFactory: Sendable {
    let options: GlobalOptions
    let environment: [String: String]
    let logger: Logger

    /// Opens the store; with `create` makes its directory, whose parent must be there. Throws what the stores throw.
    func open(_ location: RepositoryLocation, create: Bool) async throws -> OpenedStore {
        switch location {
        case .directory(let path): try await .directory(path, create: create)
        case .s3(let text): try await openS3(text)
        }
    }

    private func openS3(_ text: String) async throws -> OpenedStore {
        var flags = S3Configuration.Flags()
        flags.endpoint = options.endpoint
        flags.region = options.region
        flags.usesPathStyle = options.pathStyle
        let location = try S3Location.parse(text)
        let store = try await S3ObjectStore.open(location, flags: flags, environment: environment, logger: logger)
        return OpenedStore(
            store: store, identity: "\(location) at \(store.endpoint)",
            facts: [
                ("kind", "S3"), ("bucket", location.bucket), ("prefix", location.prefix), ("endpoint", store.endpoint),
                ("region", store.region), ("credentials", "\(store.credentialSource)"),
            ])
    }

    /// Throws a usage error unless the store can keep objects under retention, as far as it tells.
    func requireRetention(_ opened: OpenedStore) async throws {
        var canRetain = opened.store.capabilities.retention
        if canRetain, let bucket = opened.store as? S3ObjectStore { canRetain = try await bucket.readLockSupport() }
        guard !canRetain else { return }
        throw JourneyError(
            .usage, kind: "no_object_lock",
            "\(opened.store.location) cannot keep objects under retention: leave --lock-for out, or use a bucket that was made with Object Lock"
        )
    }
}
