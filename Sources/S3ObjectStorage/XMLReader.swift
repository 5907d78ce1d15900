/// Reads one XML document from memory, without recursion, within limits.
struct XMLReader {
    /// Why the document cannot be read.
    struct Malformed: Error, CustomStringConvertible {
        let reason: String
        let offset: Int
        var description: String { "XML at byte \(offset): \(reason)" }
    }

    /// Elements within elements; S3's deepest answer has five.
    private static let maximumDepth = 32
    /// Elements in a document; a page of 1000 objects has about 10,000.
    private static let maximumElements = 100_000
    /// Bytes of a name.
    private static let maximumNameBytes = 256

    private let bytes: [UInt8]
    private var offset = 0
    private var elements = 0

    /// A reader of the whole of `bytes`, UTF-8.
    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// The root element.
    mutating func document() throws(Malformed) -> XMLElement {
        if bytes.starts(with: [0xef, 0xbb, 0xbf]) { offset = 3 }
        var open: [(element: XMLElement, text: [UInt8])] = []
        var root: XMLElement?
        while offset < bytes.count {
            if current != UInt8(ascii: "<") {
                try takeText(&open)
            } else if try skipMarkup() {
                continue
            } else if takeCharacterData(&open) {
                continue
            } else if peek(1) == UInt8(ascii: "/") {
                let closed = try takeEnd(&open)
                if open.isEmpty { root = closed } else { open[open.count - 1].element.children.append(closed) }
            } else {
                guard root == nil else { throw malformed("a second root element") }
                let (element, isEmpty) = try takeStart()
                if !isEmpty {
                    guard open.count < Self.maximumDepth else { throw malformed("too deep") }
                    open.append((element, []))
                } else if open.isEmpty {
                    root = element
                } else {
                    open[open.count - 1].element.children.append(element)
                }
            }
        }
        guard open.isEmpty, let root else { throw malformed("it ends too early") }
        return root
    }

    // MARK: Parts

    /// Text up to the next tag, references resolved.
    private mutating func takeText(_ open: inout [(element: XMLElement, text: [UInt8])]) throws(Malformed) {
        while let byte = current, byte != UInt8(ascii: "<") {
            var piece: [UInt8]
            if byte == UInt8(ascii: "&") {
                piece = try takeReference()
            } else {
                let start = offset
                while let next = current, next != UInt8(ascii: "<"), next != UInt8(ascii: "&") { offset += 1 }
                piece = Array(bytes[start..<offset])
            }
            if open.isEmpty {
                guard piece.allSatisfy(Self.isSpace) else { throw malformed("text outside the root element") }
                piece = []
            } else {
                open[open.count - 1].text += piece
            }
        }
    }

    /// Reads over a declaration, processing instruction or comment; false when there is none.
    private mutating func skipMarkup() throws(Malformed) -> Bool {
        if has("<?") { return try skip(past: "?>") }
        if has("<!--") { return try skip(past: "-->") }
        if has("<!"), !has("<![CDATA[") { throw malformed("a document type") }
        return false
    }

    private mutating func skip(past end: StaticString) throws(Malformed) -> Bool {
        while offset < bytes.count {
            if has(end) {
                offset += end.utf8CodeUnitCount
                return true
            }
            offset += 1
        }
        throw malformed("it ends too early")
    }

    /// Takes a CDATA section; false when there is none, or it does not end or stands outside the root.
    private mutating func takeCharacterData(_ open: inout [(element: XMLElement, text: [UInt8])]) -> Bool {
        guard has("<![CDATA["), !open.isEmpty else { return false }
        let start = offset + 9
        var end = start
        while end + 3 <= bytes.count, !bytes[end..<end + 3].elementsEqual("]]>".utf8) { end += 1 }
        guard end + 3 <= bytes.count else { return false }
        open[open.count - 1].text += bytes[start..<end]
        offset = end + 3
        return true
    }

    private mutating func takeStart() throws(Malformed) -> (XMLElement, isEmpty: Bool) {
        offset += 1
        let name = try takeName()
        elements += 1
        guard elements <= Self.maximumElements else { throw malformed("too many elements") }
        while true {
            skipSpace()
            switch current {
            case UInt8(ascii: ">"):
                offset += 1
                return (XMLElement(name: name), false)
            case UInt8(ascii: "/"):
                guard peek(1) == UInt8(ascii: ">") else { throw malformed("a stray slash") }
                offset += 2
                return (XMLElement(name: name), true)
            default: try skipAttribute()
            }
        }
    }

    private mutating func skipAttribute() throws(Malformed) {
        _ = try takeName()
        skipSpace()
        guard current == UInt8(ascii: "=") else { throw malformed("an attribute without a value") }
        offset += 1
        skipSpace()
        guard let quote = current, quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") else {
            throw malformed("an attribute without quotes")
        }
        offset += 1
        while let byte = current, byte != quote {
            guard byte != UInt8(ascii: "<") else { throw malformed("a tag inside an attribute") }
            offset += 1
        }
        guard current == quote else { throw malformed("it ends too early") }
        offset += 1
    }

    private mutating func takeEnd(
        _ open: inout [(element: XMLElement, text: [UInt8])]
    ) throws(Malformed) -> XMLElement {
        offset += 2
        let name = try takeName()
        skipSpace()
        guard current == UInt8(ascii: ">") else { throw malformed("an end tag that does not end") }
        offset += 1
        guard var (element, text) = open.popLast(), element.name == name else {
            throw malformed("an end tag without its beginning")
        }
        if !element.children.isEmpty {
            text = Array(text.drop(while: Self.isSpace))
            while let last = text.last, Self.isSpace(last) { text.removeLast() }
        }
        element.text = String(decoding: text, as: UTF8.self)
        return element
    }

    /// A name, its prefix dropped.
    private mutating func takeName() throws(Malformed) -> String {
        let start = offset
        while let byte = current, Self.isName(byte) { offset += 1 }
        guard offset > start, offset - start <= Self.maximumNameBytes else {
            throw malformed("no name, or too long a one")
        }
        let name = bytes[start..<offset]
        let local = name.lastIndex(of: UInt8(ascii: ":")).map { name[($0 + 1)...] } ?? name
        return String(decoding: local, as: UTF8.self)
    }

    /// `&lt;`, `&#65;`, `&#x41;` and the like.
    private mutating func takeReference() throws(Malformed) -> [UInt8] {
        let end = bytes[offset...].prefix(12).firstIndex(of: UInt8(ascii: ";"))
        guard let end else { throw malformed("a reference that does not end") }
        let name = String(decoding: bytes[(offset + 1)..<end], as: UTF8.self)
        let scalar: Unicode.Scalar?
        switch name {
        case "amp": scalar = "&"
        case "lt": scalar = "<"
        case "gt": scalar = ">"
        case "quot": scalar = "\""
        case "apos": scalar = "'"
        default:
            let digits = name.dropFirst()
            let isHex = digits.first == "x"
            let value = name.first == "#" ? UInt32(isHex ? digits.dropFirst() : digits, radix: isHex ? 16 : 10) : nil
            scalar = value.flatMap { Unicode.Scalar($0) }
        }
        guard let scalar else { throw malformed("an unknown reference") }
        offset = end + 1
        return Array(String(Character(scalar)).utf8)
    }

    // MARK: Bytes

    private var current: UInt8? { offset < bytes.count ? bytes[offset] : nil }

    private func peek(_ distance: Int) -> UInt8? { offset + distance < bytes.count ? bytes[offset + distance] : nil }

    private func has(_ text: StaticString) -> Bool {
        guard offset + text.utf8CodeUnitCount <= bytes.count else { return false }
        return text.withUTF8Buffer { bytes[offset..<offset + $0.count].elementsEqual($0) }
    }

    private mutating func skipSpace() {
        while let byte = current, Self.isSpace(byte) { offset += 1 }
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 }

    private static func isName(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: ":"), 0x80...0xff:
            true
        default: false
        }
    }

    private func malformed(_ reason: String) -> Malformed { Malformed(reason: reason, offset: offset) }
}
