internal import Repository
internal import RepositoryFormat
internal import Snapshots

/// A snapshot in a list, for programs and for people.
enum SnapshotText {
    /// The members of the object of type `snapshot`; what a writer's key cannot see is null.
    static func members(_ snapshot: ListedSnapshot) -> [JSONValue.Member] {
        let manifest = snapshot.manifest
        return [
            .init("id", .string("\(snapshot.id)")), .init("time", .optional(manifest?.time)),
            .init("host", .optional(manifest?.host)), .init("paths", .strings(manifest?.paths ?? [])),
            .init("tags", .strings(manifest?.tags ?? [])), .init("content_digest", .optional(manifest?.contentDigest)),
            .init("files", manifest.map { .unsigned($0.totals.files) } ?? .null),
            .init("bytes", manifest.map { .unsigned($0.totals.bytes) } ?? .null),
            .init("problems", manifest.map { .unsigned(UInt64($0.problems.count)) } ?? .null),
        ]
    }

    /// The cells of a row: id (with a '!' when it is partial), time, host, tags, files, size, paths.
    static func row(_ snapshot: ListedSnapshot) -> [String] {
        let id = String(snapshot.id.description.prefix(12))
        guard let manifest = snapshot.manifest else { return [id, "", "", "", "", "", "(sealed)"] }
        return [
            manifest.problems.isEmpty ? id : id + "!", Format.time(manifest.timestamp), Console.oneLine(manifest.host),
            Console.oneLine(manifest.tags.joined(separator: ",")), "\(manifest.totals.files)",
            Format.bytes(manifest.totals.bytes), Console.oneLine(manifest.paths.joined(separator: " ")),
        ]
    }
}
