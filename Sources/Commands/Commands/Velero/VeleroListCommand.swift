package import ArgumentParser
internal import ObjectStorage
package import Orchestration
internal import Snapshots
internal import Velero

/// `becalm velero list`
package struct VeleroListCommand: RunnableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the backups in a location, or the objects of one.",
        discussion: """
            Reads each backup's record. One that cannot be read is listed all the same, and the exit status says why: \
            12 when its key is not among those given, 13 when it is damaged.

            EXAMPLE:
              $ becalm velero list --location s3://backups/prod --encryption-key-file key
              $ becalm velero list nightly-20260801 --location s3://backups/prod
            """)

    @OptionGroup package var global: GlobalOptions
    @OptionGroup package var place: VeleroLocationOptions

    @Argument(help: "A backup, to list its objects.")
    package var backup: String?

    package init() {}

    package func run(in context: CommandContext) async throws -> ExitStatus {
        try await JourneyError.readingVelero {
            let location = try await place.open(global, context)
            guard let backup else { return try await listBackups(location, context) }
            return try await listObjects(location, backup, context)
        }
    }

    private func listBackups(_ location: BackupLocation, _ context: CommandContext) async throws -> ExitStatus {
        var table = TextTable([
            .left("name"), .left("phase"), .left("started"), .left("expires"), .right("errors"), .right("warnings"),
            .right("stored"), .left("encrypted"),
        ])
        var first: JourneyError?
        let backups = try await location.backups()
        for backup in backups {
            let problem = backup.problem.map { JourneyError(velero: $0) }
            first = first ?? problem
            context.output.emit("backup", members(backup, problem))
            table.add([
                Console.oneLine(backup.name), Console.oneLine(backup.phase ?? "?"),
                Console.oneLine(backup.started ?? ""),
                Console.oneLine(backup.expires ?? ""), "\(backup.errors)", "\(backup.warnings)",
                Format.bytes(backup.storedBytes), backup.keyID.map { "key \($0.prefix(8))" } ?? "no",
            ])
            if let problem { context.warn(problem.message, kind: problem.kind, global) }
        }
        context.output.lines(table.lines)
        context.output.summary([.init("backups", .unsigned(UInt64(backups.count)))])
        return first.map { $0.status == .usage ? .partial : $0.status } ?? .done
    }

    private func members(_ backup: BackupLocation.Backup, _ problem: JourneyError?) -> [JSONValue.Member] {
        [
            .init("name", .string(backup.name)), .init("phase", .optional(backup.phase)),
            .init("started", .optional(backup.started)), .init("expires", .optional(backup.expires)),
            .init("errors", .integer(backup.errors)), .init("warnings", .integer(backup.warnings)),
            .init("items", backup.items.map { .integer($0) } ?? .null),
            .init("bytes_stored", .unsigned(backup.storedBytes)), .init("encrypted", .bool(backup.keyID != nil)),
            .init("key", .optional(backup.keyID)), .init("problem", .optional(problem?.message)),
        ]
    }

    private func listObjects(
        _ location: BackupLocation, _ backup: String, _ context: CommandContext
    ) async throws -> ExitStatus {
        var table = TextTable([.left("object"), .right("stored"), .left("modified (UTC)")])
        let objects = try await location.objects(ofBackup: backup)
        for object in objects {
            context.output.emit(
                "object", [.init("key", .string(object.key)), .init("bytes_stored", .unsigned(object.size))])
            table.add([Console.oneLine(object.key), Format.bytes(object.size), Format.time(object.modified)])
        }
        context.output.lines(table.lines)
        context.output.summary([.init("objects", .unsigned(UInt64(objects.count)))])
        return .done
    }
}
