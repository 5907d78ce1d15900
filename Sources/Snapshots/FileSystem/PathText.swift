/// Raw file names and paths as text for messages: one line, whatever they contain.
package enum PathText {
    /// A message about a path, as text, that names it once: many messages name it themselves.
    package static func about(_ path: String, _ message: String) -> String {
        let isNamed = [" ", "/"].contains { message.contains("\($0)\(path):") }
        return path.isEmpty || isNamed ? message : "\(path): \(message)"
    }

    /// `bytes` as text. Printable UTF-8 stays; a backslash is doubled, and control characters, characters that turn the
    /// direction of writing or break a line, and bytes that are not UTF-8 become `\xNN`.
    package static func display(_ bytes: [UInt8]) -> String {
        if bytes.allSatisfy({ (0x20..<0x7f).contains($0) && $0 != backslash }) {
            return String(decoding: bytes, as: UTF8.self)
        }
        var text: [UInt8] = []
        text.reserveCapacity(bytes.count + 16)
        var parser = Unicode.UTF8.ForwardParser()
        var iterator = bytes.makeIterator()
        var position = 0
        while true {
            switch parser.parseScalar(from: &iterator) {
            case .valid(let encoded):
                let scalar = Unicode.UTF8.decode(encoded)
                let part = bytes[position..<position + encoded.count]
                if scalar == "\\" {
                    text += [backslash, backslash]
                } else if isPlain(scalar) {
                    text += part
                } else {
                    part.forEach { escape($0, into: &text) }
                }
                position += encoded.count
            case .error(let length):
                bytes[position..<position + length].forEach { escape($0, into: &text) }
                position += length
            case .emptyInput:
                return String(decoding: text, as: UTF8.self)
            }
        }
    }

    private static let backslash = UInt8(ascii: "\\")
    private static let digits = Array("0123456789abcdef".utf8)

    private static func escape(_ byte: UInt8, into text: inout [UInt8]) {
        text += [backslash, UInt8(ascii: "x"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
    }

    private static func isPlain(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .unassigned, .surrogate: false
        default: true
        }
    }
}
