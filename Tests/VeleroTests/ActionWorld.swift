import Kubernetes
import Logging
import Synchronization
import Testing
import Velero

/// A cluster of given objects, and the environment and log of actions in it.
struct ActionWorld {
    /// Objects by their place, asked as the actions ask.
    private struct Cluster: ClusterSource {
        var objects: [ResourceIdentifier: KubernetesObject]
        var failure: VeleroError?
        var api: KubernetesClient?

        func configMaps(
            namespace: String, matching selector: LabelSelector
        ) async throws(VeleroError) -> [KubernetesObject] {
            if let failure { throw failure }
            return objects.filter { $0.key.resource == "configmaps" && $0.key.namespace == namespace }
                .map(\.value).filter { selector.matches($0.labels) }
        }

        func object(_ identifier: ResourceIdentifier) async throws(VeleroError) -> KubernetesObject? {
            if let failure { throw failure }
            return objects[identifier]
        }

        func client() async throws(VeleroError) -> KubernetesClient? { api }
    }

    /// What was logged, as `level: message`.
    final class Log: LogHandler, Sendable {
        private let entries = Mutex<[String]>([])
        var lines: [String] { entries.withLock { $0 } }
        var metadata: Logger.Metadata {
            get { [:] }
            set {}
        }
        var logLevel: Logger.Level {
            get { .trace }
            set {}
        }
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { nil }
            set {}
        }

        func log(event: LogEvent) {
            entries.withLock { $0.append("\(event.level): \(event.message)") }
        }
    }

    let log = Log()
    private var cluster = Cluster(objects: [:], failure: nil)

    /// With the backup that restores here are of: everything.
    init() {
        var backup = KubernetesObject(
            GroupVersionKind(apiVersion: "velero.io/v1", kind: "Backup"), namespace: "velero", name: "b")
        backup.setLabel("velero.io/storage-location", "default")
        add(backup, "backups")
    }

    /// With settings of one plugin.
    init(_ plugin: PluginName, _ settings: [String: String]) {
        self.init()
        configure(plugin, settings)
    }

    mutating func configure(_ plugin: PluginName, _ settings: [String: String], name: String = "settings") {
        var map = KubernetesObject(GroupVersionKind(version: "v1", kind: "ConfigMap"), namespace: "velero", name: name)
        map.setLabel("velero.io/plugin-config", "")
        map.setLabel(plugin.rawValue, plugin.kind.rawValue)
        var data = JSONObject()
        for (key, value) in settings.sorted(by: { $0.key < $1.key }) { data[key] = .string(value) }
        var json = map.json.object ?? JSONObject()
        json["data"] = .object(data)
        add((try? KubernetesObject(.object(json))) ?? map, "configmaps")
    }

    mutating func add(_ object: KubernetesObject, _ resource: String) {
        let place = ResourceIdentifier(
            group: object.group, resource: resource, namespace: object.namespace, name: object.name)
        cluster.objects[place] = object
    }

    /// Jobs are begun and followed through this.
    mutating func connect(_ api: KubernetesClient) { cluster.api = api }

    mutating func fail(_ error: VeleroError) { cluster.failure = error }

    private let reported = ReportedMessages()
    private let holds = HoldMemory()

    /// That of one process: what it has said, it has said.
    var environment: PluginEnvironment {
        PluginEnvironment(
            variables: ["VELERO_NAMESPACE": "velero"], logger: Logger(label: "test", factory: { _ in log }),
            cluster: cluster, reported: reported, holds: holds)
    }

    func backupAction(_ name: PluginName) throws -> any BackupItemAction {
        try #require(VeleroActions.backupItemActions(environment).first { $0.name == name })
    }

    func restoreAction(_ name: PluginName) throws -> any RestoreItemAction {
        try #require(VeleroActions.restoreItemActions(environment).first { $0.name == name })
    }

    var group: any ItemBlockAction { get throws { try #require(VeleroActions.itemBlockActions(environment).first) } }
    var delete: any DeleteItemAction { get throws { try #require(VeleroActions.deleteItemActions(environment).first) } }

    /// The JSON that YAML spells.
    static func bytes(_ yaml: String) throws -> [UInt8] { try JSONValue(yaml: yaml).serialized() }

    static func object(_ yaml: String) throws -> KubernetesObject { try KubernetesObject(JSONValue(yaml: yaml)) }

    static let backup =
        #"{"metadata":{"name":"b","namespace":"velero","uid":"b-1"},"spec":{},"status":{"phase":"InProgress"}}"#
    static let restore = #"{"metadata":{"name":"r","namespace":"velero","uid":"r-1"},"spec":{"backupName":"b"}}"#
}
