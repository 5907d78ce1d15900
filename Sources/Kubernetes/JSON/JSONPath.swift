/// The way from a value to one within it.
package struct JSONPath: Hashable, Sendable, ExpressibleByArrayLiteral, ExpressibleByStringLiteral,
    CustomStringConvertible
{
    /// One step.
    package enum Element: Hashable, Sendable, ExpressibleByStringLiteral, ExpressibleByIntegerLiteral {
        /// To a member of an object.
        case key(String)
        /// To an element of an array, from 0.
        case index(Int)

        package init(stringLiteral value: String) { self = .key(value) }
        package init(integerLiteral value: Int) { self = .index(value) }
    }

    /// In order, from the outside.
    package var elements: [Element]

    package init(_ elements: [Element]) { self.elements = elements }
    package init(arrayLiteral elements: Element...) { self.elements = elements }
    /// A single key, dots and all.
    package init(stringLiteral value: String) { elements = [.key(value)] }

    /// One step further.
    package func appending(_ element: Element) -> JSONPath { JSONPath(elements + [element]) }

    /// As people write it: `spec.containers[0].image`, `metadata.labels["a.b/c"]`.
    package var description: String {
        var text = ""
        for element in elements {
            switch element {
            case .index(let index): text += "[\(index)]"
            case .key(let key):
                let isPlain =
                    !key.isEmpty
                    && key.utf8.allSatisfy {
                        (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0)
                            || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-")
                    }
                if isPlain {
                    text += text.isEmpty ? key : ".\(key)"
                } else {
                    text += "[\(JSONValue.string(key))]"
                }
            }
        }
        return text
    }

    /// As a JSON patch writes it (RFC 6901): `/metadata/labels/a.b~1c`.
    package var pointer: String {
        elements.map { element in
            switch element {
            case .index(let index): "/\(index)"
            case .key(let key): "/" + key.replacing("~", with: "~0").replacing("/", with: "~1")
            }
        }.joined()
    }
}

/// Why a value could not be put where it was to go.
package struct JSONPathError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What lies in the way, and where: one line.
    package var message: String

    package var description: String { message }
}

extension JSONValue {
    /// The value at `path`; nil when there is none.
    package subscript(path: JSONPath) -> JSONValue? { self[path.elements[...]] }

    /// The value that the given steps lead to; nil when there is none.
    package subscript(path: JSONPath.Element...) -> JSONValue? { self[path[...]] }

    private subscript(path: ArraySlice<JSONPath.Element>) -> JSONValue? {
        var value = self
        for element in path {
            switch (element, value) {
            case (.key(let key), .object(let object)):
                guard let next = object[key] else { return nil }
                value = next
            case (.index(let index), .array(let elements)) where elements.indices.contains(index):
                value = elements[index]
            default: return nil
            }
        }
        return value
    }

    /// Puts `value` at `path`. Objects that are missing (or null) on the way are made; an index must be there, or be
    /// the one behind the last. Throws, and changes nothing, when something else is in the way.
    package mutating func set(_ value: JSONValue, at path: JSONPath) throws(JSONPathError) {
        try checkWay(path)
        place(value, path.elements[...])
    }

    /// Takes out what is at `path` and returns it; nil when there is nothing. Objects and arrays around it stay.
    @discardableResult
    package mutating func remove(at path: JSONPath) -> JSONValue? {
        guard self[path] != nil, !path.elements.isEmpty else { return nil }
        return cut(path.elements[...])
    }

    private func checkWay(_ path: JSONPath) throws(JSONPathError) {
        var value: JSONValue? = self
        for (depth, element) in path.elements.enumerated() {
            let here = JSONPath(Array(path.elements[..<depth]))
            switch (element, value) {
            case (.key, nil), (.key, .null): value = nil
            case (.key(let key), .object(let object)): value = object[key]
            case (.index(let index), .array(let elements)) where index >= 0 && index <= elements.count:
                value = index < elements.count ? elements[index] : nil
            case (_, let other):
                let found = other?.kindName ?? "nothing"
                throw JSONPathError(
                    message:
                        "cannot set \(path): at \(here.elements.isEmpty ? "the top" : here.description) is \(found)")
            }
        }
    }

    /// As `set`, on a way that has been checked.
    private mutating func place(_ value: JSONValue, _ path: ArraySlice<JSONPath.Element>) {
        guard let first = path.first else {
            self = value
            return
        }
        let rest = path.dropFirst()
        switch first {
        case .key(let key):
            var object = self.object ?? JSONObject()
            // Nothing else may hold the members while they change, or they would be copied.
            self = .null
            if object.update(key, { $0.place(value, rest) }) == nil {
                var made = JSONValue.null
                made.place(value, rest)
                object[key] = made
            }
            self = .object(object)
        case .index(let index):
            guard case .array(var elements) = self else { return }
            self = .null
            if index == elements.count { elements.append(.null) }
            elements[index].place(value, rest)
            self = .array(elements)
        }
    }

    /// As `remove`, of something that is there.
    private mutating func cut(_ path: ArraySlice<JSONPath.Element>) -> JSONValue? {
        guard let first = path.first else { return nil }
        let rest = path.dropFirst()
        switch (first, self) {
        case (.key(let key), .object(var object)):
            self = .null
            defer { self = .object(object) }
            if rest.isEmpty {
                defer { object[key] = nil }
                return object[key]
            }
            return object.update(key) { $0.cut(rest) } ?? nil
        case (.index(let index), .array(var elements)):
            self = .null
            defer { self = .array(elements) }
            return rest.isEmpty ? elements.remove(at: index) : elements[index].cut(rest)
        default: return nil
        }
    }
}
