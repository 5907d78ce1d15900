internal import Checkpoints
internal import Orchestration
internal import RepositoryFormat
internal import Snapshots

/// A drill's report for people.
enum DrillText {
    /// What was proved and what not, and how long it took.
    static func verdict(_ report: DrillReport) -> [String] {
        let failed = report.tiers.first { $0.verdict.outcome == .failed }
        var lines = ["drill of snapshot \(report.snapshot): \(failed.map { "failed at \($0.id)" } ?? "passed")"]
        var table = TextTable([.left("tier"), .left("proves"), .left("result"), .left("")])
        for tier in report.tiers {
            table.add([tier.id, tier.name, tier.verdict.outcome.rawValue, Console.oneLine(tier.verdict.message)])
        }
        lines += table.lines
        let phases = DrillReport.Phase.allCases.compactMap { phase in
            report.seconds[phase].map { "\(name(phase)) \(Format.duration($0))" }
        }
        lines.append(phases.joined(separator: ", "))
        return lines
    }

    /// The whole page.
    static func page(_ report: DrillReport) -> String {
        let manifest = report.manifest
        var lines = verdict(report)
        lines += [
            "", "snapshot        \(report.snapshot)",
            "taken           \(Format.time(manifest.timestamp)) UTC on \(Console.oneLine(manifest.host))",
            "of              \(Console.oneLine(manifest.paths.joined(separator: " ")))",
            "content digest  \(manifest.contentDigest ?? "none")",
            "holds           \(Format.count(manifest.totals.files, "file")), \(Format.bytes(manifest.totals.bytes))",
            "drilled         \(Format.time(report.began)) UTC by \(report.program)",
        ]
        lines += section("damaged", report.damaged.map { "\($0.place): \($0.message)" })
        lines += section("what jobs resume from", report.findings.runs.flatMap { CheckpointText.lines($0) })
        lines += section(
            "checkpoints, models and caches",
            report.findings.checkpoints.map { finding in
                let step = finding.step.map { ", step \($0)" } ?? ""
                return
                    "\(CheckpointText.path(finding.path)): \(finding.format.rawValue)\(step), \(finding.judgement.rawValue)"
            })
        if let left = report.leftBehind { lines += ["", "left behind: \(Console.oneLine(left))"] }
        return lines.joined(separator: "\n") + "\n"
    }

    /// Lines of a kind on a page; the report has them all.
    private static let mostLines = 20

    private static func section(_ title: String, _ lines: [String]) -> [String] {
        guard !lines.isEmpty else { return [] }
        let more = lines.count - mostLines
        return ["", title] + lines.prefix(mostLines).map { "  \(Console.oneLine($0))" }
            + (more > 0 ? ["  and \(more) more, which report.json lists"] : [])
    }

    private static func name(_ phase: DrillReport.Phase) -> String {
        phase.rawValue.split(separator: "_").joined(separator: " ")
    }
}
