internal import Kubernetes

/// What a user asks for workloads that have no annotations: a YAML file with a rule for each group of them.
///
/// The first rule whose `match` fits is the workload's; what the workload's annotations say comes before it, and what stands on
/// the command line before both, member by member.
package struct PolicyFile: Sendable {
    /// What it asks for the workloads of one pattern.
    package struct Rule: Sendable {
        /// `NAMESPACE/KIND/NAME`, each a pattern with `*` and `?`.
        package var match: String
        package var policy = QuiescePolicy()
        /// For a process of this machine: the file with its number.
        package var pidFile: String?
        /// For a process of this machine: where its checkpoints are.
        package var directories: [String] = []
        /// For a process of this machine: what starts it again after `stop`.
        package var startCommand: [String] = []
    }

    package private(set) var rules: [Rule] = []

    /// Rules at the most.
    private static let mostRules = 10_000
    private static let ownKeys = ["match", "pidFile", "directories", "startCommand"]
    private static var keys: [String] { ownKeys + QuiescePolicy.Setting.allCases.map(\.rawValue) }

    /// The rules in a file's text; `source` names it in errors. Strict: a key or a value that is misspelled is refused.
    package init(parsing text: [UInt8], source: String) throws(WorkloadError) {
        let json: JSONValue
        do throws(YAMLError) {
            json = try JSONValue(yaml: String(decoding: text, as: UTF8.self))
        } catch {
            throw WorkloadError("the policy file \(source) cannot be read: \(error)")
        }
        guard let members = json.object?.members, let list = json["workloads"]?.array else {
            throw WorkloadError("the policy file \(source) needs a list `workloads`")
        }
        if let unknown = members.first(where: { $0.key != "workloads" }) {
            throw WorkloadError(
                "the policy file \(source): there is no key `\(unknown.key.prefix(80))`; there is `workloads`")
        }
        guard list.count <= Self.mostRules else {
            throw WorkloadError("the policy file \(source) has more than \(Self.mostRules) rules")
        }
        for (index, element) in list.enumerated() {
            let place = "the policy file \(source), workload \(index + 1)"
            guard let members = element.object?.members else { throw WorkloadError("\(place): it is no object") }
            rules.append(try Self.rule(members, place))
        }
    }

    private static func rule(_ members: [JSONObject.Member], _ place: String) throws(WorkloadError) -> Rule {
        var rule = Rule(match: "")
        var requests: [String] = []
        for member in members {
            let (key, value) = (member.key, member.value)
            let form: String?
            if let setting = QuiescePolicy.Setting(rawValue: key) {
                if setting.isRequest { requests.append(key) }
                form = set(setting, value, &rule.policy) ? nil : setting.form
            } else {
                form = set(key, value, &rule)
            }
            if let form { throw WorkloadError("\(place): \(key.prefix(80)) \(form)") }
        }
        guard !rule.match.isEmpty else {
            throw WorkloadError("\(place): `match` is missing: NAMESPACE/KIND/NAME, such as train/*/run*")
        }
        guard requests.count <= 1 else {
            throw WorkloadError(
                "\(place) is to be asked for a checkpoint in \(requests.count) ways: leave one of "
                    + requests.joined(separator: ", "))
        }
        return rule
    }

    /// Takes up a setting: text, or a list of words for a command.
    private static func set(
        _ setting: QuiescePolicy.Setting, _ value: JSONValue, _ policy: inout QuiescePolicy
    ) -> Bool {
        if let text = value.string { return policy.set(setting, text) }
        guard setting == .checkpointCommand, let words = value.array.flatMap(QuiescePolicy.words) else { return false }
        policy.request = .command(words)
        return true
    }

    /// Takes up a member of the file's own; answers what it should be when it is not that.
    private static func set(_ key: String, _ value: JSONValue, _ rule: inout Rule) -> String? {
        switch key {
        case "match":
            guard let text = value.string, text.split(separator: "/", omittingEmptySubsequences: false).count == 3,
                text.split(separator: "/").count == 3
            else { return "is NAMESPACE/KIND/NAME, each with `*` and `?` where any will do" }
            rule.match = text
        case "pidFile":
            guard let text = value.string, text.hasPrefix("/") else { return "is the absolute path of a file" }
            rule.pidFile = text
        case "directories":
            let paths = (value.array ?? []).compactMap(\.string)
            guard !paths.isEmpty, paths.count == value.array?.count, paths.allSatisfy({ $0.hasPrefix("/") }) else {
                return "is a list of absolute paths"
            }
            rule.directories = paths
        case "startCommand":
            guard let words = value.string.flatMap(QuiescePolicy.command) ?? value.array.flatMap(QuiescePolicy.words)
            else { return "is one word or a list of words" }
            rule.startCommand = words
        default:
            return "is no key; there are \(keys.sorted().joined(separator: ", "))"
        }
        return nil
    }

    // MARK: Finding

    /// The first rule for a workload, whose kind has the names `kinds`: `job`, `jobs`, `jobs.batch`.
    package func rule(namespace: String, kinds: Set<String>, name: String) -> Rule? {
        rules.first { rule in
            let parts = rule.match.split(separator: "/").map { Array($0.utf8) }
            return parts.count == 3 && Self.matches(parts[0], Array(namespace.utf8))
                && kinds.contains { Self.matches(parts[1].map(Self.lowercase), Array($0.lowercased().utf8)) }
                && Self.matches(parts[2], Array(name.utf8))
        }
    }

    /// The first rule for a process of this machine.
    package func rule(for reference: WorkloadReference) -> Rule? {
        rule(namespace: reference.namespace, kinds: [reference.kind], name: reference.name)
    }

    private static func lowercase(_ byte: UInt8) -> UInt8 {
        (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
    }

    /// Whether `text` fits a pattern of `*` (any number of bytes) and `?` (one): in time of at most the product of both
    /// lengths.
    private static func matches(_ pattern: [UInt8], _ text: [UInt8]) -> Bool {
        var (place, index) = (0, 0)
        var retry: (place: Int, index: Int)?
        while index < text.count {
            if place < pattern.count, pattern[place] == UInt8(ascii: "*") {
                place += 1
                retry = (place, index)
            } else if place < pattern.count, pattern[place] == UInt8(ascii: "?") || pattern[place] == text[index] {
                place += 1
                index += 1
            } else if let last = retry {
                (place, index) = (last.place, last.index + 1)
                retry = (last.place, last.index + 1)
            } else {
                return false
            }
        }
        return pattern[place...].allSatisfy { $0 == UInt8(ascii: "*") }
    }
}
