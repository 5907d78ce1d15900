internal import Basics
internal import Checkpoints
internal import RepositoryFormat
package import Snapshots

extension DrillReport {
    /// The version of the report's form. Members may be added without a new one; none changes its meaning or goes.
    package static let version: UInt64 = 1

    /// The report's stable form: `DrillReport.md` says what each member means.
    package var json: JSONValue {
        let seconds = Phase.allCases.map {
            JSONValue.Member($0.rawValue, self.seconds[$0].map { .number(Self.milliseconds($0)) } ?? .null)
        }
        let total = self.seconds.values.reduce(0, +)
        return .object([
            .init("format", .string("becalm-drill-report")), .init("version", .unsigned(Self.version)),
            .init("program", .string(program)), .init("began", .string(CalendarTime(began).text)),
            .init("snapshot", .string("\(snapshot)")), .init("content_digest", .optional(manifest.contentDigest)),
            .init("snapshot_time", .string(manifest.time)), .init("host", .string(manifest.host)),
            .init("paths", .strings(manifest.paths)),
            .init("snapshot_problems", .unsigned(UInt64(manifest.problems.count))),
            .init("result", .string(isPassed ? "passed" : "failed")),
            .init("exit_code", .integer(Int64(status.rawValue))), .init("tiers", .array(tiers.map(Self.json))),
            .init("counts", .object(counts)),
            .init("seconds", .object(seconds + [.init("total", .number(Self.milliseconds(total)))])),
            .init("damaged", .array(damaged.map { .object(Self.members($0)) })),
            .init("checkpoints", .array(findings.checkpoints.map { .object(FindingJSON.members($0)) })),
            .init("runs", .array(findings.runs.map { .object(FindingJSON.members($0)) })),
            .init(
                "problems",
                .array(
                    findings.problems.map {
                        .object([.init("path", .string($0.path)), .init("message", .string($0.message))])
                    })),
            .init("findings_left_out", .unsigned(findings.leftOut)), .init("left_behind", .optional(leftBehind)),
        ])
    }

    /// Sums over the drill.
    package var counts: [JSONValue.Member] {
        [
            .init("files", .unsigned(manifest.totals.files)), .init("bytes", .unsigned(manifest.totals.bytes)),
            .init("files_restored", .unsigned(filesRestored)), .init("bytes_written", .unsigned(bytesWritten)),
            .init("files_read_back", .unsigned(filesReadBack)), .init("damaged", .unsigned(UInt64(damaged.count))),
            .init("complete", .unsigned(findings.count(.complete))), .init("torn", .unsigned(findings.count(.torn))),
            .init("unknown", .unsigned(findings.count(.unknown))), .init("empty", .unsigned(findings.count(.empty))),
            .init("runs", .unsigned(UInt64(findings.runs.count))),
            .init("problems", .unsigned(UInt64(findings.problems.count))),
        ]
    }

    /// The members of a damaged file.
    package static func members(_ file: DamagedFile) -> [JSONValue.Member] {
        let holder = file.holder.map { holder in
            JSONValue.object([
                .init("path", .string(holder.path)), .init("kind", .string(holder.kind)),
                .init("format", .string(holder.format)), .init("step", holder.step.map { .integer($0) } ?? .null),
            ])
        }
        return [
            .init("path", .string(file.path)), .init("message", .string(file.message)),
            .init(
                "lost", .array(file.lost.map { .array([.unsigned($0.lowerBound), .unsigned($0.upperBound)]) })),
            .init("tensors", file.tensors.map { .strings($0) } ?? .null), .init("checkpoint", holder ?? .null),
        ]
    }

    private static func json(_ tier: Tier) -> JSONValue { .object(members(tier)) }

    /// The members of a tier.
    package static func members(_ tier: Tier) -> [JSONValue.Member] {
        [
            .init("tier", .string(tier.id)), .init("name", .string(tier.name)),
            .init("result", .string(tier.verdict.outcome.rawValue)), .init("message", .string(tier.verdict.message)),
        ]
    }

    private static func milliseconds(_ seconds: Double) -> Double { (seconds * 1000).rounded() / 1000 }
}
