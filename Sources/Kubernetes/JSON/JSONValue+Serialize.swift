extension JSONValue {
    /// The text without white space, members in order, escaped as Go's `encoding/json` does: `<`, `>`, `&` and the
    /// line separators U+2028 and U+2029 as `\u003c` and so on unless `escapingHTML` is false, which leaves the first
    /// three alone (as an encoder with `SetEscapeHTML(false)`).
    package func serialized(escapingHTML: Bool = true) -> [UInt8] {
        var writer = JSONWriter(escapesHTML: escapingHTML)
        writer.write(self)
        return writer.output
    }
}

/// Writes a value without recursion.
private struct JSONWriter {
    /// An object or array that is being written, with what comes next of it.
    private enum Frame {
        case array([JSONValue], next: Int)
        case object([JSONObject.Member], next: Int)
    }

    let escapesHTML: Bool
    var output: [UInt8] = []

    private static let digits = Array("0123456789abcdef".utf8)

    init(escapesHTML: Bool) { self.escapesHTML = escapesHTML }

    mutating func write(_ value: JSONValue) {
        var frames: [Frame] = []
        begin(value, &frames)
        while let frame = frames.popLast() {
            switch frame {
            case .array(let elements, let next):
                guard next < elements.count else {
                    output.append(UInt8(ascii: "]"))
                    continue
                }
                if next > 0 { output.append(UInt8(ascii: ",")) }
                frames.append(.array(elements, next: next + 1))
                begin(elements[next], &frames)
            case .object(let members, let next):
                guard next < members.count else {
                    output.append(UInt8(ascii: "}"))
                    continue
                }
                if next > 0 { output.append(UInt8(ascii: ",")) }
                writeString(members[next].key)
                output.append(UInt8(ascii: ":"))
                frames.append(.object(members, next: next + 1))
                begin(members[next].value, &frames)
            }
        }
    }

    private mutating func begin(_ value: JSONValue, _ frames: inout [Frame]) {
        switch value {
        case .null: output.append(contentsOf: "null".utf8)
        case .bool(let flag): output.append(contentsOf: (flag ? "true" : "false").utf8)
        case .number(let number): output.append(contentsOf: number.text.utf8)
        case .string(let text): writeString(text)
        case .array(let elements):
            output.append(UInt8(ascii: "["))
            frames.append(.array(elements, next: 0))
        case .object(let object):
            output.append(UInt8(ascii: "{"))
            frames.append(.object(object.members, next: 0))
        }
    }

    private mutating func writeString(_ text: String) {
        output.append(UInt8(ascii: "\""))
        var text = text
        text.withUTF8 { bytes in
            var start = 0
            var position = 0
            while position < bytes.count {
                let (escaped, width) = escape(bytes, position)
                if let escaped {
                    output.append(contentsOf: bytes[start..<position])
                    output.append(contentsOf: escaped)
                    start = position + width
                }
                position += width
            }
            output.append(contentsOf: bytes[start...])
        }
        output.append(UInt8(ascii: "\""))
    }

    /// How the character at `position` is written when not as it is, and how many bytes were looked at.
    private func escape(_ bytes: UnsafeBufferPointer<UInt8>, _ position: Int) -> (escaped: [UInt8]?, width: Int) {
        let byte = bytes[position]
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): return ([UInt8(ascii: "\\"), byte], 1)
        case UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "&"):
            return (escapesHTML ? Self.unicode(UInt16(byte)) : nil, 1)
        case 0x08: return (Array("\\b".utf8), 1)
        case 0x09: return (Array("\\t".utf8), 1)
        case 0x0a: return (Array("\\n".utf8), 1)
        case 0x0c: return (Array("\\f".utf8), 1)
        case 0x0d: return (Array("\\r".utf8), 1)
        case 0..<0x20: return (Self.unicode(UInt16(byte)), 1)
        // U+2028 and U+2029 are e2 80 a8 and e2 80 a9.
        case 0xe2 where position + 2 < bytes.count && bytes[position + 1] == 0x80 && bytes[position + 2] & 0xfe == 0xa8:
            return (Self.unicode(0x2000 | UInt16(bytes[position + 2] & 0x3f)), 3)
        default: return (nil, 1)
        }
    }

    private static func unicode(_ code: UInt16) -> [UInt8] {
        [UInt8(ascii: "\\"), UInt8(ascii: "u")] + [12, 8, 4, 0].map { digits[Int(code >> $0 & 15)] }
    }
}
