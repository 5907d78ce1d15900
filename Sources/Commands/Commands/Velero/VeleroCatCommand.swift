package import ArgumentParser
internal import Basics
package import Orchestration
internal import Velero

/// `becalm velero cat`
package struct VeleroCatCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "cat",
        abstract: "Print one object of a location, decrypted.",
        discussion: """
            The object is named as it lies below the location: 'becalm velero list BACKUP' prints such names. Bytes come \
            out as they are stored, compressed as Velero compresses them; what was printed before an error is \
            authentic, but not all.

            EXAMPLE:
              $ becalm velero cat backups/b1/b1-logs.gz --location s3://backups/prod --encryption-key-file key | zcat
            """)

    @OptionGroup package var global: GlobalOptions
    @OptionGroup package var place: VeleroLocationOptions

    @Argument(help: "The object's name below the location.")
    package var object: String

    package init() {}

    package func validate() throws {
        guard !global.json else {
            throw ValidationError("'cat' prints the object and nothing else: leave '--json' out.")
        }
    }

    package func run(in context: CommandContext) async throws -> ExitStatus {
        try await JourneyError.readingVelero {
            let download = try await place.open(global, context).open(object)
            while let piece = try await download.next() {
                context.output.raw(piece)
                try await BlockingBridge.offload(name: "becalm-output") {
                    Result { context.output.flushIfLarge() }
                }
                if context.output.isClosed { break }
            }
            await download.close()
            return .done
        }
    }
}
