internal import Kubernetes
internal import Logging

/// A plugin's settings: the data of the ConfigMap in Velero's namespace that is labelled `velero.io/plugin-config: ""`
/// and `NAME: KIND`, as `becalm.io/quiesce: BackupItemActionV2`. Without one, every setting has its default.
///
/// Each setting is taken once; what is left over is an error, so that a slip of the pen does not pass for a default.
struct PluginConfiguration {
    /// `ConfigMap velero/quiesce`: for messages.
    let source: String
    private let plugin: PluginName
    private var data: [String: String]
    /// Keys that were asked for.
    private var known: [String] = []

    /// Bytes of a value at most; lists of resources are the longest.
    private static let maximumValueBytes = 16 << 10

    /// What a call of Velero's is, which decides what happens when the settings cannot be had.
    enum Use {
        /// Velero asks what an action is for. An error would end the whole backup or restore.
        case selection
        /// An item is backed up or deleted. An error would leave the item out, or keep the backup for ever.
        case backup
        /// An item is restored. It can be restored again once the settings are put right, so nothing is guessed.
        case restore
    }

    /// The settings of `plugin` that `make` takes out of its ConfigMap.
    ///
    /// Without permission to read ConfigMaps, or outside a cluster, nobody has configured anything: the defaults hold. A
    /// ConfigMap that is wrong, or an API server that does not answer, is thrown where something is restored only; a backup
    /// goes on with the defaults and says so in its log, once. A call that was given up throws `cancelled`, whatever its use.
    static func settings<Settings>(
        _ plugin: PluginName, _ environment: PluginEnvironment, for use: Use,
        _ make: (inout PluginConfiguration) throws(VeleroError) -> Settings
    ) async throws(VeleroError) -> Settings {
        do throws(VeleroError) {
            return try finished(try await read(plugin, environment), make)
        } catch {
            guard error.code != .cancelled else { throw error }
            let isWrong = error.code == .invalidArgument
            if use == .restore, isWrong || error.code == .unavailable { throw error }
            if use == .backup, environment.reported.isNew(error.message) {
                environment.logger.log(
                    level: isWrong ? .error : .info, "\(plugin.rawValue) goes on with its default settings: \(error)")
            }
            return try finished(try PluginConfiguration(plugin, nil, namespace: environment.namespace), make)
        }
    }

    /// What `make` takes; throws when something is left.
    private static func finished<Settings>(
        _ configuration: PluginConfiguration, _ make: (inout PluginConfiguration) throws(VeleroError) -> Settings
    ) throws(VeleroError) -> Settings {
        var configuration = configuration
        let settings = try make(&configuration)
        try configuration.finish()
        return settings
    }

    /// Reads the settings of `plugin`. Throws when more than one ConfigMap is meant, or the cluster does not answer.
    private static func read(
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

    /// A text; nil where it is missing or empty.
    mutating func text(_ key: String) -> String? { take(key).flatMap { $0.isEmpty ? nil : $0 } }

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

    /// A whole number.
    mutating func number(
        _ key: String, default fallback: Int, in range: ClosedRange<Int>
    ) throws(VeleroError) -> Int {
        guard let text = take(key) else { return fallback }
        guard let value = Int(text), range.contains(value) else {
            throw VeleroError(
                .invalidArgument,
                "\(source): `\(key)` is a number from \(range.lowerBound) to \(range.upperBound), not `\(text.prefix(80))`"
            )
        }
        return value
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
    private func finish() throws(VeleroError) {
        guard let key = data.keys.min() else { return }
        let words = known.isEmpty ? "it has none" : "it knows \(known.sorted().joined(separator: ", "))"
        throw VeleroError(
            .invalidArgument, "\(source): \(plugin.rawValue) knows no setting `\(key.prefix(80))`; \(words)")
    }
}
