/// Reads one JSON text. It does not recurse: the depth of the text costs it no stack.
///
/// Values wait on one stack until the object or array that they belong to is complete; then they move to an array of
/// their own of exactly the right size.
struct JSONParser {
    private struct Frame {
        var isObject: Bool
        var firstValue: Int
        var firstKey: Int
        /// Offset of its opening bracket.
        var start: Int
    }

    /// What may come next.
    private enum Expectation {
        case value, valueOrEnd, key, keyOrEnd, commaOrEnd
    }

    private let bytes: UnsafeBufferPointer<UInt8>
    private let limits: JSONValue.Limits
    private var position = 0
    private var values: [JSONValue] = []
    private var keys: [String] = []
    private var frames: [Frame] = []
    private var valueCount = 0
    private var scratch: [UInt8] = []

    /// A parser of `bytes`, which must outlive it.
    init(_ bytes: UnsafeBufferPointer<UInt8>, _ limits: JSONValue.Limits) {
        self.bytes = bytes
        self.limits = limits
    }

    private func error(_ message: String, at offset: Int? = nil) -> JSONError {
        JSONError(message, offset: offset ?? position)
    }

    /// The value. Call once.
    mutating func parse() throws(JSONError) -> JSONValue {
        guard bytes.count <= limits.maximumBytes else {
            throw error("more than \(limits.maximumBytes) bytes of JSON", at: limits.maximumBytes)
        }
        var expected = Expectation.value
        repeat {
            skipSpace()
            guard position < bytes.count else { throw error("the text ends where \(Self.name(expected)) should be") }
            switch expected {
            case .value, .valueOrEnd: expected = try takeValue(mayEnd: expected == .valueOrEnd)
            case .key, .keyOrEnd: expected = try takeKey(mayEnd: expected == .keyOrEnd)
            case .commaOrEnd: expected = try takeCommaOrEnd()
            }
        } while !(frames.isEmpty && expected == .commaOrEnd)
        skipSpace()
        guard position == bytes.count else { throw error("something follows the value") }
        return values[0]
    }

    private static func name(_ expected: Expectation) -> String {
        switch expected {
        case .value: "a value"
        case .valueOrEnd: "a value or `]`"
        case .key: "a key"
        case .keyOrEnd: "a key or `}`"
        case .commaOrEnd: "a comma or a closing bracket"
        }
    }

    private mutating func skipSpace() {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x0a, 0x0d, 0x09: position += 1
            default: return
            }
        }
    }

    // MARK: Structure

    private mutating func takeValue(mayEnd: Bool) throws(JSONError) -> Expectation {
        switch bytes[position] {
        case UInt8(ascii: "{"):
            try open(isObject: true)
            return .keyOrEnd
        case UInt8(ascii: "["):
            try open(isObject: false)
            return .valueOrEnd
        case UInt8(ascii: "]") where mayEnd: try close()
        case UInt8(ascii: "\""): try push(.string(takeString()))
        case UInt8(ascii: "t"): try push(takeWord("true", .bool(true)))
        case UInt8(ascii: "f"): try push(takeWord("false", .bool(false)))
        case UInt8(ascii: "n"): try push(takeWord("null", .null))
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): try push(takeNumber())
        default: throw error("no JSON value begins like this")
        }
        return .commaOrEnd
    }

    private mutating func takeKey(mayEnd: Bool) throws(JSONError) -> Expectation {
        if mayEnd, bytes[position] == UInt8(ascii: "}") {
            try close()
            return .commaOrEnd
        }
        guard bytes[position] == UInt8(ascii: "\"") else {
            throw error("\(Self.name(mayEnd ? .keyOrEnd : .key)) expected")
        }
        keys.append(try takeString())
        skipSpace()
        guard position < bytes.count, bytes[position] == UInt8(ascii: ":") else { throw error("`:` expected") }
        position += 1
        return .value
    }

    private mutating func takeCommaOrEnd() throws(JSONError) -> Expectation {
        let isObject = frames.last?.isObject ?? false
        switch bytes[position] {
        case UInt8(ascii: ","):
            position += 1
            return isObject ? .key : .value
        case UInt8(ascii: "}") where isObject, UInt8(ascii: "]") where !isObject:
            try close()
            return .commaOrEnd
        default: throw error("a comma or `\(isObject ? "}" : "]")` expected")
        }
    }

    private mutating func open(isObject: Bool) throws(JSONError) {
        guard frames.count < limits.maximumDepth else {
            throw error("more than \(limits.maximumDepth) objects and lists within each other")
        }
        frames.append(
            Frame(isObject: isObject, firstValue: values.count, firstKey: keys.count, start: position))
        position += 1
    }

    private mutating func close() throws(JSONError) {
        let frame = frames.removeLast()
        position += 1
        guard frame.isObject else {
            let elements = Array(values[frame.firstValue...])
            values.removeSubrange(frame.firstValue...)
            try push(.array(elements))
            return
        }
        let count = values.count - frame.firstValue
        let members = (0..<count).map { index in
            JSONObject.Member(key: keys[frame.firstKey + index], value: values[frame.firstValue + index])
        }
        values.removeSubrange(frame.firstValue...)
        keys.removeSubrange(frame.firstKey...)
        guard let object = JSONObject(members) else {
            throw error("a key comes twice in the object", at: frame.start)
        }
        try push(.object(object))
    }

    private mutating func push(_ value: JSONValue) throws(JSONError) {
        valueCount += 1
        guard valueCount <= limits.maximumValues else { throw error("more than \(limits.maximumValues) values") }
        values.append(value)
    }

    // MARK: Leaves

    private mutating func takeWord(_ word: StaticString, _ value: JSONValue) throws(JSONError) -> JSONValue {
        let isThere = word.withUTF8Buffer { word in
            bytes.count - position >= word.count && word.elementsEqual(bytes[position..<position + word.count])
        }
        guard isThere else { throw error("`\(word)` expected") }
        position += word.utf8CodeUnitCount
        return value
    }

    private mutating func takeNumber() throws(JSONError) -> JSONValue {
        let end = JSONNumber.end(of: bytes, from: position)
        guard end > position else { throw error("a digit expected", at: -end) }
        defer { position = end }
        return .number(
            JSONNumber(unchecked: String(decoding: UnsafeBufferPointer(rebasing: bytes[position..<end]), as: UTF8.self))
        )
    }

    /// The text whose opening quote is next.
    private mutating func takeString() throws(JSONError) -> String {
        position += 1
        var start = position
        var hasEscapes = false
        while true {
            guard position < bytes.count else { throw error("the text ends within a string") }
            switch bytes[position] {
            case UInt8(ascii: "\""):
                let piece = UnsafeBufferPointer(rebasing: bytes[start..<position])
                try requireUTF8(piece, at: start)
                position += 1
                guard hasEscapes else { return String(decoding: piece, as: UTF8.self) }
                scratch.append(contentsOf: piece)
                return String(decoding: scratch, as: UTF8.self)
            case UInt8(ascii: "\\"):
                if !hasEscapes { scratch.removeAll(keepingCapacity: true) }
                hasEscapes = true
                let piece = UnsafeBufferPointer(rebasing: bytes[start..<position])
                try requireUTF8(piece, at: start)
                scratch.append(contentsOf: piece)
                try takeEscape()
                start = position
            case 0..<0x20: throw error("a control character within a string")
            default: position += 1
            }
        }
    }

    /// Throws at the first byte that is no UTF-8. A piece lies between quotes and backslashes, so it begins and ends
    /// with whole characters if it is good.
    private func requireUTF8(_ piece: UnsafeBufferPointer<UInt8>, at start: Int) throws(JSONError) {
        guard piece.contains(where: { $0 >= 0x80 }) else { return }
        var decoder = UTF8()
        var iterator = piece.makeIterator()
        var offset = start
        while true {
            switch decoder.decode(&iterator) {
            case .scalarValue(let scalar): offset += UTF8.width(scalar)
            case .emptyInput: return
            case .error: throw error("a byte that is no UTF-8", at: offset)
            }
        }
    }

    private mutating func takeEscape() throws(JSONError) {
        let start = position
        guard position + 1 < bytes.count else { throw error("the text ends within a string", at: bytes.count) }
        let letter = bytes[position + 1]
        position += 2
        switch letter {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): scratch.append(letter)
        case UInt8(ascii: "b"): scratch.append(0x08)
        case UInt8(ascii: "f"): scratch.append(0x0c)
        case UInt8(ascii: "n"): scratch.append(0x0a)
        case UInt8(ascii: "r"): scratch.append(0x0d)
        case UInt8(ascii: "t"): scratch.append(0x09)
        case UInt8(ascii: "u"): try takeUnicodeEscape(start)
        default: throw error("no such escape", at: start)
        }
    }

    private mutating func takeUnicodeEscape(_ start: Int) throws(JSONError) {
        var code = try takeHex()
        if (0xd800..<0xdc00).contains(code), position + 1 < bytes.count, bytes[position] == UInt8(ascii: "\\"),
            bytes[position + 1] == UInt8(ascii: "u")
        {
            position += 2
            let low = try takeHex()
            guard (0xdc00..<0xe000).contains(low) else { throw error("half a surrogate pair", at: start) }
            code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
        }
        guard let scalar = Unicode.Scalar(code) else { throw error("half a surrogate pair", at: start) }
        scratch.append(contentsOf: String(Character(scalar)).utf8)
    }

    private mutating func takeHex() throws(JSONError) -> UInt32 {
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard position < bytes.count else { throw error("the text ends within a string") }
            switch bytes[position] {
            case let byte where (0x30...0x39).contains(byte): code = code << 4 | UInt32(byte - 0x30)
            case let byte where (0x41...0x46).contains(byte): code = code << 4 | UInt32(byte - 0x41 + 10)
            case let byte where (0x61...0x66).contains(byte): code = code << 4 | UInt32(byte - 0x61 + 10)
            default: throw error("four hexadecimal digits expected")
            }
            position += 1
        }
        return code
    }
}
