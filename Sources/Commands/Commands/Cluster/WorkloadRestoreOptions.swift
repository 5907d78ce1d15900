package import ArgumentParser

/// What 'becalm restore --to-cluster' takes.
package struct WorkloadRestoreOptions: ParsableArguments, Sendable {
    @OptionGroup(title: "Workloads of a cluster") package var cluster: ClusterOptions
    @OptionGroup(title: "Workloads of a cluster") package var movers: MoverArguments

    @Option(
        name: .long,
        help: ArgumentHelp("To a cluster: another name for the workload's namespace.", valueName: "old:new"))
    package var namespaceMapping: [String] = []

    @Option(
        name: .long,
        help: ArgumentHelp(
            "To a cluster: another storage class for claims; an empty NEW means the default one; may be repeated.",
            valueName: "old:new"))
    package var storageClass: [String] = []

    package init() {}
}
