package import Basics
package import RepositoryFormat

/// Which snapshots of each source to keep. Pure: it decides, `Repository.forget` removes.
///
/// Times are UTC; weeks are those of ISO 8601 (Monday first, week 1 has the year's first Thursday). In each hour, day and
/// so on the newest snapshot stands for it, and only hours and so on that have a snapshot count. The rules are applied side
/// by side: a snapshot is kept when any of them keeps it.
package struct RetentionRule: Hashable, Sendable {
    /// So many of the newest.
    package var keepLast: UInt = 0
    /// The newest of each of so many hours, days, weeks, months, years.
    package var keepHourly: UInt = 0
    package var keepDaily: UInt = 0
    package var keepWeekly: UInt = 0
    package var keepMonthly: UInt = 0
    package var keepYearly: UInt = 0
    /// Those with any of these tags.
    package var keepTags: [String] = []
    /// Those at most so many seconds older than the source's newest, so that a source that is no longer backed up keeps
    /// what it has; nil for none.
    package var keepWithinSeconds: Double?

    package init() {}

    /// A snapshot as the rule sees it.
    package struct Candidate: Hashable, Sendable {
        package var id: Identifier
        package var time: Timestamp
        package var host: String
        package var paths: [String]
        package var tags: [String]

        package init(id: Identifier, time: Timestamp, host: String, paths: [String], tags: [String]) {
            self.id = id
            self.time = time
            self.host = host
            self.paths = paths
            self.tags = tags
        }
    }

    /// A snapshot and why it is kept; for no reason means that it is to go.
    package struct Decision: Hashable, Sendable {
        package var candidate: Candidate
        /// As people read them: `last`, `daily 2026-01-05`, `weekly 2026-W02`, `tag release`, `within`.
        package var reasons: [String]
        /// Whether it is kept only because the rule keeps none of its source.
        package var isSpared: Bool

        package init(candidate: Candidate, reasons: [String], isSpared: Bool = false) {
            self.candidate = candidate
            self.reasons = reasons
            self.isSpared = isSpared
        }

        /// Whether any rule keeps it.
        package var isKept: Bool { !reasons.isEmpty }
    }

    /// Whether it keeps nothing at all.
    package var isEmpty: Bool {
        [keepLast, keepHourly, keepDaily, keepWeekly, keepMonthly, keepYearly].allSatisfy { $0 == 0 }
            && keepTags.isEmpty && keepWithinSeconds == nil
    }

    /// Decides over all snapshots, source by source (host and paths, in any order), newest first within a source.
    ///
    /// A source of which the rule keeps nothing is spared as a whole unless `mayEmptySources`. Throws `.invalidArgument`
    /// for an empty rule, and for one that keeps nothing of any source.
    package func decide(
        _ candidates: [Candidate], mayEmptySources: Bool = false
    ) throws(RepositoryError) -> [Decision] {
        guard !isEmpty else {
            throw RepositoryError(
                .invalidArgument, "this rule keeps no snapshot at all: say what to keep, for example --keep-last 7")
        }
        var sources: [Source: [Candidate]] = [:]
        for candidate in candidates {
            sources[Source(host: candidate.host, paths: candidate.paths.sorted()), default: []].append(candidate)
        }
        var decisions: [Decision] = []
        var spared: [Source] = []
        for (source, own) in sources.sorted(by: { $0.key < $1.key }) {
            var decided = decide(source: own.sorted { ($0.time, $0.id) > ($1.time, $1.id) })
            if !mayEmptySources, !decided.contains(where: \.isKept) {
                spared.append(source)
                for index in decided.indices {
                    decided[index].reasons = ["the rule keeps nothing of this source"]
                    decided[index].isSpared = true
                }
            }
            decisions += decided
        }
        if let source = spared.first, spared.count == sources.count {
            let others = spared.count > 1 ? ", nor of \(counted(spared.count - 1, "other source"))" : ""
            throw RepositoryError(
                .invalidArgument,
                "this rule keeps no snapshot of \(source.host):\(source.paths.joined(separator: " "))\(others): keep more, or remove them all with --allow-empty"
            )
        }
        return decisions
    }

    private struct Source: Hashable, Comparable {
        var host: String
        var paths: [String]

        static func < (left: Source, right: Source) -> Bool {
            left.host != right.host ? left.host < right.host : left.paths.lexicographicallyPrecedes(right.paths)
        }
    }

    /// A rule that keeps the newest of each period.
    private struct Period {
        var left: UInt
        let name: String
        let label: @Sendable (CalendarTime) -> String
        var last: String?

        /// The reason to keep a snapshot of this time, when it is the newest of a period that still counts.
        mutating func reason(_ time: CalendarTime) -> String? {
            guard left > 0 else { return nil }
            let present = label(time)
            guard present != last else { return nil }
            last = present
            left -= 1
            return "\(name) \(present)"
        }
    }

    /// `newestFirst` are one source's.
    private func decide(source newestFirst: [Candidate]) -> [Decision] {
        var periods = [
            Period(left: keepHourly, name: "hourly", label: { String($0.text.prefix(13)) }),
            Period(left: keepDaily, name: "daily", label: { String($0.text.prefix(10)) }),
            Period(left: keepWeekly, name: "weekly", label: { Self.isoWeek($0) }),
            Period(left: keepMonthly, name: "monthly", label: { String($0.text.prefix(7)) }),
            Period(left: keepYearly, name: "yearly", label: { String($0.text.prefix(4)) }),
        ]
        return newestFirst.enumerated().map { position, candidate in
            var reasons: [String] = []
            if position < keepLast { reasons.append("last") }
            let time = CalendarTime(candidate.time)
            for index in periods.indices {
                if let reason = periods[index].reason(time) { reasons.append(reason) }
            }
            for tag in keepTags where candidate.tags.contains(tag) { reasons.append("tag \(tag)") }
            if let seconds = keepWithinSeconds, let newest = newestFirst.first,
                newest.time - candidate.time <= seconds
            {
                reasons.append("within")
            }
            return Decision(candidate: candidate, reasons: reasons)
        }
    }

    /// `2026-W01`: the ISO 8601 week; its year is that of the week's Thursday.
    static func isoWeek(_ time: CalendarTime) -> String {
        let days = time.daysSinceEpoch
        // 1970-01-01 was a Thursday; Monday is 0.
        let weekday = ((days + 3) % 7 + 7) % 7
        let thursday = days - weekday + 3
        let year = CalendarTime(Timestamp(seconds: Int64(thursday) * 86_400)).year
        let week = (thursday - CalendarTime.days(year: year, month: 1, day: 1)) / 7 + 1
        return "\(year)-W\(week < 10 ? "0" : "")\(week)"
    }
}
