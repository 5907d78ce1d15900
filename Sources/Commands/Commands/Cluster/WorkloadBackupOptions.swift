package import ArgumentParser
package import Orchestration

/// What 'becalm backup --workload' takes beside what it is.
package struct WorkloadBackupOptions: ParsableArguments, Sendable {
    @OptionGroup(title: "Workloads of a cluster") package var cluster: ClusterOptions
    @OptionGroup(title: "Workloads of a cluster") package var quiescing: QuiesceArguments
    @OptionGroup(title: "Workloads of a cluster") package var movers: MoverArguments

    @Option(
        name: .long,
        help: ArgumentHelp(
            "With a workload: where its volumes are read: auto (from CSI snapshots where there are such), snapshot, live.",
            valueName: "where"))
    package var source = VolumeSource.auto

    @Flag(name: .long, help: "With a workload: take the Secrets that it names, too, readable for who can restore.")
    package var includeSecrets = false

    package init() {}
}

extension VolumeSource: ExpressibleByArgument {}
