internal import Yams

/// What is wrong with a YAML text.
package struct YAMLError: Error, Hashable, Sendable, CustomStringConvertible {
    /// One line, without the text itself, which may hold secrets.
    package var message: String

    package var description: String { message }
}

/// What plain scalars of a YAML text are.
package enum YAMLSchema: Hashable, Sendable {
    /// As Kubernetes takes its own objects (YAML 1.1): `yes` is true, `0x10` is 16.
    case kubernetes
    /// As Go's yaml.v3 takes what is to be text (YAML 1.2): `yes` is text, and numbers keep their spelling, or are text
    /// where it is not JSON's.
    case core
}

extension JSONValue {
    /// The first document of a YAML text, as Kubernetes takes it: what looks like a number, a truth value or null is one
    /// unless it is quoted. Keys that come twice, tags that JSON lacks, and documents that their aliases blow up are
    /// refused. An empty text is null.
    package init(
        yaml text: String, schema: YAMLSchema = .kubernetes,
        limits: Limits = Limits(maximumBytes: 4 << 20, maximumValues: 1 << 18)
    ) throws(YAMLError) {
        guard text.utf8.count <= limits.maximumBytes else {
            throw YAMLError(message: "more than \(limits.maximumBytes) bytes of YAML")
        }
        let node: Node?
        do {
            node = try Yams.compose(yaml: text)
        } catch let error as YamlError {
            throw YAMLError(message: Self.words(error))
        } catch {
            throw YAMLError(message: "no YAML")
        }
        var left = limits.maximumValues
        guard let node else {
            self = .null
            return
        }
        self = try Self.value(node, schema, &left, depth: limits.maximumDepth)
    }

    private static func words(_ error: YamlError) -> String {
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            "no YAML: \(problem) at line \(mark.line)"
        case .duplicatedKeysInMapping(_, let context): "a key comes twice at line \(context.mark.line)"
        default: "no YAML"
        }
    }

    private static func value(
        _ node: Node, _ schema: YAMLSchema, _ left: inout Int, depth: Int
    ) throws(YAMLError) -> JSONValue {
        left -= 1
        let line = node.mark.map { " at line \($0.line)" } ?? ""
        guard left >= 0 else { throw YAMLError(message: "too many values\(line)") }
        guard depth > 0 else { throw YAMLError(message: "too many objects and lists within each other\(line)") }
        switch node {
        case .scalar(let scalar): return leaf(node, scalar, schema)
        case .sequence(let sequence):
            var elements: [JSONValue] = []
            for element in sequence { elements.append(try value(element, schema, &left, depth: depth - 1)) }
            return .array(elements)
        case .mapping(let mapping):
            var members: [(key: String, value: JSONValue)] = []
            for (key, element) in mapping {
                guard let name = key.scalar?.string else { throw YAMLError(message: "a key that is no text\(line)") }
                members.append((name, try value(element, schema, &left, depth: depth - 1)))
            }
            guard let object = JSONObject(members) else { throw YAMLError(message: "a key comes twice\(line)") }
            return .object(object)
        case .alias: throw YAMLError(message: "an alias of nothing\(line)")
        }
    }

    private static func leaf(_ node: Node, _ scalar: Node.Scalar, _ schema: YAMLSchema) -> JSONValue {
        guard scalar.style == .plain || scalar.style == .any else { return .string(scalar.string) }
        if schema == .core { return core(scalar.string) }
        let tag = node.tag
        if tag == Tag(.null) { return .null }
        if tag == Tag(.bool), let flag = node.bool { return .bool(flag) }
        if tag == Tag(.int), let number = node.int { return .integer(number) }
        if tag == Tag(.float) {
            // `.5`, `1.`, `+1.5` are not JSON's spelling. Infinity and NaN stay text.
            if let number = JSONNumber(scalar.string) ?? node.float.flatMap({ JSONNumber("\($0)") }) {
                return .number(number)
            }
        }
        return .string(scalar.string)
    }
    private static func core(_ text: String) -> JSONValue {
        switch text {
        case "", "~", "null", "Null", "NULL": .null
        case "true", "True", "TRUE": .bool(true)
        case "false", "False", "FALSE": .bool(false)
        default: JSONNumber(text).map { .number($0) } ?? .string(text)
        }
    }
}
