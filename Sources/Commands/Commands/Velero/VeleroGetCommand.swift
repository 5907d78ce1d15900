package import ArgumentParser
internal import Basics
internal import ObjectStorage
package import Orchestration
internal import Snapshots
internal import SystemPackage
internal import Velero

/// `becalm velero get`
package struct VeleroGetCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "get",
        abstract: "Fetch all objects of a backup, decrypted.",
        discussion: """
            Makes TARGET/BACKUP with a file for each object: the archive of manifests, the log, the results and so on. \
            A file has its name only once it is whole; files that are there already are not replaced.

            EXAMPLE:
              $ becalm velero get nightly-20260801 --location s3://backups/prod --encryption-key-file key --target /tmp
            """)

    @OptionGroup package var global: GlobalOptions
    @OptionGroup package var place: VeleroLocationOptions

    @Option(
        name: .long, help: ArgumentHelp("The directory to put the backup's own into.", valueName: "directory"),
        completion: .directory)
    package var target: String

    @Argument(help: "The backup's name.")
    package var backup: String

    package init() {}

    package func run(in context: CommandContext) async throws -> ExitStatus {
        try await JourneyError.readingVelero {
            let location = try await place.open(global, context)
            let objects = try await location.objects(ofBackup: backup)
            let directory = context.path(target) + [UInt8(ascii: "/")] + Array(backup.utf8)
            try SystemFiles.makeDirectories(SystemFiles.filePath(directory))
            var total: UInt64 = 0
            for object in objects {
                let name = object.key.dropFirst("backups/\(backup)/".count)
                guard !name.isEmpty else { continue }  // Some servers list a "directory" as an object.
                guard !name.contains("/"), name != ".", name != ".." else {
                    throw JourneyError(
                        .failed, kind: "strange_object",
                        "the backup has an object \(object.key), which Velero does not make: look at it by 'becalm velero cat'"
                    )
                }
                let path = directory + [UInt8(ascii: "/")] + Array(name.utf8)
                let count = try await fetch(location, object.key, to: path)
                total += count
                context.output.emit(
                    "file", [.init("path", .string(PathText.display(path))), .init("bytes_written", .unsigned(count))],
                    text: Console.oneLine(PathText.display(path)))
            }
            context.output.summary([
                .init("backup", .string(backup)), .init("files", .unsigned(UInt64(objects.count))),
                .init("bytes_written", .unsigned(total)),
            ])
            return .done
        }
    }

    /// Writes an object to a file under another name, and names it when it is whole. Answers its bytes.
    private func fetch(_ location: BackupLocation, _ key: String, to path: [UInt8]) async throws -> UInt64 {
        guard SystemFiles.canonical(path) == nil else {
            throw JourneyError(
                .failed, kind: "target_exists",
                "\(PathText.display(path)) exists already; remove it, or name another target")
        }
        let download = try await location.open(key)
        let partial = path + Array(".part".utf8)
        SystemFiles.remove(partial)
        let descriptor = try SystemFiles.create(partial, as: path)
        var count: UInt64 = 0
        do {
            while let piece = try await download.next() {
                count += UInt64(piece.count)
                let failure = try await BlockingBridge.offload(name: "becalm-write") {
                    Result { SystemFiles.writeAll(piece, to: descriptor) }
                }
                if let failure { throw SystemFiles.writeFailure(path, failure) }
            }
        } catch {
            await download.close()
            _ = SystemFiles.closeWritten(descriptor)
            SystemFiles.remove(partial)
            throw error
        }
        guard SystemFiles.closeWritten(descriptor) else { throw SystemFiles.writeFailure(path) }
        try SystemFiles.rename(partial, to: path)
        return count
    }
}
