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
            .init("complete_checkpoints", complete(snapshot).map { .unsigned($0.count) } ?? .null),
            .init("newest_step", complete(snapshot)?.step.map { .integer($0) } ?? .null),
            .init("workload", .optional(manifest?.standstill?.workload)),
            .init("consistency", .optional(manifest?.standstill?.consistency)),
            .init("pause_seconds", manifest?.standstill?.pauseSeconds.map { .number($0) } ?? .null),
        ]
    }

    /// How the workload was held that a snapshot is of.
    static func line(_ standstill: WorkloadStandstill) -> String {
        let pause =
            standstill.pauseSeconds.map { $0 > 0 ? ", stood still for \(Format.duration($0))" : ", ran on" } ?? ""
        let asked = standstill.request.isEmpty ? "" : ", asked by \(standstill.request)"
        return "workload        \(standstill.workload), \(standstill.consistency)\(asked)\(pause)"
    }

    /// How many complete checkpoints a snapshot lists, and the highest step of one; nil where nobody looked for them.
    static func complete(_ snapshot: ListedSnapshot) -> (count: UInt64, step: Int64?)? {
        guard let inventory = snapshot.manifest?.inventory else { return nil }
        let complete = inventory.states.filter { $0.kind == "checkpoint" && $0.judgement == "complete" }
        return (UInt64(complete.count), complete.compactMap(\.step).max())
    }

    /// `3, step 2000`; empty where nobody looked.
    private static func checkpoints(_ snapshot: ListedSnapshot) -> String {
        guard let complete = complete(snapshot) else { return "" }
        return "\(complete.count)" + (complete.step.map { ", step \($0)" } ?? "")
    }

    /// The cells of a row: id (with a '!' when it is partial), time, host, tags, files, size, complete checkpoints if
    /// wanted, paths.
    static func row(_ snapshot: ListedSnapshot, withCheckpoints: Bool) -> [String] {
        let middle = withCheckpoints ? [checkpoints(snapshot)] : []
        let id = String(snapshot.id.description.prefix(12))
        guard let manifest = snapshot.manifest else { return [id, "", "", "", "", ""] + middle + ["(sealed)"] }
        return [
            manifest.problems.isEmpty ? id : id + "!", Format.time(manifest.timestamp), Console.oneLine(manifest.host),
            Console.oneLine(manifest.tags.joined(separator: ",")), "\(manifest.totals.files)",
            Format.bytes(manifest.totals.bytes),
        ] + middle + [Console.oneLine(manifest.paths.joined(separator: " "))]
    }
}
