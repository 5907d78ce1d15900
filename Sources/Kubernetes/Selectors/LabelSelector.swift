/// Which objects are meant, by their labels. All requirements must hold; none at all means every object.
///
/// The text form is that of `kubectl -l` and of the API's `labelSelector` parameter (apimachinery, `labels.Parse`):
/// `a=b,c!=d,e in (x,y),f notin (z),g,!h,i>5`.
package struct LabelSelector: Hashable, Sendable, CustomStringConvertible {
    /// One condition on one label.
    package struct Requirement: Hashable, Sendable, CustomStringConvertible {
        /// How the label's value is compared.
        package enum Operation: Hashable, Sendable {
            /// There, with one of these values.
            case isIn([String])
            /// Absent, or there with none of these values.
            case isNotIn([String])
            /// There, with any value.
            case exists
            /// Absent.
            case doesNotExist
            /// There, with an integer above this one.
            case isGreater(Int64)
            /// There, with an integer below this one.
            case isLess(Int64)
        }

        package var key: String
        package var operation: Operation

        package init(_ key: String, _ operation: Operation) {
            self.key = key
            self.operation = operation
        }

        /// Whether an object with these labels is meant.
        package func matches(_ labels: [String: String]) -> Bool {
            let value = labels[key]
            switch operation {
            case .isIn(let values): return value.map(values.contains) ?? false
            case .isNotIn(let values): return !(value.map(values.contains) ?? false)
            case .exists: return value != nil
            case .doesNotExist: return value == nil
            case .isGreater(let bound): return value.flatMap { Int64($0) }.map { $0 > bound } ?? false
            case .isLess(let bound): return value.flatMap { Int64($0) }.map { $0 < bound } ?? false
            }
        }

        package var description: String {
            switch operation {
            case .isIn(let values) where values.count == 1: "\(key)=\(values[0])"
            case .isIn(let values): "\(key) in (\(values.joined(separator: ",")))"
            case .isNotIn(let values) where values.count == 1: "\(key)!=\(values[0])"
            case .isNotIn(let values): "\(key) notin (\(values.joined(separator: ",")))"
            case .exists: key
            case .doesNotExist: "!\(key)"
            case .isGreater(let bound): "\(key)>\(bound)"
            case .isLess(let bound): "\(key)<\(bound)"
            }
        }
    }

    /// What is wrong with a selector.
    package struct Malformed: Error, Hashable, Sendable, CustomStringConvertible {
        package var message: String
        package var description: String { message }
    }

    package var requirements: [Requirement]

    package init(_ requirements: [Requirement] = []) { self.requirements = requirements }

    /// Labels that must all have these values.
    package init(matching labels: [String: String]) {
        requirements = labels.sorted { $0.key < $1.key }.map { Requirement($0.key, .isIn([$0.value])) }
    }

    /// The selector that `text` spells. Throws with what was expected where.
    package init(parsing text: String) throws(Malformed) {
        var parser = LabelSelectorParser(text)
        requirements = try parser.parse()
    }

    /// From an object's `selector` with `matchLabels` and `matchExpressions` (meta/v1 LabelSelector), or from a plain
    /// map of labels as Services and ReplicationControllers have it. Throws on operators it does not know, rather than
    /// to select too much.
    package init(_ json: JSONValue) throws(Malformed) {
        guard let object = json.object else {
            throw Malformed(message: "a label selector is a JSON object, not \(json.kindName)")
        }
        guard object["matchLabels"] != nil || object["matchExpressions"] != nil else {
            requirements = try Self.equalities(json)
            return
        }
        requirements = try Self.equalities(object["matchLabels"] ?? .null)
        for expression in object["matchExpressions"]?.array ?? [] {
            let key = expression["key"]?.string ?? ""
            let values = (expression["values"]?.array ?? []).compactMap(\.string)
            switch expression["operator"]?.string {
            case "In": requirements.append(Requirement(key, .isIn(values)))
            case "NotIn": requirements.append(Requirement(key, .isNotIn(values)))
            case "Exists": requirements.append(Requirement(key, .exists))
            case "DoesNotExist": requirements.append(Requirement(key, .doesNotExist))
            case let other:
                throw Malformed(message: "a label selector's operator \(other ?? "") for \(key) is not known")
            }
        }
    }

    private static func equalities(_ json: JSONValue) throws(Malformed) -> [Requirement] {
        var requirements: [Requirement] = []
        for member in json.object?.members ?? [] {
            guard let value = member.value.string else {
                throw Malformed(message: "a label selector asks for \(member.value.kindName) as \(member.key)")
            }
            requirements.append(Requirement(member.key, .isIn([value])))
        }
        return requirements
    }

    /// Whether an object with these labels is meant.
    package func matches(_ labels: [String: String]) -> Bool { requirements.allSatisfy { $0.matches(labels) } }

    /// The text form; empty when every object is meant.
    package var description: String { requirements.map(\.description).joined(separator: ",") }
}
