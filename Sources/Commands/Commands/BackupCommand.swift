package import ArgumentParser
internal import Basics
package import ObjectStorage
package import Orchestration
internal import Repository
package import RepositoryFormat
internal import Snapshots
internal import Workloads

/// `becalm backup`
package struct BackupCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Take a snapshot of directories and files.",
        discussion: """
            Each path is stored under its last component. Only what no earlier snapshot holds is stored. An \
            interrupted backup is gone on with by running it again. Sources that cannot be read or change meanwhile \
            are named; the snapshot is made all the same, and the exit code is 3.

            A job may be running and saving. Checkpoints are judged as they are read: complete ones are taken; what is being \
            written, or was removed while it was read, is left out and named, and the next backup takes it. So are \
            unfinished downloads, locks and tokens in a Hugging Face cache. A torn checkpoint that has not changed for a \
            quarter of an hour is stored as it is, and a restore sets it aside.

            A block device that is named, by itself or by a symbolic link, is read from its first byte to its last, and is \
            in the snapshot as a file of its size: 'becalm restore' writes it onto a device again, or makes a file of it. \
            All of it is read each time; pieces of 1 MiB that the repository has, and zeros, are not stored. Have nobody \
            write to it meanwhile: unmount it, or name a snapshot of it.

            A pattern without '/' leaves out names anywhere; one with '/' is matched from the snapshot's root. '*' and \
            '?' stay within a name, '**' crosses directories, '[a-z]' is one of these, and a backslash takes the next \
            character as it is.

            With '--workload' a workload of a cluster is backed up: brought to a standstill as 'becalm quiesce' does it, \
            its objects and what they refer to taken down as Velero lays them out, its volumes read by pods of its \
            namespace, all in one snapshot, and let go. With paths and '--workload host/pid/NAME' they are read while that \
            process of this machine is held. The exit code is 20 when it did not stand still in time, 21 when it wrote no \
            checkpoint that is complete, 11 when somebody else holds it.

            EXAMPLE:
              $ becalm backup ./run42 --tag nightly --exclude '*.tmp'
              $ becalm backup /dev/vg0/data-snapshot
              $ becalm backup ./run42 --workload host/pid/4242 --checkpoint-signal USR1
              $ becalm backup --workload train/pytorchjob/run42 --mover-image registry.example/becalm:1
            """)

    @OptionGroup package var global: GlobalOptions

    @Argument(help: ArgumentHelp("What to back up.", valueName: "path"), completion: .file())
    package var paths: [String] = []

    @OptionGroup(title: "A workload of a cluster") package var workload: WorkloadBackupArguments

    @Option(name: .long, help: ArgumentHelp("Leave out what matches; may be repeated.", valueName: "pattern"))
    package var exclude: [String] = []

    @Option(
        name: .long,
        help: ArgumentHelp("Leave out what matches a line of the file; '#' begins a comment.", valueName: "file"),
        completion: .file())
    package var excludeFile: [String] = []

    @Option(name: .long, help: ArgumentHelp("Mark the snapshot; may be repeated.", valueName: "text"))
    package var tag: [String] = []

    @Option(name: .long, help: ArgumentHelp("Name of this machine in the snapshot.", valueName: "name"))
    package var host: String?

    @Flag(name: .long, help: "Do not descend into other file systems.")
    package var oneFileSystem = false

    @Flag(
        name: .long,
        help: "Take files that are named for images of disks: in pieces of 1 MiB, as devices are.")
    package var asDevice = false

    @Flag(
        name: .customLong("no-file-digests"),
        help: "Compute no SHA-256 of each file: faster, but nothing for outsiders to check against.")
    package var noFileDigests = false

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Let nobody remove the stored objects for so long (S3 Object Lock): 30d.", valueName: "time"))
    package var lockFor: TimeSpan?

    @Option(
        name: .long,
        help: ArgumentHelp("How firmly '--lock-for' holds.", valueName: "mode"))
    package var lockMode: Retention.Mode = .governance

    @Option(
        name: .long,
        help: ArgumentHelp(
            """
            Store tensors as the difference to the same tensors of an earlier state where that pays: auto (the last \
            snapshot of these paths, or another checkpoint in them that the repository has), off, or the snapshot to take.
            """, valueName: "which"))
    package var delta = "auto"

    @Flag(
        name: .long,
        help: "Fail, with exit code 21 and before anything is stored, where a checkpoint is not complete.")
    package var requireComplete = false

    @Option(
        name: .long,
        help: ArgumentHelp("Take only this share of the files: 2/3.", valueName: "share", visibility: .hidden))
    package var shard: Shard?

    package init() {}

    package mutating func validate() throws {
        let reference = workload.workload.flatMap { try? WorkloadReference(parsing: $0) }
        let isHost = reference?.isHost ?? false
        guard isHost || paths.isEmpty != (workload.workload == nil) else {
            throw ValidationError(
                paths.isEmpty
                    ? "Name what to back up."
                    : "Give paths of this machine, or '--workload', not both; host/pid/NAME goes with paths.")
        }
        guard !isHost || !paths.isEmpty else {
            throw ValidationError("Name what to back up: the paths that the process writes to.")
        }
        guard isHost || !workload.processes.isGiven else {
            throw ValidationError(
                "'--pid-file', '--checkpoint-directory' and '--start-command' go with '--workload host/pid/NAME'.")
        }
        guard !paths.contains("") else { throw ValidationError("An empty path names nothing.") }
        guard !tag.contains("") else { throw ValidationError("An empty tag marks nothing.") }
        guard lockFor.map({ $0.seconds > 0 }) ?? true else { throw ValidationError("'--lock-for' takes a time.") }
    }

    package func run(in context: CommandContext) async throws -> ExitStatus {
        let process = try workload.workload.map { try JourneyError.reference($0) }.flatMap { $0.isHost ? $0 : nil }
        if let name = workload.workload, process == nil {
            return try await workload.run(
                name, host: host ?? SystemFiles.hostName, tags: tag, global, context)
        }
        let session = RepositorySession(global, context)
        let sources = paths.map { context.path($0) }
        let excludes = try await self.excludes(context)
        if case .directory(let repository) = try session.location {
            try await SourceGuard(repository: repository, excludes: excludes).check(sources)
        }
        let repository = try await session.open(
            .writing(to: "back up"),
            retention: lockFor.map { RepositoryOptions.RetentionPolicy(mode: lockMode, seconds: $0.seconds) })
        let bases: BackupRequest.Bases
        switch delta {
        case "auto": bases = .parent
        case "off": bases = .none
        default: bases = .snapshot(try await InspectionJourney(repository: repository).snapshot(delta).id)
        }
        let request = BackupRequest(
            paths: sources, host: host ?? SystemFiles.hostName, user: SystemFiles.userName, tags: tag,
            excludes: excludes, fileDigests: !noFileDigests, oneFileSystem: oneFileSystem, readsAsDevices: asDevice,
            bases: bases, requiresComplete: requireComplete, shard: shard, program: Version.program)
        let progress = OperationProgress()
        if let process { return try await back(up: process, repository, request, progress, context) }
        let result = try await context.endingCleanly(progress, verb: "backing up", global) {
            try await BackupJourney(repository: repository, request: request, progress: progress).run()
        }
        report(result, context)
        return result.isPartial ? .partial : .done
    }

    /// Backs the paths up while a process of this machine is held.
    private func back(
        up process: WorkloadReference, _ repository: Repository, _ request: BackupRequest,
        _ progress: OperationProgress, _ context: CommandContext
    ) async throws -> ExitStatus {
        let quiesce = QuiesceReport(context, global)
        let common = try await workload.quiescing.options(holder: ClusterOptions.holder(unique: true), context)
        let plan = try await workload.processes.plan(process, common, paths: request.paths, context) {
            quiesce.tell($0)
        }
        // A signal cancels this task: the process is let go before it returns.
        let (result, record) = try await context.withProgress(progress, verb: "backing up", noun: "file", global) {
            try await HostBackupJourney(
                repository: repository, request: request, workload: plan.workload, quiescer: plan.quiescer,
                progress: progress
            ).run()
        }
        report(result, context, record)
        return result.isPartial ? .partial : .done
    }

    private func excludes(_ context: CommandContext) async throws -> [String] {
        let files = excludeFile.map { context.path($0) }
        let lines = try await BlockingBridge.offload(name: "becalm-files") {
            Result {
                try files.flatMap { file in
                    let content = try SystemFiles.read(file, what: "the file of patterns", maximumBytes: 16 << 20)
                    return String(decoding: content, as: UTF8.self).split(whereSeparator: \.isNewline).map(String.init)
                }
            }
        }
        return exclude + lines.filter { !$0.isEmpty && !$0.hasPrefix("#") }
    }

    private func report(_ inventory: StateInventory, _ context: CommandContext) {
        for entry in inventory.leftOut {
            context.output.emit(
                "left_out", [.init("path", .string(entry.path)), .init("message", .string(entry.message))])
            if context.output.mode == .text {
                context.console.say(Console.oneLine("becalm: left out \(entry.path): \(entry.message)"))
            }
        }
        guard context.output.mode == .text else { return }
        for state in inventory.states where state.judgement != "complete" && !state.reasons.isEmpty {
            context.console.say(
                Console.oneLine("becalm: \(state.path) is \(state.judgement): \(state.reasons.first ?? "")"))
        }
        if inventory.unlisted > 0 {
            context.console.say(
                "becalm: \(inventory.unlisted) more checkpoints, models or things left out are not listed")
        }
        for run in inventory.runs {
            for warning in run.warnings { context.console.say(Console.oneLine("becalm: \(run.path): \(warning)")) }
        }
    }

    private func report(_ result: BackupResult, _ context: CommandContext, _ record: QuiesceRecord? = nil) {
        let manifest = result.manifest
        for problem in manifest.problems {
            context.output.emit(
                "problem", [.init("path", .string(problem.path)), .init("message", .string(problem.message))])
            if context.output.mode == .text {
                context.console.say(Console.oneLine("becalm: \(PathText.about(problem.path, problem.message))"))
            }
        }
        report(manifest.inventory ?? StateInventory(), context)
        let states = manifest.inventory?.states ?? []
        let counters = result.counters
        let files = Format.count(manifest.totals.files, "file")
        context.output.summary(
            [
                .init("snapshot", .string("\(result.snapshot)")),
                .init("content_digest", .optional(manifest.contentDigest)),
                .init("files", .unsigned(manifest.totals.files)),
                .init("directories", .unsigned(manifest.totals.directories)),
                .init("bytes", .unsigned(manifest.totals.bytes)), .init("bytes_read", .unsigned(counters.bytesRead)),
                .init("bytes_new", .unsigned(counters.bytesNew)),
                .init("bytes_stored", .unsigned(counters.bytesStored)),
                .init("duration_seconds", .number(result.durationSeconds)),
                .init("problems", .unsigned(UInt64(manifest.problems.count))),
                .init("checkpoints", .array(states.map { .object(StateText.summary($0)) })),
            ] + (record.map(WorkloadReport.members) ?? []),
            text: """
                snapshot \(result.snapshot) of \(files), \(Format.bytes(manifest.totals.bytes))
                \(Format.bytes(counters.bytesNew)) new, \(Format.bytes(counters.bytesStored)) stored, in \
                \(Format.duration(result.durationSeconds))
                """
                    + (manifest.contentDigest.map { "\ncontent digest \($0)" } ?? "")
                    + StateText.line(states) + (record.map { "\n" + WorkloadReport.lines($0) } ?? "")
                    + (result.isPartial
                        ? "\n\(Format.count(UInt64(manifest.problems.count), "problem")): see above" : ""))
    }
}

extension Retention.Mode: ExpressibleByArgument {}

extension Shard: ExpressibleByArgument {
    package init?(argument: String) { self.init(argument) }
}
