package import TensorFiles

extension TensorByteSource {
    /// The bytes of a range that lies within the source; the caller has bounded it. Fewer when the file shrank.
    package func bytes(_ range: Range<UInt64>) throws -> [UInt8] {
        try [UInt8](unsafeUninitializedCapacity: range.count) { buffer, filled in
            while filled < buffer.count {
                let rest = UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[filled...])
                let count = try read(at: range.lowerBound + UInt64(filled), into: rest)
                guard count > 0 else { return }
                filled += count
            }
        }
    }
}

extension String {
    /// The text as one line of bounded length: it may quote what a file holds, which may be anything.
    package var line: String {
        let scalars = unicodeScalars.prefix(600).map { scalar in
            scalar.properties.generalCategory == .control || scalar.value == 0x2028 || scalar.value == 0x2029
                ? "\u{fffd}" : scalar
        }
        return String(String.UnicodeScalarView(scalars))
    }

    /// The text without white space around it.
    package var trimmed: String {
        String(drop { $0.isWhitespace }.reversed().drop { $0.isWhitespace }.reversed())
    }

    /// The number that follows `prefix` and is all of the rest but `suffix`; nil for a name of another form. Digits only,
    /// as Python's `\d+`.
    package func number(after prefix: String, before suffix: String = "") -> Int64? {
        guard hasPrefix(prefix), hasSuffix(suffix), utf8.count > prefix.utf8.count + suffix.utf8.count else {
            return nil
        }
        let digits = utf8.dropFirst(prefix.utf8.count).dropLast(suffix.utf8.count)
        guard digits.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return Int64(Substring(digits))
    }
}
