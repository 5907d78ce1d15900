package import Basics
package import Logging

/// The world as a plugin sees it: nothing in an action or a store looks past this.
package struct PluginEnvironment: Sendable {
    /// The Velero server's own variables.
    package var variables: [String: String]
    /// Writes to the log that Velero reads. An `error` makes the backup under way PartiallyFailed and a `warning` raises its
    /// count of warnings. An action logs an error where throwing it would leave an item out of a backup.
    package var logger: Logger
    package var clock: any WallClock
    /// Where ConfigMaps and the objects around an item are read.
    package var cluster: any ClusterSource
    /// What was logged once and need not be again.
    package let reported: ReportedMessages
    /// What is known of the workloads that backups hold.
    package let holds: HoldMemory

    /// With the cluster that `variables` name, unless another one is given.
    package init(
        variables: [String: String], logger: Logger, clock: any WallClock = SystemWallClock(),
        cluster: (any ClusterSource)? = nil, reported: ReportedMessages = ReportedMessages(),
        holds: HoldMemory = HoldMemory()
    ) {
        self.reported = reported
        self.holds = holds
        self.variables = variables
        self.logger = logger
        self.clock = clock
        self.cluster = cluster ?? KubernetesCluster(variables, logger: logger, clock: clock)
    }

    /// A variable that is set and not empty.
    package func variable(_ name: String) -> String? { variables[name].flatMap { $0.isEmpty ? nil : $0 } }

    /// Velero's own namespace, where its Secrets and the plugins' ConfigMaps are.
    package var namespace: String { variable("VELERO_NAMESPACE") ?? "velero" }
}
