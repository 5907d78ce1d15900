/// Reads JSON (RFC 8259) strictly and piece by piece: memory for one text, whatever the document's size.
///
/// The caller says what it expects and passes over what it does not know. Everything unexpected is a `Stop`.
struct JSONReader {
    /// What a value begins like.
    enum Kind {
        case object, array, string, number, literal
    }

    private(set) var cursor: SourceCursor
    private let limits: TensorFileLimits
    /// Whether `NaN`, `Infinity` and `-Infinity` are values, as Python's `json` writes and reads them.
    private let isPython: Bool
    /// For each open object or array, whether an element has been read.
    private var open: [Bool] = []

    init(_ cursor: SourceCursor, limits: TensorFileLimits, isPython: Bool = false) {
        self.cursor = cursor
        self.limits = limits
        self.isPython = isPython
    }

    /// Bytes from the source's start to the next piece.
    var offset: UInt64 { cursor.offset }

    func damaged(_ message: String) -> Stop { cursor.damaged(message) }

    /// The next byte that is no white space, which stays the next.
    private mutating func next() throws -> UInt8 {
        while let byte = try cursor.peek() {
            guard byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 else { return byte }
            _ = try cursor.readByte()
        }
        throw cursor.ended
    }

    private mutating func expect(_ byte: UInt8) throws {
        guard try next() == byte else { throw damaged("\"\(Character(UnicodeScalar(byte)))\" expected") }
        _ = try cursor.readByte()
    }

    /// What the next value is. It stays the next.
    mutating func kind() throws -> Kind {
        switch try next() {
        case UInt8(ascii: "{"): .object
        case UInt8(ascii: "["): .array
        case UInt8(ascii: "\""): .string
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): .number
        case UInt8(ascii: "t"), UInt8(ascii: "f"), UInt8(ascii: "n"): .literal
        case UInt8(ascii: "N") where isPython, UInt8(ascii: "I") where isPython: .literal
        default: throw damaged("a value expected")
        }
    }

    private mutating func begin(_ bracket: UInt8) throws {
        try expect(bracket)
        guard open.count < limits.depth else {
            throw Stop.unsupported("\(cursor.structure) is nested deeper than \(limits.depth)")
        }
        open.append(false)
    }

    /// Whether another element follows; passes over the comma, or over the bracket at the end.
    private mutating func nextElement(before bracket: UInt8) throws -> Bool {
        precondition(!open.isEmpty, "nothing is open")
        let byte = try next()
        if byte == bracket {
            _ = try cursor.readByte()
            open.removeLast()
            return false
        }
        if open[open.count - 1] { try expect(UInt8(ascii: ",")) }
        open[open.count - 1] = true
        return true
    }

    /// Begins an object; `nextKey` goes through it.
    mutating func beginObject() throws { try begin(UInt8(ascii: "{")) }

    /// The next member's name, after which its value is read or skipped; nil at the object's end.
    mutating func nextKey() throws -> String? {
        guard try nextElement(before: UInt8(ascii: "}")) else { return nil }
        guard let key = try readString(atMost: limits.nameBytes) else {
            throw Stop.unsupported("\(cursor.structure) has a name longer than \(limits.nameBytes) bytes")
        }
        try expect(UInt8(ascii: ":"))
        return key
    }

    /// Begins an array; `nextElement` goes through it.
    mutating func beginArray() throws { try begin(UInt8(ascii: "[")) }

    /// Whether another element follows, which is read or skipped then.
    mutating func nextElement() throws -> Bool { try nextElement(before: UInt8(ascii: "]")) }

    /// A text, or nil when it is longer than `maximum` bytes; it has been passed over then.
    mutating func readString(atMost maximum: Int) throws -> String? {
        try expect(UInt8(ascii: "\""))
        var text: [UInt8] = []
        var isTooLong = false
        while true {
            let byte = try cursor.readByte()
            switch byte {
            case UInt8(ascii: "\""):
                if isTooLong { return nil }
                guard let string = String(validating: text, as: UTF8.self) else {
                    throw damaged("a text that is not UTF-8")
                }
                return string
            case UInt8(ascii: "\\"): try readEscape(&text)
            case 0..<0x20: throw damaged("a control character in a text")
            default: text.append(byte)
            }
            if text.count > maximum {
                isTooLong = true
                text.removeAll(keepingCapacity: true)
            }
        }
    }

    private mutating func readEscape(_ text: inout [UInt8]) throws {
        switch try cursor.readByte() {
        case UInt8(ascii: "\""): text.append(UInt8(ascii: "\""))
        case UInt8(ascii: "\\"): text.append(UInt8(ascii: "\\"))
        case UInt8(ascii: "/"): text.append(UInt8(ascii: "/"))
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0c)
        case UInt8(ascii: "n"): text.append(0x0a)
        case UInt8(ascii: "r"): text.append(0x0d)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"):
            var value = try readHex()
            if (0xd800..<0xdc00).contains(value) {
                guard try cursor.readByte() == UInt8(ascii: "\\"), try cursor.readByte() == UInt8(ascii: "u") else {
                    throw Stop.unsupported("\(cursor.structure) has half a surrogate pair at byte \(offset)")
                }
                let low = try readHex()
                guard (0xdc00..<0xe000).contains(low) else {
                    throw Stop.unsupported("\(cursor.structure) has half a surrogate pair at byte \(offset)")
                }
                value = 0x10000 + (value - 0xd800) << 10 + (low - 0xdc00)
            }
            guard let scalar = UnicodeScalar(value) else {
                throw Stop.unsupported("\(cursor.structure) has half a surrogate pair at byte \(offset)")
            }
            text += String(Character(scalar)).utf8
        default: throw damaged("an escape that JSON has not")
        }
    }

    private mutating func readHex() throws -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            let byte = try cursor.readByte()
            guard let digit = Character(UnicodeScalar(byte)).hexDigitValue else { throw damaged("a digit expected") }
            value = value << 4 | UInt32(digit)
        }
        return value
    }

    /// The characters of a number, as they stand.
    mutating func readNumber() throws -> String {
        guard try kind() == .number else { throw damaged("a number expected") }
        var text: [UInt8] = []
        if isPython, try cursor.peek() == UInt8(ascii: "-") {
            text.append(try cursor.readByte())
            if try cursor.peek() == UInt8(ascii: "I") { return "-" + (try readLiteral()) }
        }
        while let byte = try cursor.peek() {
            guard (0x30...0x39).contains(byte) || [0x2b, 0x2d, 0x2e, 0x45, 0x65].contains(byte) else { break }
            text.append(byte)
            _ = try cursor.readByte()
            // Longer ones mean nothing that a Double or a UInt64 could hold.
            guard text.count <= 512 else {
                throw Stop.unsupported("\(cursor.structure) has a number of more than 512 characters")
            }
        }
        guard Self.isNumber(text) else {
            throw cursor.isAtEnd ? cursor.ended : damaged("a number that JSON has not")
        }
        return String(decoding: text, as: UTF8.self)
    }

    private static func isNumber(_ text: [UInt8]) -> Bool {
        var rest = text[...]
        func digits() -> Int {
            let count = rest.prefix { (0x30...0x39).contains($0) }.count
            rest = rest.dropFirst(count)
            return count
        }
        if rest.first == UInt8(ascii: "-") { rest = rest.dropFirst() }
        let startsWithZero = rest.first == UInt8(ascii: "0")
        let whole = digits()
        guard whole == 1 || whole > 1 && !startsWithZero else { return false }
        if rest.first == UInt8(ascii: ".") {
            rest = rest.dropFirst()
            guard digits() > 0 else { return false }
        }
        if rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") {
            rest = rest.dropFirst()
            if rest.first == UInt8(ascii: "+") || rest.first == UInt8(ascii: "-") { rest = rest.dropFirst() }
            guard digits() > 0 else { return false }
        }
        return rest.isEmpty
    }

    /// A whole number below 2^64.
    mutating func readUnsigned() throws -> UInt64 {
        guard let value = UInt64(try readNumber()) else { throw damaged("a whole number below 2^64 expected") }
        return value
    }

    /// An array of whole numbers, at most `maximum` of them.
    mutating func readUnsignedArray(atMost maximum: Int) throws -> [UInt64] {
        var values: [UInt64] = []
        try beginArray()
        while try nextElement() {
            guard values.count < maximum else {
                throw Stop.unsupported("\(cursor.structure) has an array of more than \(maximum) numbers")
            }
            values.append(try readUnsigned())
        }
        return values
    }

    /// A word that is a value.
    mutating func readLiteral() throws -> String {
        var text: [UInt8] = []
        while let byte = try cursor.peek(), (0x61...0x7a).contains(byte | 0x20), text.count < 9 {
            text.append(byte)
            _ = try cursor.readByte()
        }
        let word = String(decoding: text, as: UTF8.self)
        guard ["true", "false", "null"].contains(word) || isPython && ["NaN", "Infinity"].contains(word) else {
            throw cursor.isAtEnd ? cursor.ended : damaged("a word that JSON has not")
        }
        return word
    }

    /// Passes over one value, whatever it is.
    mutating func skipValue() throws {
        let outer = open.count
        // The kinds of bracket that are open inside this value.
        var brackets: [Kind] = []
        repeat {
            if let bracket = brackets.last {
                let follows = bracket == .object ? try nextKeyToSkip() : try nextElement()
                guard follows else {
                    brackets.removeLast()
                    continue
                }
            }
            switch try kind() {
            case .object:
                try beginObject()
                brackets.append(.object)
            case .array:
                try beginArray()
                brackets.append(.array)
            case .string: _ = try readString(atMost: 0)
            case .number: _ = try readNumber()
            case .literal: _ = try readLiteral()
            }
        } while open.count > outer
    }

    private mutating func nextKeyToSkip() throws -> Bool {
        guard try nextElement(before: UInt8(ascii: "}")) else { return false }
        _ = try readString(atMost: 0)
        try expect(UInt8(ascii: ":"))
        return true
    }

    /// Throws unless nothing but white space is left.
    mutating func expectEnd() throws {
        while let byte = try cursor.peek() {
            guard byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 else {
                throw damaged("nothing more expected")
            }
            _ = try cursor.readByte()
        }
    }
}
