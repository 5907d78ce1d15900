import Basics
import HTTPTestServer
import Kubernetes
import Synchronization

/// An API server that holds the objects of Velero's data movement and plays the controllers beside it: of snapshots, of
/// volumes, of Jobs. Each write of a data mover can be the last one before its process dies. Real servers are asked in the
/// end-to-end runs.
final class VeleroCluster: Sendable {
    struct State {
        /// By path: `/apis/batch/v1/namespaces/velero/jobs/j`.
        var objects: [String: KubernetesObject] = [:]
        /// Snapshots that the storage has, by handle.
        var storage: Set<String> = []
        var version: Int64 = 1
        /// Seconds that the server's clock is ahead.
        var ahead: Int64 = 0
        /// Writes that are still answered; nil for all.
        var writesLeft: Int?
        /// Whether the write that is one too many is done all the same, and only its answer lost.
        var doesLastWrite = false
        var isDead = false
        var writes = 0
        /// `create jobs`: what is forbidden.
        var forbidden: Set<String> = []
        /// Whether DataUploads have a status subresource.
        var hasStatus = false
        var log = ""
        /// What a pod says when it ends, by what it does.
        var words: [String: String] = [:]
        /// Whether the pods of Jobs may get on.
        var podsAreHeld = false
    }

    typealias Kind = (group: String, version: String, kind: String, plural: String, isNamespaced: Bool)

    private static let snapshotGroup = "snapshot.storage.k8s.io"
    static let kinds: [Kind] = [
        ("", "v1", "Pod", "pods", true), ("", "v1", "Secret", "secrets", true),
        ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", true),
        ("", "v1", "PersistentVolume", "persistentvolumes", false), ("batch", "v1", "Job", "jobs", true),
        ("coordination.k8s.io", "v1", "Lease", "leases", true),
        ("storage.k8s.io", "v1", "StorageClass", "storageclasses", false),
        (snapshotGroup, "v1", "VolumeSnapshot", "volumesnapshots", true),
        (snapshotGroup, "v1", "VolumeSnapshotContent", "volumesnapshotcontents", false),
        ("velero.io", "v2alpha1", "DataUpload", "datauploads", true),
        ("velero.io", "v2alpha1", "DataDownload", "datadownloads", true),
    ]

    private let state = Mutex(State())
    private let server = Mutex<ScriptedServer?>(nil)

    init() throws {
        let made = try ScriptedServer { [weak self] request in self?.answer(request) ?? [.close] }
        server.withLock { $0 = made }
    }

    /// A client that gives up soon.
    var client: KubernetesClient {
        let url = server.withLock { $0?.url ?? "" }
        return KubernetesClient(
            KubernetesConfiguration(server: url), patience: .init(totalSeconds: 0.05, baseSeconds: 0.01))
    }

    // MARK: The test's hands

    func put(_ object: KubernetesObject) { state.withLock { _ = Self.store(object, &$0) } }

    func change(_ body: (inout State) -> Void) { state.withLock { body(&$0) } }

    func read<R>(_ body: (State) -> R) -> R { state.withLock { body($0) } }

    /// The object of that kind and name; nil when there is none.
    func get(_ kind: String, _ name: String, namespace: String = "velero") -> KubernetesObject? {
        read { state in
            state.objects.values.first { object in
                object.kind == kind && object.name == name
                    && (object.namespace == namespace || object.namespace.isEmpty)
            }
        }
    }

    /// All objects of a kind.
    func all(_ kind: String) -> [KubernetesObject] { read { $0.objects.values.filter { $0.kind == kind } } }

    /// What there is, in words, for comparisons.
    var inventory: [String] { read { $0.objects.values.map(\.label).sorted() } }

    /// From now on, `count` writes are answered; then the client's process is as good as dead: nothing it asks is. With
    /// `afterDoing`, the write that kills it is done.
    func die(afterWrites count: Int, afterDoing: Bool) {
        change { state in
            state.writesLeft = count
            state.doesLastWrite = afterDoing
        }
    }

    /// A new process comes.
    func revive() {
        change { state in
            state.isDead = false
            state.writesLeft = nil
        }
    }

    var isDead: Bool { read { $0.isDead } }

    // MARK: Answers

    private func answer(_ request: ScriptedServer.Request) -> [ScriptedServer.Step] {
        state.withLock { state in
            if state.isDead { return [.close] }
            let isWrite = request.method != "GET"
            if isWrite {
                if let left = state.writesLeft {
                    if left == 0 {
                        state.isDead = true
                        if state.doesLastWrite { _ = Self.act(request, &state) }
                        Self.control(&state)
                        return [.close]
                    }
                    state.writesLeft = left - 1
                }
                state.writes += 1
            }
            let (status, body) = Self.act(request, &state)
            if isWrite { Self.control(&state) }
            return [.answer(status, [("Content-Type", "application/json"), ("Date", Self.date(state.ahead))], body)]
        }
    }

    private static func date(_ ahead: Int64) -> String {
        let seconds = SystemWallClock().now().seconds + ahead
        let time = CalendarTime(Timestamp(seconds: seconds))
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(days[Int((seconds / 86_400) % 7)]), \(two(time.day)) \(months[time.month - 1]) \(time.year) "
            + "\(two(time.hour)):\(two(time.minute)):\(two(time.second)) GMT"
    }

    private static func status(_ code: Int, _ reason: String) -> (Int, String) {
        (code, #"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"\#(reason)","code":\#(code)}"#)
    }

    private static func text(_ json: JSONValue) -> String { String(decoding: json.serialized(), as: UTF8.self) }

    private static func prefix(_ kind: Kind) -> String {
        kind.group.isEmpty ? "/api/v1" : "/apis/\(kind.group)/\(kind.version)"
    }

    private static func path(_ object: KubernetesObject) -> String {
        guard let kind = kinds.first(where: { $0.kind == object.kind && $0.group == object.group }) else {
            return "/unknown/\(object.label)"
        }
        let place = kind.isNamespaced ? "/namespaces/\(object.namespace)" : ""
        return "\(prefix(kind))\(place)/\(kind.plural)/\(object.name)"
    }

    @discardableResult
    static func store(_ object: KubernetesObject, _ state: inout State) -> KubernetesObject {
        var object = object
        state.version += 1
        if object.uid.isEmpty { object.uid = "uid-\(state.version)" }
        object.resourceVersion = "\(state.version)"
        if object.isBeingDeleted, object.finalizers.isEmpty {
            state.objects[path(object)] = nil
        } else {
            state.objects[path(object)] = object
        }
        return object
    }

    /// As a deletion does it: an object with finalizers stays, and says so.
    static func delete(_ object: KubernetesObject, _ state: inout State) {
        var object = object
        if object.finalizers.isEmpty {
            state.objects[path(object)] = nil
        } else if !object.isBeingDeleted {
            try? object.set("2026-01-01T00:00:00Z", at: ["metadata", "deletionTimestamp"])
            store(object, &state)
        }
    }

    private static let verbs = ["POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"]

    private static func act(_ request: ScriptedServer.Request, _ state: inout State) -> (Int, String) {
        let parts = request.target.split(separator: "?", maxSplits: 1).map(String.init)
        var path = parts[0]
        if let discovered = discovery(path, state) { return (200, discovered) }
        if path.hasSuffix("/log") { return (200, state.log) }
        let query = parts.count > 1 ? parts[1] : ""
        let isStatus = path.hasSuffix("/status")
        if isStatus { path.removeLast(7) }
        let kind = kinds.first { path.hasPrefix(prefix($0)) && path.split(separator: "/").contains("\($0.plural)") }
        guard let kind else { return status(404, "NotFound") }
        if let verb = verbs[request.method], state.forbidden.contains("\(verb) \(kind.plural)") {
            return status(403, "Forbidden")
        }
        switch request.method {
        case "GET":
            if let object = state.objects[path] { return (200, text(object.json)) }
            guard path.hasSuffix("/\(kind.plural)") else { return status(404, "NotFound") }
            return (200, text(list(path, kind, query, state)))
        case "POST":
            guard let object = try? KubernetesObject(parsing: request.body) else { return status(400, "BadRequest") }
            if state.objects[Self.path(object)] != nil { return status(409, "AlreadyExists") }
            return (201, text(store(object, &state).json))
        case "PUT": return put(request, path, isStatus: isStatus, kind, &state)
        case "PATCH":
            guard let old = state.objects[path], let patch = try? JSONValue(parsing: request.body) else {
                return status(404, "NotFound")
            }
            let wanted = patch["metadata", "resourceVersion"]?.string
            guard wanted == nil || wanted == old.resourceVersion,
                let object = try? KubernetesObject(MergePatch.apply(patch, to: old.json))
            else { return status(409, "Conflict") }
            return (200, text(store(object, &state).json))
        case "DELETE":
            guard let object = state.objects[path] else { return status(404, "NotFound") }
            let options = try? JSONValue(parsing: request.body)
            if let uid = options?["preconditions", "uid"]?.string, uid != object.uid { return status(409, "Conflict") }
            delete(object, &state)
            return (200, "{}")
        default: return status(405, "MethodNotAllowed")
        }
    }

    private static func put(
        _ request: ScriptedServer.Request, _ path: String, isStatus: Bool, _ kind: Kind, _ state: inout State
    ) -> (Int, String) {
        guard var object = try? KubernetesObject(parsing: request.body) else { return status(400, "BadRequest") }
        guard let old = state.objects[path] else { return status(404, "NotFound") }
        guard old.resourceVersion == object.resourceVersion else { return status(409, "Conflict") }
        if kind.group == "velero.io", state.hasStatus {
            // A write to the one leaves the other alone.
            var kept = isStatus ? old : object
            let from = isStatus ? object : old
            kept.remove(at: ["status"])
            if let said = from["status"] { try? kept.set(said, at: ["status"]) }
            object = kept
        } else if isStatus {
            return status(404, "NotFound")
        }
        return (200, text(store(object, &state).json))
    }

    private static func list(_ path: String, _ kind: Kind, _ query: String, _ state: State) -> JSONValue {
        let namespace = path.split(separator: "/").drop { $0 != "namespaces" }.dropFirst().first.map(String.init)
        var label: [String] = []
        if let text = query.split(separator: "&").first(where: { $0.hasPrefix("labelSelector=") }) {
            label = text.dropFirst(14).replacing("%3D", with: "=").replacing("%2F", with: "/").split(separator: "=")
                .map(String.init)
        }
        let items = state.objects.values.filter { object in
            object.kind == kind.kind && object.group == kind.group
                && (namespace == nil || object.namespace == namespace)
                && (label.count != 2 || object.labels[label[0]] == label[1])
                && (label.count != 1 || object.labels[label[0]] != nil)
        }
        return [
            "kind": "List", "apiVersion": "v1", "metadata": ["resourceVersion": .integer(state.version)],
            "items": .array(items.sorted { $0.name < $1.name }.map(\.json)),
        ]
    }

    private static func discovery(_ path: String, _ state: State) -> String? {
        switch path {
        case "/version": return #"{"major":"1","minor":"31","gitVersion":"v1.31.0"}"#
        case "/api": return #"{"versions":["v1"]}"#
        case "/apis":
            let groups = Set(kinds.map { "\($0.group) \($0.version)" }).filter { !$0.hasPrefix(" ") }.sorted().map {
                let words = $0.split(separator: " ")
                return
                    #"{"name":"\#(words[0])","versions":[{"version":"\#(words[1])"}],"preferredVersion":{"version":"\#(words[1])"}}"#
            }
            return #"{"groups":[\#(groups.joined(separator: ","))]}"#
        default:
            let served = kinds.filter { prefix($0) == path }
            guard !served.isEmpty else { return nil }
            var resources = served.map {
                #"{"name":"\#($0.plural)","kind":"\#($0.kind)","namespaced":\#($0.isNamespaced),"verbs":["get"]}"#
            }
            if state.hasStatus, path.contains("velero.io") {
                resources += served.map { #"{"name":"\#($0.plural)/status","kind":"\#($0.kind)","namespaced":true}"# }
            }
            return #"{"resources":[\#(resources.joined(separator: ","))]}"#
        }
    }
}
