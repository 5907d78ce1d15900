package import ArgumentParser
internal import Kubernetes
internal import Orchestration

/// Which cluster is meant.
package struct ClusterOptions: ParsableArguments, Sendable {
    @Option(
        name: .long,
        help: ArgumentHelp(
            """
            The cluster's configuration. Default: KUBECONFIG, the service account of the pod that this runs in, or \
            ~/.kube/config.
            """, valueName: "file"),
        completion: .file())
    package var kubeconfig: String?

    @Option(
        name: .long, help: ArgumentHelp("The context of the configuration, if not its current one.", valueName: "name"))
    package var context: String?

    package init() {}

    /// A client of the cluster; it connects when it is first asked for something.
    func client(_ context: CommandContext, _ options: GlobalOptions) async throws -> KubernetesClient {
        let path = kubeconfig.map { String(decoding: context.path($0), as: UTF8.self) }
        let configuration = try await KubernetesConfiguration.load(
            path: path, context: self.context, environment: context.environment)
        return KubernetesClient(configuration, clock: context.clock, logger: options.logger(context.console))
    }

    /// A client of the cluster; nil where it is not wanted, and where none is named and none is configured. Whoever names a
    /// namespace means a cluster.
    func clientIfConfigured(
        _ context: CommandContext, _ options: GlobalOptions, isWanted: Bool, namespace: String?
    ) async throws -> KubernetesClient? {
        guard isWanted else { return nil }
        do {
            return try await client(context, options)
        } catch let error as KubernetesError where error.code == .configuration {
            // What is named must be there.
            guard kubeconfig == nil, self.context == nil, namespace == nil, context.variable("KUBECONFIG") == nil else {
                throw error
            }
            return nil
        }
    }

    /// What is said after a result that is of this machine alone.
    static let noneConfigured = "; no cluster is configured, so only this machine was looked at"

    /// Who acts, for journals: `user@host`, and where each run is one of its own, its number.
    static func holder(unique: Bool) -> String {
        let name = "\(SystemFiles.userName)@\(SystemFiles.hostName)"
        return unique ? "\(name)-\(String(UInt32.random(in: 1...UInt32.max), radix: 16))" : name
    }
}
