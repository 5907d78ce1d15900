package import ArgumentParser

/// `becalm mover`
package struct MoverCommand: ParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "mover",
        abstract: "What becalm runs in the pods that it makes to read and write volumes.",
        discussion: """
            'becalm backup --workload' and 'becalm restore --to-cluster' make Jobs whose pods run these commands with a volume \
            mounted; there is no need to run them by hand. The last word of each is a JSON object of at most 4 KiB in \
            the file that Kubernetes reads a container's termination message from.
            """,
        subcommands: [MoverBackupCommand.self, MoverRestoreCommand.self, MoverInspectCommand.self])

    package init() {}
}
