internal import Yams

extension JSONValue {
    /// What keeps a text from being read as YAML.
    package struct MalformedYAML: Error, Hashable, Sendable, CustomStringConvertible {
        /// One line, without the text itself, which may hold secrets.
        package var message: String
        package var description: String { message }
    }

    /// The one document that `text` holds as YAML, of which JSON is a part; null when it is empty.
    ///
    /// Plain scalars are what YAML 1.2's core schema makes of them (`yes` is text), numbers in another spelling than
    /// JSON's (`0x10`, `.inf`) stay text. Keys must be scalars. `limits` count what aliases stand for.
    package init(parsingYAML text: String, limits: Limits = Limits(maximumBytes: 4 << 20)) throws(MalformedYAML) {
        guard text.utf8.count <= limits.maximumBytes else {
            throw MalformedYAML(message: "more than \(limits.maximumBytes) bytes of YAML")
        }
        let node: Node?
        do {
            // Without the resolver's regular expressions: scalars are looked at below.
            node = try compose(yaml: text, .basic)
        } catch {
            throw MalformedYAML(message: Self.words(error))
        }
        var converter = YAMLConverter(limits: limits)
        self = try node.map { node throws(MalformedYAML) in try converter.value(node, depth: 0) } ?? .null
    }

    /// The library's error without the piece of text that it quotes.
    private static func words(_ error: any Error) -> String {
        guard let error = error as? YamlError else { return "not YAML: \(error)" }
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            return "not YAML: \(problem) at line \(mark.line), column \(mark.column)"
        case .reader(let problem, _, _, _): return "not YAML: \(problem)"
        case .duplicatedKeysInMapping(let keys, let context):
            return "not YAML: the key \(keys.first ?? "") comes twice from line \(context.mark.line) on"
        default: return "not YAML"
        }
    }
}

/// Makes JSON of YAML's nodes.
private struct YAMLConverter {
    let limits: JSONValue.Limits
    private var count = 0

    init(limits: JSONValue.Limits) { self.limits = limits }

    mutating func value(_ node: Node, depth: Int) throws(JSONValue.MalformedYAML) -> JSONValue {
        count += 1
        guard count <= limits.maximumValues else { throw malformed("more than \(limits.maximumValues) values", node) }
        guard depth <= limits.maximumDepth else { throw malformed("nested too deeply", node) }
        switch node {
        case .scalar(let scalar): return Self.scalar(scalar)
        case .sequence(let sequence):
            var elements: [JSONValue] = []
            for element in sequence { elements.append(try value(element, depth: depth + 1)) }
            return .array(elements)
        case .mapping(let mapping):
            var members: [(key: String, value: JSONValue)] = []
            for (key, member) in mapping {
                guard case .scalar(let name) = key else { throw malformed("a key is no plain text", key) }
                members.append((name.string, try value(member, depth: depth + 1)))
            }
            guard let object = JSONObject(members) else { throw malformed("a key comes twice", node) }
            return .object(object)
        case .alias: throw malformed("an alias stands for nothing", node)
        }
    }

    private func malformed(_ what: String, _ node: Node) -> JSONValue.MalformedYAML {
        JSONValue.MalformedYAML(message: "\(what) at line \(node.mark?.line ?? 0)")
    }

    private static func scalar(_ scalar: Node.Scalar) -> JSONValue {
        guard scalar.style == .plain || scalar.style == .any else { return .string(scalar.string) }
        switch scalar.string {
        case "", "~", "null", "Null", "NULL": return .null
        case "true", "True", "TRUE": return .bool(true)
        case "false", "False", "FALSE": return .bool(false)
        case let text: return JSONNumber(text).map { .number($0) } ?? .string(text)
        }
    }
}
