/// A JSON document in memory: for the small files with which frameworks keep their state.
///
/// What is read is what Python's `json` module reads: `NaN` and `Infinity` are numbers, and of two members with one name
/// the last counts. Texts longer than `longestText` are `tooLong`.
package enum JSONValue: Hashable, Sendable {
    case object([String: JSONValue])
    case array([JSONValue])
    case string(String)
    /// A number's characters, as they stand.
    case number(String)
    case bool(Bool)
    case null
    /// A text that was passed over.
    case tooLong

    /// Bytes of the longest text that is kept.
    package static let longestText = 64 << 10
    /// Values in a document, and bytes of all its texts: some 50 MB in memory at the most.
    package static let mostValues = 1 << 18, mostTextBytes = 16 << 20

    /// The document in `source`. Throws only what `source` throws.
    ///
    /// - Parameter keeping: the members of the outermost object to keep; the others are read and checked, but take no
    ///   memory. Nil keeps all.
    /// - Returns: `torn` for what Python's `json.load` refuses, an empty file too; `unsupported` beyond the limits.
    package static func read(
        _ source: any TensorByteSource, keeping: Set<String>? = nil, limits: TensorFileLimits = TensorFileLimits()
    ) throws -> Finding<JSONValue> {
        try Finding {
            let cursor = SourceCursor(source, limit: limits.headerBytes, structure: "the JSON file")
            var builder = Builder(json: JSONReader(cursor, limits: limits, isPython: true), limits: limits)
            let value = try builder.value(keeping: keeping)
            try builder.json.expectEnd()
            return value
        }
    }

    private struct Builder {
        var json: JSONReader
        let limits: TensorFileLimits
        var values = 0
        var textBytes = 0

        mutating func value(keeping: Set<String>? = nil) throws -> JSONValue {
            values += 1
            guard values <= JSONValue.mostValues, textBytes <= JSONValue.mostTextBytes else {
                throw Stop.unsupported("the JSON file has more values than a reader here holds")
            }
            switch try json.kind() {
            case .object:
                var members: [String: JSONValue] = [:]
                try json.beginObject()
                while let key = try json.nextKey() {
                    if let keeping, !keeping.contains(key) {
                        try json.skipValue()
                    } else {
                        textBytes += key.utf8.count
                        members[key] = try value()
                    }
                }
                return .object(members)
            case .array:
                var elements: [JSONValue] = []
                try json.beginArray()
                while try json.nextElement() { elements.append(try value()) }
                return .array(elements)
            case .string:
                guard let text = try json.readString(atMost: JSONValue.longestText) else { return .tooLong }
                textBytes += text.utf8.count
                return .string(text)
            case .number: return .number(try json.readNumber())
            case .literal:
                switch try json.readLiteral() {
                case "true": return .bool(true)
                case "false": return .bool(false)
                case "null": return .null
                case let word: return .number(word)
                }
            }
        }
    }

    /// The member of an object; nil for any other value, or when there is none.
    package subscript(_ key: String) -> JSONValue? {
        if case .object(let members) = self { members[key] } else { nil }
    }

    /// The members of an object; nil for any other value.
    package var members: [String: JSONValue]? { if case .object(let members) = self { members } else { nil } }

    /// The elements of an array; nil for any other value.
    package var elements: [JSONValue]? { if case .array(let elements) = self { elements } else { nil } }

    /// The text; nil for any other value.
    package var text: String? { if case .string(let text) = self { text } else { nil } }

    /// The number, when it is whole and fits; nil for any other value.
    package var integer: Int64? { if case .number(let text) = self { Int64(text) } else { nil } }
}
