internal import ArgumentParser

/// A length of time as people write it: `90`, `90s`, `10m`, `12h`, `30d`, `2w`; several may follow each other: `1h30m`.
package struct TimeSpan: Hashable, Sendable, ExpressibleByArgument {
    package var seconds: Double

    package init(seconds: Double) { self.seconds = seconds }

    package init?(argument: String) {
        var total = 0.0
        var rest = argument.lowercased()[...]
        guard !rest.isEmpty else { return nil }
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
            guard let number = Double(digits) else { return nil }
            rest = rest.dropFirst(digits.count)
            switch rest.first {
            case nil: total += number
            case "s": total += number
            case "m": total += number * 60
            case "h": total += number * 3600
            case "d": total += number * 86_400
            case "w": total += number * 604_800
            default: return nil
            }
            rest = rest.dropFirst(1)
        }
        // A century is more than anybody means.
        guard total <= 3.2e9 else { return nil }
        seconds = total
    }

    /// As it can be written: `1d`, `1h30m`, `0.5s`.
    package var defaultValueDescription: String {
        var text = ""
        var rest = seconds
        for (unit, length) in [("w", 604_800.0), ("d", 86_400), ("h", 3600), ("m", 60)] where rest >= length {
            let count = (rest / length).rounded(.down)
            text += "\(Int(count))\(unit)"
            rest -= count * length
        }
        guard rest > 0 || text.isEmpty else { return text }
        return text + (rest == rest.rounded() ? "\(Int(rest))s" : "\(rest)s")
    }
}
