/// A JSON number as it is spelled: `1`, `1.0`, `1e3` and `9007199254740993` come back as they came.
package struct JSONNumber: Hashable, Sendable, CustomStringConvertible {
    /// The spelling, by the grammar of RFC 8259, section 6.
    package let text: String

    /// An integer.
    package init(_ value: some BinaryInteger) { text = String(value) }

    /// The number that `text` spells, or nil when it spells none.
    package init?(_ text: String) {
        var copy = text
        let isNumber = copy.withUTF8 { bytes in Self.end(of: bytes, from: 0) == bytes.count }
        guard isNumber, !text.isEmpty else { return nil }
        self.text = text
    }

    /// For the parser, which has looked at every byte.
    init(unchecked text: String) { self.text = text }

    package var description: String { text }

    /// The value if it is spelled as an integer and fits, as Go would make it an `int64`.
    package var int64: Int64? { Int64(text) }

    /// The nearest value; infinite when it is too large.
    package var double: Double? { Double(text) }

    /// Where the number that begins at `start` ends; `start` itself if none begins there, or where it breaks off as a
    /// negative number.
    static func end(of bytes: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
        var position = start
        func digits() -> Bool {
            let first = position
            while position < bytes.count, (0x30...0x39).contains(bytes[position]) { position += 1 }
            return position > first
        }
        func take(_ characters: UInt8...) -> Bool {
            guard position < bytes.count, characters.contains(bytes[position]) else { return false }
            position += 1
            return true
        }
        _ = take(UInt8(ascii: "-"))
        if !take(UInt8(ascii: "0")), !digits() { return position == start ? start : -position }
        if take(UInt8(ascii: ".")), !digits() { return -position }
        if take(UInt8(ascii: "e"), UInt8(ascii: "E")) {
            _ = take(UInt8(ascii: "+"), UInt8(ascii: "-"))
            if !digits() { return -position }
        }
        return position
    }
}
