internal import ArgumentParser

/// A number of bytes as people write it: `4096`, `256M`, `1GiB`, `10MB`. `K`, `M`, `G`, `T` and `KiB`, … count in 1024s,
/// `KB`, `MB`, … in 1000s; case does not matter.
package struct ByteCount: Hashable, Sendable, ExpressibleByArgument {
    package var bytes: Int

    package init(bytes: Int) { self.bytes = bytes }

    package init?(argument: String) {
        let text = argument.lowercased()
        let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        let unit = text.dropFirst(digits.count)
        let scale: Double
        switch unit {
        case "", "b": scale = 1
        case "k", "kib": scale = 1024
        case "m", "mib": scale = 1024 * 1024
        case "g", "gib": scale = 1024 * 1024 * 1024
        case "t", "tib": scale = 1024 * 1024 * 1024 * 1024
        case "kb": scale = 1e3
        case "mb": scale = 1e6
        case "gb": scale = 1e9
        case "tb": scale = 1e12
        default: return nil
        }
        guard let number = Double(digits), number >= 0, number * scale < 9e18 else { return nil }
        bytes = Int(number * scale)
    }

    package var defaultValueDescription: String { Format.bytes(UInt64(max(bytes, 0))) }
}
