package import ArgumentParser
internal import Orchestration
internal import Snapshots
internal import Workloads

/// What is said of a process of this machine, as options.
package struct HostArguments: ParsableArguments, Sendable {
    @Option(
        name: .long,
        help: ArgumentHelp("With host/pid/NAME: the file that holds the process's number.", valueName: "file"),
        completion: .file())
    package var pidFile: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "With host/pid/NAME: where its checkpoints are; may be repeated. For a backup, its paths.",
            valueName: "directory"),
        completion: .directory)
    package var checkpointDirectory: [String] = []

    @Option(
        name: .long,
        help: ArgumentHelp(
            #"With host/pid/NAME and the consistency stop: what starts it again, one word or ["systemctl","start","run42"]."#,
            valueName: "command"))
    package var startCommand: String?

    package init() {}

    package mutating func validate() throws {
        guard startCommand.map({ QuiescePolicy.command($0) != nil }) ?? true else {
            throw ValidationError("'--start-command' \(QuiescePolicy.Setting.checkpointCommand.form).")
        }
    }

    /// Whether any of them is given.
    var isGiven: Bool { pidFile != nil || startCommand != nil || !checkpointDirectory.isEmpty }

    /// A process that was found, and how it is quiesced.
    struct Plan {
        var workload: HostWorkload
        var directory: HostStateDirectory
        var quiescer: HostQuiescer
    }

    /// Finds the process that `reference` names. `paths` are looked at for its checkpoints where nobody says others. The
    /// options go before what a policy file says.
    func plan(
        _ reference: WorkloadReference, _ common: QuiesceOptions, paths: [[UInt8]] = [], _ context: CommandContext,
        report: @escaping @Sendable (QuiesceEvent) -> Void
    ) async throws -> Plan {
        let rule = common.policies?.rule(for: reference)
        var options = HostQuiesceOptions(common)
        if let rule { options.common.policy = common.policy.filled(from: rule.policy) }
        options.startCommand = startCommand.flatMap(QuiescePolicy.command) ?? rule?.startCommand ?? []
        options.directory = context.workingDirectory.map { String(decoding: $0, as: UTF8.self) } ?? "/"
        options.environment = context.environment
        options.clock = context.clock
        let directory = HostStateDirectory.standard(environment: context.environment)
        options.watcher = ["/proc/self/exe", HostWatchCommand.configuration.commandName ?? ""]
        let file = pidFile.map { String(decoding: context.path($0), as: UTF8.self) } ?? rule?.pidFile
        let workload = try HostFinder.find(reference, pidFile: file)
        var places = checkpointDirectory.map { context.path($0) }
        if places.isEmpty { places = (rule?.directories ?? []).map { Array($0.utf8) } }
        if places.isEmpty { places = paths }
        let quiescer = HostQuiescer(
            directory, options: options, observer: places.isEmpty ? nil : DirectoryObserver(places), report: report)
        return Plan(workload: workload, directory: directory, quiescer: quiescer)
    }
}
