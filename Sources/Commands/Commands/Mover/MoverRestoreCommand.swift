package import ArgumentParser
package import Orchestration
internal import Repository
internal import Snapshots

/// `becalm mover restore`
package struct MoverRestoreCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "restore", abstract: "Write what a snapshot holds to the volume, and read it back.")

    @OptionGroup package var global: GlobalOptions
    @OptionGroup package var mover: MoverOptions
    @OptionGroup package var access: MoverAccessOptions

    @Option(name: .long, help: "Which snapshot.")
    package var snapshot: String

    @Option(name: .long, help: ArgumentHelp("The directory of the snapshot.", valueName: "path"))
    package var from: String

    package init() {}

    package func run(in context: CommandContext) async throws -> ExitStatus {
        try await mover.telling(context, global) {
            let (session, _, context) = try await access.session(global, context)
            let repository = try await session.open(.reading)
            let listed = try await InspectionJourney(repository: repository).snapshot(snapshot)
            // A mover that was killed is run again: what is there already is looked at and kept where it is right.
            let request = RestoreRequest(
                snapshot: listed.id, from: SnapshotTree.components(of: Array(from.utf8)),
                target: context.path(mover.volume),
                overwrite: .ifChanged, resume: true, verify: true, numericOwners: true)
            let progress = OperationProgress()
            let result = try await context.movingCleanly(progress) {
                try await RestoreJourney(repository: repository, request: request, progress: progress).run()
            }
            return Self.word(result)
        }
    }

    private static func word(_ result: RestoreResult) -> MoverResult {
        var word = MoverResult(RestoreJourney.status(result))
        word.snapshot = "\(result.snapshot)"
        word.contentDigest = result.contentDigest ?? ""
        (word.files, word.bytes) = (result.files, result.bytesWritten)
        word.verified = result.verified
        let notes = result.damaged + result.failed
        word.problems = UInt64(notes.count)
        word.remarks = (notes + result.remarks).prefix(20).map { PathText.about($0.path, $0.message) }
        word.remarks += result.setAside.prefix(10).map { "\($0.path) is torn and is now \($0.newPath)" }
        if word.status == .integrity {
            word.kind = "damaged"
            word.error = "\(result.damaged.count) files of the snapshot are damaged: \(word.remarks.first ?? "")"
        }
        return word
    }
}
