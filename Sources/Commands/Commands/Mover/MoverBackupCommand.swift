package import ArgumentParser
package import Orchestration
internal import Repository
package import RepositoryFormat
internal import Snapshots

/// `becalm mover backup`
package struct MoverBackupCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "backup", abstract: "Take a snapshot of the volume.")

    @OptionGroup package var global: GlobalOptions
    @OptionGroup package var mover: MoverOptions
    @OptionGroup package var access: MoverAccessOptions

    @Option(name: .long, help: ArgumentHelp("What the volume is called in the snapshot.", valueName: "name"))
    package var host: String

    @Option(name: .long, help: ArgumentHelp("Mark the snapshot; may be repeated.", valueName: "text"))
    package var tag: [String] = []

    @Option(name: .long, help: ArgumentHelp("Take only this share of the files: 2/3.", valueName: "share"))
    package var shard: Shard?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Take only one share of so many: the one that JOB_COMPLETION_INDEX says, from 0, which an Indexed Job sets.",
            valueName: "number"))
    package var shards: Int?

    package init() {}

    package func validate() throws {
        guard shard == nil || shards == nil else { throw ValidationError("Give '--shard' or '--shards', not both.") }
    }

    /// Its share; nil for all of the volume. Throws where the share cannot be told: taking another's would go unseen.
    private func share(_ context: CommandContext) throws(JourneyError) -> Shard? {
        guard let shards else { return shard }
        let index = context.environment[MoverJob.indexVariable] ?? ""
        guard let number = Int(index), let share = Shard(index: number, count: shards) else {
            throw .usage(
                "\(MoverJob.indexVariable) is `\(index.prefix(20))`, which is no index of \(shards) shares: only an Indexed Job sets it"
            )
        }
        return share
    }

    package func run(in context: CommandContext) async throws -> ExitStatus {
        try await mover.telling(context, global) {
            let share = try share(context)
            let (session, _, context) = try await access.session(global, context)
            let repository = try await session.open(.writing(to: "back up"))
            let volume = context.path(mover.volume)
            let name = PathText.display(volume).split(separator: "/").last ?? ""
            let request = BackupRequest(
                paths: [volume], host: host, user: SystemFiles.userName, tags: tag,
                // A file system's own.
                excludes: ["/\(name)/lost+found"], oneFileSystem: true, shard: share, program: Version.program)
            let progress = OperationProgress()
            let result = try await context.movingCleanly(progress) {
                try await BackupJourney(repository: repository, request: request, progress: progress).run()
            }
            return Self.word(result)
        }
    }

    private static func word(_ result: BackupResult) -> MoverResult {
        let manifest = result.manifest
        var word = MoverResult(result.isPartial ? .partial : .done)
        word.snapshot = "\(result.snapshot)"
        word.contentDigest = manifest.contentDigest ?? ""
        (word.files, word.bytes) = (manifest.totals.files, manifest.totals.bytes)
        (word.bytesNew, word.bytesStored) = (result.counters.bytesNew, result.counters.bytesStored)
        word.problems = UInt64(manifest.problems.count)
        word.remarks = manifest.problems.prefix(20).map { PathText.about($0.path, $0.message) }
        word.remarks += (manifest.inventory?.leftOut ?? []).prefix(10).map { "left out \($0.path): \($0.message)" }
        return word
    }
}
