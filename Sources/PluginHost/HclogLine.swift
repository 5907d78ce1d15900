/// A line of hclog's JSON, as go-plugin parses them from a plugin's standard error.
///
/// Every value is a string, whatever it is: a number under `@message`, `@level`, `@timestamp`, or under the names that
/// Velero's hook reads (`namespace`, `resource`, `name`), makes the host panic. There is no `@timestamp`: hosts take their own.
package enum HclogLine {
    /// Longest line without its newline. A host reads lines of up to 64 KiB and takes the rest of a longer one for text.
    package static let mostBytes = 60 << 10

    /// The line, with its newline. Fields keep their order; what does not fit is cut from the message, then left out.
    package static func bytes(level: HclogLevel, message: String, fields: [(name: String, value: String)]) -> [UInt8] {
        var line = Array(#"{"@level":"\#(level.rawValue)","@message":""#.utf8)
        append(message, to: &line, mostBytes: mostBytes / 2)
        line.append(UInt8(ascii: "\""))
        for field in fields {
            var member = Array(#",""#.utf8)
            append(field.name, to: &member, mostBytes: 256)
            member += #"":""#.utf8
            append(field.value, to: &member, mostBytes: 8 << 10)
            member.append(UInt8(ascii: "\""))
            guard line.count + member.count < mostBytes else { break }
            line += member
        }
        return line + "}\n".utf8
    }

    private static let digits = Array("0123456789abcdef".utf8)

    /// Appends the inside of a JSON string (RFC 8259, section 7), cut after a whole scalar.
    private static func append(_ text: String, to line: inout [UInt8], mostBytes: Int) {
        let end = line.count + mostBytes
        for scalar in text.unicodeScalars {
            // The longest escape has six bytes, the longest scalar four.
            guard line.count + 6 <= end else { return }
            switch scalar.value {
            case 0x22: line += #"\""#.utf8
            case 0x5c: line += #"\\"#.utf8
            case 0x0a: line += #"\n"#.utf8
            case 0x0d: line += #"\r"#.utf8
            case 0x09: line += #"\t"#.utf8
            case 0..<0x20, 0x7f:
                line += #"\u00"#.utf8
                line += [digits[Int(scalar.value >> 4)], digits[Int(scalar.value & 15)]]
            default: line += UTF8.encode(scalar).map(Array.init) ?? []
            }
        }
    }
}
