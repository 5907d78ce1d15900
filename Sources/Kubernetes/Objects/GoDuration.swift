/// A length of time as Go writes it and as the API's durations are spelled (meta/v1 Duration, `time.ParseDuration`):
/// `4h0m0s`, `1.5h`, `300ms`.
package struct GoDuration: Hashable, Comparable, Sendable, CustomStringConvertible {
    package var nanoseconds: Int64

    package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }
    /// Whole seconds.
    package init(seconds: Int64) { nanoseconds = seconds * 1_000_000_000 }

    /// Seconds, fractions dropped.
    package var seconds: Int64 { nanoseconds / 1_000_000_000 }

    package static func < (left: GoDuration, right: GoDuration) -> Bool { left.nanoseconds < right.nanoseconds }

    /// Nanoseconds of each unit.
    private static let units: [String: UInt64] = [
        "ns": 1, "us": 1000, "\u{b5}s": 1000, "\u{3bc}s": 1000, "ms": 1_000_000, "s": 1_000_000_000,
        "m": 60_000_000_000, "h": 3_600_000_000_000,
    ]

    /// The duration that `text` spells: a sign, then numbers with fractions, each with its unit; `0` needs none. Nil for
    /// anything else, and for more than 64 bits of nanoseconds (292 years).
    package init?(_ text: String) {
        var rest = Substring(text)
        let isNegative = rest.hasPrefix("-")
        if isNegative || rest.hasPrefix("+") { rest = rest.dropFirst() }
        if rest == "0" {
            nanoseconds = 0
            return
        }
        guard !rest.isEmpty, text.utf8.count <= 128 else { return nil }
        var total: UInt64 = 0
        while !rest.isEmpty {
            guard let part = Self.part(&rest) else { return nil }
            let (sum, overflow) = total.addingReportingOverflow(part)
            guard !overflow, sum <= Self.most else { return nil }
            total = sum
        }
        if isNegative {
            nanoseconds = Int64(truncatingIfNeeded: 0 &- total)
        } else {
            guard let value = Int64(exactly: total) else { return nil }
            nanoseconds = value
        }
    }

    /// The magnitude of the least value.
    private static let most = UInt64(1) << 63

    /// Takes a number and its unit off the front: nanoseconds.
    private static func part(_ rest: inout Substring) -> UInt64? {
        let isDigit: (Character) -> Bool = { $0 >= "0" && $0 <= "9" && $0.utf8.count == 1 }
        let whole = rest.prefix(while: isDigit)
        rest = rest.dropFirst(whole.count)
        var fraction = Substring()
        if rest.first == "." {
            fraction = rest.dropFirst().prefix(while: isDigit)
            rest = rest.dropFirst(1 + fraction.count)
        }
        let name = rest.prefix { $0 != "." && !isDigit($0) }
        guard !(whole.isEmpty && fraction.isEmpty), let unit = units[String(name)] else { return nil }
        rest = rest.dropFirst(name.count)
        guard let count = whole.isEmpty ? 0 : UInt64(whole) else { return nil }
        let (nanoseconds, overflow) = count.multipliedReportingOverflow(by: unit)
        guard !overflow, nanoseconds <= most else { return nil }
        // As Go does it, whose rounding shows in the last nanosecond: digits that no longer fit are dropped.
        var digits: UInt64 = 0
        var scale = 1.0
        for digit in fraction {
            guard digits <= (most - 10) / 10, let value = digit.wholeNumberValue else { break }
            digits = digits * 10 + UInt64(value)
            scale *= 10
        }
        let share = UInt64(Double(digits) * (Double(unit) / scale))
        return nanoseconds + share
    }

    /// As Go's `Duration.String` writes it: `4h0m0s`, `1.5s`, `300ms`, `0s`.
    package var description: String {
        let sign = nanoseconds < 0 ? "-" : ""
        let magnitude = nanoseconds.magnitude
        guard magnitude >= 1_000_000_000 else {
            switch magnitude {
            case 0: return "0s"
            case 1..<1000: return "\(sign)\(magnitude)ns"
            case 1000..<1_000_000: return "\(sign)\(Self.decimal(magnitude, 1000))\u{b5}s"
            default: return "\(sign)\(Self.decimal(magnitude, 1_000_000))ms"
            }
        }
        let minutes = magnitude / 60_000_000_000
        let seconds = "\(Self.decimal(magnitude % 60_000_000_000, 1_000_000_000))s"
        if minutes == 0 { return sign + seconds }
        return minutes < 60 ? "\(sign)\(minutes)m\(seconds)" : "\(sign)\(minutes / 60)h\(minutes % 60)m\(seconds)"
    }

    /// `value` in units of `unit`, a power of ten, without zeros at the end.
    private static func decimal(_ value: UInt64, _ unit: UInt64) -> String {
        let rest = value % unit
        guard rest != 0 else { return "\(value / unit)" }
        var digits = String(rest)
        digits = String(repeating: "0", count: String(unit).count - 1 - digits.count) + digits
        while digits.hasSuffix("0") { digits.removeLast() }
        return "\(value / unit).\(digits)"
    }
}
