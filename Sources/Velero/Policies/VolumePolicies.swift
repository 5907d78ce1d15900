package import Kubernetes

/// Velero's volume policies: which volumes of a backup are skipped, copied or snapshotted, or left to somebody else
/// (Velero 1.14 to main, `internal/resourcepolicies`).
///
/// Velero enforces them only for itself: an action on claims is called for every volume and has to look by itself.
package struct VolumePolicies: Sendable {
    /// What a policy does with a volume.
    package enum Action: Hashable, Sendable {
        case skip
        case fileSystemBackup
        case snapshot
        /// Somebody else's, named by its parameters. Only texts, numbers and truth values are kept.
        case custom(parameters: [String: String])
    }

    /// What the policies say of one volume.
    package struct Decision: Hashable, Sendable {
        /// Nil when no policy matches.
        package var action: Action?
        /// Policies before that one that could not be decided, each with why, on one line.
        package var undecided: [String]

        package init(action: Action?, undecided: [String]) {
            self.action = action
            self.undecided = undecided
        }
    }

    private struct Policy: Sendable {
        var conditions: VolumeConditions
        var action: Action
    }

    private let policies: [Policy]

    /// Policies at most; each is looked at for each volume.
    private static let mostPolicies = 1000

    /// From the ConfigMap that a backup names: its only value is the policies as YAML or JSON. Throws with what is wrong.
    package init(_ map: KubernetesObject) throws(VeleroError) {
        let values = (map["data"]?.object?.members ?? []).compactMap(\.value.string)
        guard values.count == 1 else {
            throw VeleroError(
                .invalidArgument,
                "\(map.label) has \(values.count) values; volume policies are its only one: put them under one key")
        }
        do throws(VeleroError) {
            try self.init(parsing: values[0])
        } catch {
            throw VeleroError(.invalidArgument, "\(map.label): \(error.message)", cause: error)
        }
    }

    /// From the text.
    package init(parsing text: String) throws(VeleroError) {
        let json: JSONValue
        do throws(YAMLError) {
            json = try JSONValue(yaml: text, schema: .core)
        } catch {
            throw VeleroError(.invalidArgument, "volume policies cannot be read as YAML: \(error)", cause: error)
        }
        guard json.object != nil else {
            throw VeleroError(.invalidArgument, "volume policies are a map, not \(json.kindName)")
        }
        guard PolicyText.plain(json["version"]) == "v1" else {
            throw VeleroError(
                .invalidArgument,
                "volume policies of version `\(PolicyText.plain(json["version"]) ?? "")` are not known; write `version: v1`"
            )
        }
        let list = json["volumePolicies"] ?? .null
        guard let elements = list.isNull ? [] : list.array else {
            throw VeleroError(.invalidArgument, "volumePolicies is a list, not \(list.kindName)")
        }
        guard elements.count <= Self.mostPolicies else {
            throw VeleroError(.invalidArgument, "\(elements.count) volume policies; at most \(Self.mostPolicies)")
        }
        var policies: [Policy] = []
        for (index, element) in elements.enumerated() {
            let place = "volumePolicies[\(index)]"
            policies.append(
                Policy(
                    conditions: try VolumeConditions(element["conditions"] ?? .null, place),
                    action: try Self.action(element["action"], place)))
        }
        self.policies = policies
    }

    private static func action(_ json: JSONValue?, _ place: String) throws(VeleroError) -> Action {
        switch PolicyText.plain(json?["type"]) {
        case "skip": return .skip
        case "fs-backup": return .fileSystemBackup
        case "snapshot": return .snapshot
        case "custom":
            var parameters: [String: String] = [:]
            for member in json?["parameters"]?.object?.members ?? [] {
                parameters[member.key] = PolicyText.plain(member.value)
            }
            return .custom(parameters: parameters)
        case let other:
            throw VeleroError(
                .invalidArgument,
                "\(place).action.type is skip, fs-backup, snapshot or custom, not `\(other?.prefix(80) ?? "")`")
        }
    }

    /// What is to become of a volume: the first policy counts whose conditions all hold. One that cannot be decided, for
    /// it has a condition of a newer Velero or needs what is not known of the volume, is passed over and told.
    package func decide(_ volume: VolumeFacts) -> Decision {
        var undecided: [String] = []
        for (index, policy) in policies.enumerated() {
            switch policy.conditions.match(volume) {
            case .holds: return Decision(action: policy.action, undecided: undecided)
            case .fails: break
            case .unknown(let reason): undecided.append("volumePolicies[\(index)] is passed over: \(reason)")
            }
        }
        return Decision(action: nil, undecided: undecided)
    }
}

/// Reads what people write in YAML where a text is meant.
enum PolicyText {
    /// The text of a scalar as it is written; nil for anything else.
    static func plain(_ json: JSONValue?) -> String? {
        switch json {
        case .string(let text): text
        case .number(let number): number.text
        case .bool(let flag): flag ? "true" : "false"
        default: nil
        }
    }
}
