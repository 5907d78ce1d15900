/// A JSON value that loses nothing of what it was read from but white space and the spelling of text.
///
/// - Numbers keep their spelling (`JSONNumber`), objects the order of their members (`JSONObject`), unknown members
///   stay. A key that comes twice is refused when it is read: Go would keep the last one and lose the other.
/// - Text is written as Go's `encoding/json` writes it (1.22 and later: a backspace is `\b`), so what Go wrote without
///   white space comes back byte for byte.
/// - Values are equal when their kinds are, text and numbers are spelled alike (`1` is not `1.0`: Go makes an `int64` of
///   the one and a `float64` of the other), and members are equal in any order.
package enum JSONValue: Sendable {
    case null
    case bool(Bool)
    case number(JSONNumber)
    case string(String)
    case array([JSONValue])
    case object(JSONObject)

    /// What a text may hold at most.
    package struct Limits: Sendable {
        /// Bytes of text.
        package var maximumBytes: Int
        /// Objects and arrays within each other. The deepest schemas of real custom resources stay below 100; a few
        /// hundred can be taken down again on the smallest stacks of threads.
        package var maximumDepth: Int
        /// Values in all, which bounds the memory: one takes 24 bytes, with its key 40, and an object or array another
        /// 32.
        package var maximumValues: Int

        package init(maximumBytes: Int = 64 << 20, maximumDepth: Int = 256, maximumValues: Int = 4 << 20) {
            self.maximumBytes = maximumBytes
            self.maximumDepth = maximumDepth
            self.maximumValues = maximumValues
        }
    }

    /// The value that `text` holds, and nothing but white space beside it (RFC 8259, strictly; text must be UTF-8
    /// without lone surrogates). Throws with the offset of what is wrong, or where a limit was exceeded.
    package init(parsing text: [UInt8], limits: Limits = Limits()) throws(JSONError) {
        // A closure cannot carry the typed error through the pointer's scope.
        let result: Result<JSONValue, JSONError> = text.withUnsafeBufferPointer { bytes in
            var parser = JSONParser(bytes, limits)
            do throws(JSONError) {
                return .success(try parser.parse())
            } catch {
                return .failure(error)
            }
        }
        self = try result.get()
    }

    /// The value that `text` holds; as above.
    package init(parsing text: String, limits: Limits = Limits()) throws(JSONError) {
        try self.init(parsing: Array(text.utf8), limits: limits)
    }

    /// An integer.
    package static func integer(_ value: some BinaryInteger) -> JSONValue { .number(JSONNumber(value)) }

    // MARK: What it is

    /// The text, if it is one.
    package var string: String? { if case .string(let text) = self { text } else { nil } }
    /// The truth value, if it is one.
    package var bool: Bool? { if case .bool(let flag) = self { flag } else { nil } }
    /// The number, if it is one.
    package var number: JSONNumber? { if case .number(let number) = self { number } else { nil } }
    /// The number, if it is spelled as an integer and fits.
    package var int64: Int64? { number?.int64 }
    /// The elements, if it is an array.
    package var array: [JSONValue]? { if case .array(let elements) = self { elements } else { nil } }
    /// The members, if it is an object.
    package var object: JSONObject? { if case .object(let object) = self { object } else { nil } }
    /// Whether it is null.
    package var isNull: Bool { if case .null = self { true } else { false } }

    /// `an object`, `text`, …: for messages.
    package var kindName: String {
        switch self {
        case .null: "null"
        case .bool: "a truth value"
        case .number: "a number"
        case .string: "text"
        case .array: "a list"
        case .object: "an object"
        }
    }
}

extension JSONValue: Equatable {
    package static func == (left: JSONValue, right: JSONValue) -> Bool {
        switch (left, right) {
        case (.null, .null): true
        case (.bool(let left), .bool(let right)): left == right
        case (.number(let left), .number(let right)): left == right
        case (.string(let left), .string(let right)): UTF8Order.areEqual(left, right)
        case (.array(let left), .array(let right)): left == right
        case (.object(let left), .object(let right)): left == right
        default: false
        }
    }
}

// Not by `nil`: `object[key] == nil` would ask for null, and `object[key] = nil` would set it.
extension JSONValue: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    package init(stringLiteral value: String) { self = .string(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(integerLiteral value: Int64) { self = .integer(value) }
    package init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    /// A key that comes twice is a programmer's error.
    package init(dictionaryLiteral elements: (String, JSONValue)...) {
        guard let object = JSONObject(elements.map { (key: $0.0, value: $0.1) }) else {
            preconditionFailure("a key comes twice in a literal")
        }
        self = .object(object)
    }
}

extension JSONValue: CustomStringConvertible {
    /// The JSON text: for tests and debuggers, never for logs, since objects hold secrets.
    package var description: String { String(decoding: serialized(), as: UTF8.self) }
}
