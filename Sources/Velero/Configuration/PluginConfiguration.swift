internal import Kubernetes

/// A plugin's settings: the data of the ConfigMap in Velero's namespace that is labelled `velero.io/plugin-config: ""`
/// and `NAME: KIND`, as `becalm.io/quiesce: BackupItemActionV2`. Without one, every setting has its default.
///
/// Each setting is taken once; what is left over is an error, so that a slip of the pen does not pass for a default.
struct PluginConfiguration {
    /// `ConfigMap velero/quiesce`: for messages.
    private let source: String
    private let plugin: PluginName
    private var data: [String: String]
    /// Keys that were asked for.
    private var known: [String] = []

    /// Bytes of a value at most; lists of resources are the longest.
    private static let maximumValueBytes = 16 << 10

    /// Reads the settings of `plugin`. Throws when more than one ConfigMap is meant, or the cluster does not answer.
    static func read(
        _ plugin: PluginName, _ environment: PluginEnvironment
    ) async throws(VeleroError) -> PluginConfiguration {
        let selector = LabelSelector([
            LabelSelector.Requirement("velero.io/plugin-config", .exists),
            LabelSelector.Requirement(plugin.rawValue, .isIn([plugin.kind.rawValue])),
        ])
        let namespace = environment.namespace
        let found = try await environment.cluster.configMaps(namespace: namespace, matching: selector)
        guard found.count <= 1 else {
            let names = found.map(\.name).sorted().joined(separator: ", ")
            throw VeleroError(
                .invalidArgument,
                "\(found.count) ConfigMaps in namespace \(namespace) configure \(plugin.rawValue): \(names); leave one")
        }
        return try PluginConfiguration(plugin, found.first, namespace: namespace)
    }

    /// From a ConfigMap, or none.
    init(_ plugin: PluginName, _ map: KubernetesObject?, namespace: String) throws(VeleroError) {
        self.plugin = plugin
        source = "ConfigMap \(namespace)/\(map?.name ?? "")"
        data = [:]
        for member in map?["data"]?.object?.members ?? [] {
            guard let value = member.value.string else {
                throw VeleroError(.invalidArgument, "\(source): the value of `\(member.key)` is not text")
            }
            guard value.utf8.count <= Self.maximumValueBytes else {
                throw VeleroError(
                    .invalidArgument,
                    "\(source): the value of `\(member.key)` has more than \(Self.maximumValueBytes) bytes")
            }
            data[member.key] = value
        }
    }

    private mutating func take(_ key: String) -> String? {
        known.append(key)
        return data.removeValue(forKey: key).map(Self.trimmed)
    }

    private static func trimmed(_ text: String) -> String {
        let isSpace: (Character) -> Bool = { $0 == " " || $0 == "\t" || $0 == "\n" || $0 == "\r" || $0 == "\r\n" }
        var rest = text.drop(while: isSpace)
        while let last = rest.last, isSpace(last) { rest = rest.dropLast() }
        return String(rest)
    }

    /// One of several words.
    mutating func choice<Choice: RawRepresentable & CaseIterable>(
        _ key: String, default fallback: Choice
    ) throws(VeleroError) -> Choice where Choice.RawValue == String {
        guard let text = take(key) else { return fallback }
        guard let value = Choice(rawValue: text) else {
            let words = Choice.allCases.map(\.rawValue).joined(separator: ", ")
            throw VeleroError(.invalidArgument, "\(source): `\(key)` is one of \(words), not `\(text.prefix(80))`")
        }
        return value
    }

    /// A list between commas or line ends.
    mutating func list(_ key: String, default fallback: [String]) throws(VeleroError) -> [String] {
        guard let text = take(key) else { return fallback }
        let words = text.split(whereSeparator: { ",\n".contains($0) || $0 == "\r\n" }).map { Self.trimmed(String($0)) }
        guard !words.isEmpty, words.allSatisfy({ !$0.isEmpty && !$0.contains(" ") }) else {
            throw VeleroError(
                .invalidArgument, "\(source): `\(key)` is a list of names between commas; leave it out for the default")
        }
        return words
    }

    /// A positive duration as Go spells it.
    mutating func duration(
        _ key: String, default fallback: GoDuration, most: GoDuration
    ) throws(VeleroError) -> GoDuration {
        guard let text = take(key) else { return fallback }
        guard let value = GoDuration(text), value.nanoseconds > 0, value <= most else {
            throw VeleroError(
                .invalidArgument,
                "\(source): `\(key)` is a time such as 90s or 10m, at most \(most), not `\(text.prefix(80))`")
        }
        return value
    }

    /// Throws when a setting is left that nobody asked for.
    func finish() throws(VeleroError) {
        guard let key = data.keys.min() else { return }
        let words = known.isEmpty ? "it has none" : "it knows \(known.sorted().joined(separator: ", "))"
        throw VeleroError(
            .invalidArgument, "\(source): \(plugin.rawValue) knows no setting `\(key.prefix(80))`; \(words)")
    }
}
