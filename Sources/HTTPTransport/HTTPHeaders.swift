/// The header fields of a request or an answer, in order; names are compared without regard to case (RFC 9110, 5.1).
package struct HTTPHeaders: Hashable, Sendable {
    /// One field.
    package struct Field: Hashable, Sendable {
        /// As it was given.
        package var name: String
        /// Without white space at its ends.
        package var value: String
    }

    /// All fields in order.
    package private(set) var fields: [Field] = []

    /// No fields.
    package init() {}

    /// The given fields in order.
    package init(_ fields: [(name: String, value: String)]) {
        self.fields = fields.map { Field(name: $0.name, value: $0.value) }
    }

    /// The first field of that name; setting it replaces all of that name, nil removes them.
    package subscript(name: String) -> String? {
        get { fields.first { Self.equal($0.name, name) }?.value }
        set {
            fields.removeAll { Self.equal($0.name, name) }
            if let newValue { fields.append(Field(name: name, value: newValue)) }
        }
    }

    /// Appends a field, even when there is one of that name.
    package mutating func add(_ name: String, _ value: String) {
        fields.append(Field(name: name, value: value))
    }

    private static func equal(_ left: String, _ right: String) -> Bool {
        left.utf8.count == right.utf8.count
            && zip(left.utf8, right.utf8).allSatisfy { pair in lowered(pair.0) == lowered(pair.1) }
    }

    private static func lowered(_ byte: UInt8) -> UInt8 {
        (0x41...0x5a).contains(byte) ? byte | 0x20 : byte
    }
}
