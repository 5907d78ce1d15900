import Basics
import ObjectStorageTesting
import Repository
import RepositoryFormat
import Testing

@Suite struct RetentionRuleTests {
    static func candidate(
        _ text: String, host: String = "h", paths: [String] = ["/a"], tags: [String] = []
    ) throws -> RetentionRule.Candidate {
        let time = try #require(CalendarTime.parse(rfc3339: text))
        return .init(id: try Identifier.random(), time: time, host: host, paths: paths, tags: tags)
    }

    /// `time: reasons` of what is kept, newest first.
    static func kept(_ rule: RetentionRule, _ times: [String]) throws -> [String] {
        try rule.decide(times.map { try candidate($0) }).filter(\.isKept).map {
            "\(CalendarTime($0.candidate.time).text): \($0.reasons.joined(separator: ", "))"
        }
    }

    static let times = [
        "2026-01-05T23:00:00Z", "2026-01-05T09:10:00Z", "2026-01-05T09:05:00Z", "2026-01-04T12:00:00Z",
        "2026-01-01T00:00:00Z", "2025-12-31T23:59:59Z", "2025-12-29T00:00:00Z", "2025-12-28T23:00:00Z",
        "2025-11-30T01:00:00Z", "2024-06-01T00:00:00Z",
    ]

    @Test func theNewestOfEachPeriodIsKept() throws {
        var rule = RetentionRule()
        rule.keepLast = 1
        rule.keepHourly = 3
        rule.keepDaily = 3
        rule.keepWeekly = 3
        rule.keepMonthly = 3
        rule.keepYearly = 9
        #expect(
            try Self.kept(rule, Self.times) == [
                "2026-01-05T23:00:00Z: last, hourly 2026-01-05T23, daily 2026-01-05, weekly 2026-W02, monthly 2026-01, yearly 2026",
                "2026-01-05T09:10:00Z: hourly 2026-01-05T09",
                "2026-01-04T12:00:00Z: hourly 2026-01-04T12, daily 2026-01-04, weekly 2026-W01",
                "2026-01-01T00:00:00Z: daily 2026-01-01",
                "2025-12-31T23:59:59Z: monthly 2025-12, yearly 2025",
                "2025-12-28T23:00:00Z: weekly 2025-W52",
                "2025-11-30T01:00:00Z: monthly 2025-11",
                "2024-06-01T00:00:00Z: yearly 2024",
            ])
    }

    @Test(arguments: [
        ("2026-01-05T00:00:00Z", "2026-W02"), ("2026-01-04T23:59:59Z", "2026-W01"),
        ("2025-12-29T00:00:00Z", "2026-W01"),
        ("2025-12-28T00:00:00Z", "2025-W52"), ("2021-01-03T00:00:00Z", "2020-W53"),
        ("2021-01-04T00:00:00Z", "2021-W01"),
        ("2020-12-31T00:00:00Z", "2020-W53"), ("2016-01-01T12:00:00Z", "2015-W53"),
        ("2024-12-30T00:00:00Z", "2025-W01"),
        ("1970-01-01T00:00:00Z", "1970-W01"), ("1969-12-29T00:00:00Z", "1970-W01"),
        ("1969-12-28T00:00:00Z", "1969-W52"),
    ])
    func weeksAreThoseOfISO8601(text: String, week: String) throws {
        var rule = RetentionRule()
        rule.keepWeekly = 1
        #expect(try rule.decide([Self.candidate(text)]).map(\.reasons) == [["weekly \(week)"]])
    }

    @Test func tagsAndTheTimeSinceTheNewestKeepToo() throws {
        var rule = RetentionRule()
        rule.keepTags = ["release", "gold"]
        rule.keepWithinSeconds = 3600
        let candidates = [
            try Self.candidate("2020-01-01T10:00:00Z"), try Self.candidate("2020-01-01T09:00:00Z"),
            try Self.candidate("2020-01-01T08:59:59Z"),
            try Self.candidate("2019-01-01T00:00:00Z", tags: ["x", "gold"]),
        ]
        #expect(try rule.decide(candidates).map(\.reasons) == [["within"], ["within"], [], ["tag gold"]])
    }

    @Test func eachSourceIsLookedAtByItself() throws {
        var rule = RetentionRule()
        rule.keepLast = 1
        let candidates = [
            try Self.candidate("2026-01-01T00:00:00Z", host: "b"),
            try Self.candidate("2026-01-02T00:00:00Z", host: "b"),
            try Self.candidate("2020-01-01T00:00:00Z", host: "a"),
            try Self.candidate("2026-01-03T00:00:00Z", host: "b", paths: ["/x", "/y"]),
            try Self.candidate("2026-01-01T00:00:00Z", host: "b", paths: ["/y", "/x"]),
        ]
        let decisions = try rule.decide(candidates)
        #expect(decisions.map(\.candidate.host) == ["a", "b", "b", "b", "b"])
        #expect(decisions.map(\.isKept) == [true, true, false, true, false])
        #expect(decisions.last?.candidate.id == candidates[4].id)
    }

    @Test func aRuleThatKeepsNothingIsRefused() throws {
        let error = #expect(throws: RepositoryError.self) {
            _ = try RetentionRule().decide([Self.candidate("2026-01-01T00:00:00Z")])
        }
        #expect(error?.code == .invalidArgument)
        var rule = RetentionRule()
        rule.keepTags = ["release"]
        let candidates = [
            try Self.candidate("2026-01-01T00:00:00Z", tags: ["release"]),
            try Self.candidate("2026-01-01T00:00:00Z", host: "lonely"),
        ]
        let decisions = try rule.decide(candidates)
        #expect(decisions.map(\.isKept) == [true, true])
        #expect(decisions.map(\.isSpared) == decisions.map { $0.candidate.host == "lonely" })
        let emptying = #expect(throws: RepositoryError.self) { _ = try rule.decide([candidates[1]]) }
        #expect(emptying?.message.contains("lonely:/a") == true)
        #expect(emptying?.message.contains("--allow-empty") == true)
        #expect(try rule.decide(candidates, mayEmptySources: true).map(\.isKept) == [true, false])
    }

    @Test func equalTimesAreDecidedByIdAndMoreIsNeverLess() throws {
        var generator = SeededGenerator(seed: UInt64.random(in: 0...UInt64.max))
        for _ in 0..<200 {
            var rule = RetentionRule()
            rule.keepLast = UInt.random(in: 0...3, using: &generator)
            rule.keepHourly = UInt.random(in: 0...3, using: &generator)
            rule.keepDaily = UInt.random(in: 1...3, using: &generator)
            rule.keepWeekly = UInt.random(in: 0...3, using: &generator)
            rule.keepMonthly = UInt.random(in: 0...3, using: &generator)
            let candidates = try (0..<20).map { _ in
                RetentionRule.Candidate(
                    id: try #require(Identifier(bytes: generator.bytes(16))),
                    time: Timestamp(seconds: Int64.random(in: 0...400, using: &generator) * 40_000), host: "h",
                    paths: ["/"], tags: [])
            }
            let decisions = try rule.decide(candidates)
            let comment: Comment = "seed \(generator.seed)"
            #expect(decisions.count == 20, comment)
            #expect(try rule.decide(candidates.shuffled(using: &generator)) == decisions, comment)
            let days = Set(candidates.map { CalendarTime($0.time).daysSinceEpoch })
            let daily = decisions.filter { $0.reasons.contains { $0.hasPrefix("daily") } }
            #expect(daily.count == min(Int(rule.keepDaily), days.count), comment)
            // What is kept by a rule is kept by a more generous one.
            var generous = rule
            generous.keepDaily += 1
            generous.keepLast += 1
            let more = Set(try generous.decide(candidates).filter(\.isKept).map(\.candidate.id))
            #expect(more.isSuperset(of: decisions.filter(\.isKept).map(\.candidate.id)), comment)
        }
    }
}
