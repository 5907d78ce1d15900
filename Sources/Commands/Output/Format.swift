package import Basics

/// Numbers as people read them.
package enum Format {
    /// `0 B`, `999 B`, `1.5 KiB`, `12.3 GiB`.
    package static func bytes(_ count: UInt64) -> String {
        guard count >= 1024 else { return "\(count) B" }
        let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
        var value = Double(count) / 1024
        var unit = 0
        while value >= 1023.95, unit + 1 < units.count {
            value /= 1024
            unit += 1
        }
        return "\(decimal(value)) \(units[unit])"
    }

    /// One digit behind the point.
    static func decimal(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }

    /// `0.4 s`, `12 s`, `3:07`, `2:03:09`.
    package static func duration(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds >= 0, seconds < 3.2e9 else { return "?" }
        if seconds < 9.95 { return "\(decimal(seconds)) s" }
        let whole = Int(seconds.rounded())
        if whole < 60 { return "\(whole) s" }
        let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60)
        return hours > 0 ? "\(hours):\(two(minutes)):\(two(rest))" : "\(minutes):\(two(rest))"
    }

    private static func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }

    /// `1 file`, `3 files`.
    package static func count(_ number: UInt64, _ noun: String, plural: String? = nil) -> String {
        counted(number, noun, plural: plural)
    }

    /// `2026-11-21 09:30:00` in UTC.
    package static func time(_ time: Timestamp) -> String {
        let calendar = CalendarTime(time)
        return calendar.text.split(separator: "T").joined(separator: " ").filter { $0 != "Z" }
    }
}
