package import Kubernetes

/// The way to a member of an object by names alone: an element of a list is named by one of its members, so the way
/// stays right when elements come and go.
///
/// As text a JSON pointer (RFC 6901) whose steps to elements are `KEY=VALUE`: `/spec/roles/name=decode/spec/replicas`.
/// An equals sign in a name stands as `~2`.
package struct FieldPath: Hashable, Sendable, CustomStringConvertible {
    /// One step.
    package enum Step: Hashable, Sendable {
        /// To a member of an object.
        case key(String)
        /// To the element of a list whose member `key` is the text `value`.
        case element(key: String, value: String)
    }

    package var steps: [Step]

    package init(_ steps: [Step]) { self.steps = steps }
    /// Members of objects.
    package init(_ keys: String...) { steps = keys.map { .key($0) } }

    /// The path that `text` spells; nil when it is none.
    package init?(parsing text: String) {
        guard text.hasPrefix("/"), text.utf8.count <= 1024 else { return nil }
        steps = []
        for part in text.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
            let sides = part.split(separator: "=", omittingEmptySubsequences: false)
            let names = sides.compactMap(Self.unescape)
            guard names.count == sides.count, names.allSatisfy({ !$0.isEmpty }) else { return nil }
            switch names.count {
            case 1: steps.append(.key(names[0]))
            case 2: steps.append(.element(key: names[0], value: names[1]))
            default: return nil
            }
        }
    }

    package var description: String {
        steps.map { step in
            switch step {
            case .key(let key): "/" + Self.escape(key)
            case .element(let key, let value): "/\(Self.escape(key))=\(Self.escape(value))"
            }
        }.joined()
    }

    private static func escape(_ name: String) -> String {
        name.replacing("~", with: "~0").replacing("/", with: "~1").replacing("=", with: "~2")
    }

    private static func unescape(_ text: Substring) -> String? {
        var result = ""
        var isEscape = false
        for character in text {
            switch (isEscape, character) {
            case (true, "0"): result.append("~")
            case (true, "1"): result.append("/")
            case (true, "2"): result.append("=")
            case (true, _): return nil
            case (false, "~"): break
            case (false, _): result.append(character)
            }
            isEscape = !isEscape && character == "~"
        }
        return isEscape ? nil : result
    }

    /// Where this leads in `object`; nil when an element on the way is not there.
    package func resolve(in object: KubernetesObject) -> JSONPath? {
        var path: [JSONPath.Element] = []
        for step in steps {
            switch step {
            case .key(let key): path.append(.key(key))
            case .element(let key, let value):
                let elements = object[JSONPath(path)]?.array ?? []
                guard let index = elements.firstIndex(where: { $0[.key(key)]?.string == value }) else { return nil }
                path.append(.index(index))
            }
        }
        return JSONPath(path)
    }
}

/// A field and what it is set to.
package struct FieldSetting: Equatable, Sendable {
    package var path: FieldPath
    package var value: JSONValue

    package init(_ path: FieldPath, _ value: JSONValue) {
        self.path = path
        self.value = value
    }
}
