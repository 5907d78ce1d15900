/// A timestamp in UTC as year, month, day and time (proleptic Gregorian calendar), with its RFC 3339 text.
package struct CalendarTime: Hashable, Sendable {
    package var year: Int
    /// 1 to 12.
    package var month: Int
    /// 1 to 31.
    package var day: Int
    package var hour: Int
    package var minute: Int
    package var second: Int
    package var nanosecond: Int

    /// The calendar's view of `time`. Days are counted as in Howard Hinnant's "chrono-Compatible Low-Level Date
    /// Algorithms" (days_from_civil and its inverse).
    package init(_ time: Timestamp) {
        let total = time.seconds
        nanosecond = Int(time.nanoseconds - total * 1_000_000_000)
        var days = Int(total / 86_400)
        var rest = Int(total % 86_400)
        if rest < 0 {
            rest += 86_400
            days -= 1
        }
        hour = rest / 3600
        minute = rest % 3600 / 60
        second = rest % 60
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }

    /// Days since 1970-01-01 of this date.
    package static func days(year: Int, month: Int, day: Int) -> Int {
        let shiftedYear = month <= 2 ? year - 1 : year
        let era = (shiftedYear >= 0 ? shiftedYear : shiftedYear - 399) / 400
        let yearOfEra = shiftedYear - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    /// Days since 1970-01-01.
    package var daysSinceEpoch: Int { Self.days(year: year, month: month, day: day) }

    /// RFC 3339 with whole seconds and `Z`: `2026-11-21T09:30:00Z`.
    package var text: String {
        "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2))T\(padded(hour, 2)):\(padded(minute, 2)):\(padded(second, 2))Z"
    }

    /// The compact form that AWS Signature Version 4 uses: `20261121T093000Z`.
    package var compactText: String {
        "\(padded(year, 4))\(padded(month, 2))\(padded(day, 2))T\(padded(hour, 2))\(padded(minute, 2))\(padded(second, 2))Z"
    }

    /// RFC 3339 with six digits of a second and `Z`, as Kubernetes' MicroTime demands: `2026-11-21T09:30:00.000000Z`.
    package var microsecondText: String { "\(text.dropLast()).\(padded(nanosecond / 1000, 6))Z" }

    private func padded(_ value: Int, _ width: Int) -> String {
        let text = String(value)
        return String(repeating: "0", count: max(0, width - text.count)) + text
    }

    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    /// The time of an HTTP date in the preferred form (RFC 9110, section 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
    /// Nil for anything else.
    package static func parse(httpDate text: String) -> Timestamp? {
        let words = text.split(separator: " ")
        guard words.count == 6, words[5] == "GMT", let day = Int(words[1]), (1...31).contains(day),
            let monthIndex = months.firstIndex(of: String(words[2])), let year = Int(words[3])
        else { return nil }
        return time(year: year, month: monthIndex + 1, day: day, clock: words[4])
    }

    /// The time of an RFC 3339 text in UTC or with an offset; fractions of a second are kept to nanoseconds.
    /// Nil when it is malformed.
    package static func parse(rfc3339 text: String) -> Timestamp? {
        let parts = text.split(whereSeparator: { $0 == "T" || $0 == "t" || $0 == " " })
        guard parts.count == 2 else { return nil }
        let date = parts[0].split(separator: "-", omittingEmptySubsequences: false)
        guard date.count == 3, let year = Int(date[0]), let month = Int(date[1]), (1...12).contains(month),
            let day = Int(date[2]), (1...31).contains(day)
        else { return nil }
        var clock = parts[1]
        var offset: Int64 = 0
        if clock.hasSuffix("Z") || clock.hasSuffix("z") {
            clock = clock.dropLast()
        } else if let sign = clock.lastIndex(where: { $0 == "+" || $0 == "-" }) {
            let zone = clock[clock.index(after: sign)...].split(separator: ":")
            guard zone.count == 2, let hours = Int64(zone[0]), (0...23).contains(hours), let minutes = Int64(zone[1]),
                (0...59).contains(minutes)
            else { return nil }
            offset = (hours * 3600 + minutes * 60) * (clock[sign] == "-" ? 1 : -1)
            clock = clock[..<sign]
        } else {
            return nil
        }
        var fraction: Int64 = 0
        if let dot = clock.firstIndex(of: ".") {
            let digits = clock[clock.index(after: dot)...].prefix(9)
            guard !digits.isEmpty, let value = Int64(digits) else { return nil }
            fraction = value
            for _ in digits.count..<9 { fraction *= 10 }
            clock = clock[..<dot]
        }
        guard let whole = time(year: year, month: month, day: day, clock: clock) else { return nil }
        return Timestamp(nanoseconds: whole.nanoseconds + offset * 1_000_000_000 + fraction)
    }

    private static func time(year: Int, month: Int, day: Int, clock: Substring) -> Timestamp? {
        let fields = clock.split(separator: ":")
        guard (1678...2261).contains(year), fields.count == 3, let hour = Int(fields[0]), (0...23).contains(hour),
            let minute = Int(fields[1]), (0...59).contains(minute), let second = Int(fields[2]),
            (0...60).contains(second)
        else { return nil }
        let days = Int64(days(year: year, month: month, day: day))
        return Timestamp(seconds: days * 86_400 + Int64(hour * 3600 + minute * 60 + second))
    }
}
