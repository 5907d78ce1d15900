package import ArgumentParser
package import Orchestration
internal import Repository
internal import RepositoryFormat
package import Snapshots

/// `becalm restore`
package struct RestoreCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Bring a snapshot back.",
        discussion: """
            A snapshot is named by the beginning of its id, 'latest', or 'latest:SOURCE' with a source's path or last \
            component. What was backed up as './run42' comes back as TARGET/run42. Every byte is checked. Nothing that \
            exists is touched without '--overwrite' or '--resume'.

            In a pattern '*' and '?' stay within a name, '**' crosses directories, '[a-z]' is one of these, and a \
            backslash takes the next character as it is. One without '/' fits names anywhere; one with '/' is matched \
            from the snapshot's root.

            '--from run42/config' brings what is in that directory into the target itself, as if it were the snapshot's \
            root. An empty 'lost+found' of a file system that is mounted at the target is in nobody's way.

            Where the target is a block device, what was on a device is written onto it: the only one in the snapshot, or \
            the file that '--from' names. It must be as large, must not be mounted or held by something else, and is \
            overwritten only with '--overwrite' or '--resume'. What is there is read and only what differs is written, \
            but with '--overwrite always'. Into a directory it comes back as a file of its size, with holes for zeros.

            What commits a checkpoint, and what says which one a job resumes from, is written after everything else: an \
            interrupted restore leaves no checkpoint that only looks whole, and one of which a file is damaged does not \
            count as committed. A checkpoint that was torn when it was backed up gets another name, such as \
            'checkpoint-20.torn', so that no job resumes from it; '--as-stored' leaves it its own.

            '--checkpoint latest' brings back the newest complete checkpoint and what it needs to be resumed from, \
            '--checkpoint 2000' the one of that step: its own files, those that lie beside it in the run's directory and \
            belong to no other, and what names it to the job. The exit code is 21 when it is torn. Among the \
            checkpoints of several runs '--include' chooses.

            Damaged files are named and everything else is restored; the exit code is 13. It is 3 when files could not \
            be written, or when no pattern fits anything. Owners and attributes that this system does not take are \
            named and are no failure.

            EXAMPLE:
              $ becalm restore latest:run42 --target /tmp/back --verify
              $ becalm restore latest:run42 --target /tmp/back --checkpoint latest
              $ becalm restore latest:run42 --from run42 --target /mnt/volume --verify
              $ becalm restore latest:vdb --target /dev/vdc --overwrite if-changed --verify
              $ becalm restore latest:run42 --to-cluster --mover-image registry.example/becalm:1
              $ becalm restore 3f8a --target . --include 'run42/config/**' --overwrite if-changed
            """)

    @OptionGroup package var global: GlobalOptions

    @Argument(help: "Which snapshot.")
    package var snapshot: String

    @Option(
        name: [.short, .long],
        help: ArgumentHelp(
            "Directory to restore into, made when it is missing; or a block device.", valueName: "directory"),
        completion: .file())
    package var target: String?

    @OptionGroup(title: "Into a cluster") package var workload: WorkloadRestoreArguments

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Restore what is in this directory of the snapshot, into the target itself.", valueName: "path"))
    package var from: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Restore only what matches, directories with all they hold; may be repeated.", valueName: "pattern"))
    package var include: [String] = []

    @Option(
        name: .long,
        help: ArgumentHelp("Restore one checkpoint and what it needs: 'latest' or its step.", valueName: "step"))
    package var checkpoint: CheckpointChoice?

    @Flag(name: .long, help: "Leave torn checkpoints their own names.")
    package var asStored = false

    @Option(
        name: .long,
        help: ArgumentHelp(
            """
            What to do with files that exist: always (write anew), if-changed (write only what differs), never (leave \
            them).
            """, valueName: "how"))
    package var overwrite: RestoreRequest.Overwrite?

    @Flag(name: .long, help: "Go on with an interrupted restore into the same target.")
    package var resume = false

    @Flag(name: .long, help: "Read every file back afterwards and compare its SHA-256.")
    package var verify = false

    @Flag(name: .long, help: "Write to a device although it is mounted, or something else holds it.")
    package var force = false

    @Flag(name: .long, help: "Set owners by number, not by name.")
    package var numericOwners = false

    package init() {}

    package func run(in context: CommandContext) async throws -> ExitStatus {
        if workload.toCluster {
            guard target == nil else {
                throw JourneyError.usage("give --target with a directory of this machine, or --to-cluster, not both")
            }
            return try await workload.run(snapshot, global, context)
        }
        guard let target, !target.isEmpty else {
            throw JourneyError.usage("--target names no directory: give it one, or --to-cluster")
        }
        let repository = try await RepositorySession(global, context).open(.reading)
        let listed = try await InspectionJourney(repository: repository).snapshot(snapshot)
        let request = RestoreRequest(
            snapshot: listed.id, from: SnapshotTree.components(of: Array((from ?? "").utf8)),
            target: context.path(target), includes: include, checkpoint: checkpoint, overwrite: overwrite,
            resume: resume,
            verify: verify, numericOwners: numericOwners, setsAside: !asStored, writesInUse: force)
        let progress = OperationProgress()
        let result = try await context.endingCleanly(progress, verb: "restoring", global) {
            try await RestoreJourney(repository: repository, request: request, progress: progress).run()
        }
        if let problems = listed.manifest?.problems, !problems.isEmpty {
            context.warn(
                "the snapshot is partial: it lacks \(Format.count(UInt64(problems.count), "thing")) that could not be read when it was made; 'becalm show' names them",
                kind: "partial", global)
        }
        report(result, context)
        return RestoreJourney.status(result)
    }

    private func report(_ result: RestoreResult, _ context: CommandContext) {
        for pattern in result.unmatched {
            context.warn(
                "nothing in snapshot \(result.snapshot.description.prefix(12)) fits --include '\(pattern)': 'becalm show -R' lists what there is",
                kind: "unmatched", global, [.init("pattern", .string(pattern))])
        }
        for aside in result.setAside {
            context.output.emit(
                "set_aside",
                [
                    .init("path", .string(aside.path)), .init("new_path", .string(aside.newPath)),
                    .init("reasons", .strings(aside.reasons)),
                ])
            guard context.output.mode == .text else { continue }
            let reason = aside.reasons.first.map { ": \($0)" } ?? ""
            context.console.say(
                Console.oneLine("becalm: set aside: \(aside.path) is torn and is now \(aside.newPath)\(reason)"))
        }
        for (kind, notes) in [("damaged", result.damaged), ("failed", result.failed), ("remark", result.remarks)] {
            for note in notes {
                context.output.emit(
                    kind, [.init("path", .string(note.path)), .init("message", .string(note.message))])
                guard context.output.mode == .text, !(kind == "remark" && global.quiet) else { continue }
                let text = PathText.about(note.path, note.message)
                context.console.say(Console.oneLine("becalm: \(kind == "remark" ? "" : "\(kind): ")\(text)"))
            }
        }
        context.output.summary(
            [
                .init("snapshot", .string("\(result.snapshot)")),
                .init("content_digest", .optional(result.contentDigest)),
                .init("checkpoint", .optional(result.checkpoint)),
                .init("files", .unsigned(result.files)), .init("bytes_written", .unsigned(result.bytesWritten)),
                .init("skipped", .unsigned(result.skipped)),
                .init("verified", result.verified.map { .unsigned($0) } ?? .null),
                .init("damaged", .unsigned(UInt64(result.damaged.count))),
                .init("failed", .unsigned(UInt64(result.failed.count))),
                .init("set_aside", .unsigned(UInt64(result.setAside.count))),
                .init("remarks", .unsigned(UInt64(result.remarks.count))),
                .init("duration_seconds", .number(result.durationSeconds)),
            ],
            text: """
                restored \(Format.count(result.files, "file")) of \
                \(result.checkpoint.map { "\(Console.oneLine($0)) in " } ?? "")snapshot \(result.snapshot), \
                \(Format.bytes(result.bytesWritten)) written, in \(Format.duration(result.durationSeconds))
                """ + (result.skipped > 0 ? "\n\(Format.count(result.skipped, "file")) left as found" : "")
                    + (result.setAside.isEmpty
                        ? "" : "\n\(Format.count(UInt64(result.setAside.count), "torn checkpoint")) set aside")
                    + (result.verified.map { "\n\(Format.count($0, "file")) read back and compared" } ?? "")
                    + (result.contentDigest.map { "\ncontent digest \($0)" } ?? ""))
    }
}

extension RestoreRequest.Overwrite: ExpressibleByArgument {}

extension CheckpointChoice: ExpressibleByArgument {
    package init?(argument: String) { self.init(argument) }
}
