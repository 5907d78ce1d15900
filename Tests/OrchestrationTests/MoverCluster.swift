import Basics
import HTTPTestServer
import Kubernetes
import Synchronization

@testable import Orchestration

/// An API server for movers: it holds objects, tells watchers of every change, streams logs, and forgets what a deleted Job
/// owns. What becomes of a Job's pod, the test says. Real servers are asked in the end-to-end runs.
final class MoverCluster: Sendable {
    /// A request, for those who want to refuse it.
    struct Request: Sendable, Equatable {
        var method: String
        /// Without the query.
        var path: String
        /// Whether nothing is to come of it (`dryRun`).
        var isTrial = false
    }

    private struct Kind {
        var group: String
        var version: String
        var kind: String
        var plural: String
        var isNamespaced = true

        var prefix: String { group.isEmpty ? "/api/\(version)" : "/apis/\(group)/\(version)" }
    }

    private struct Change {
        var version: Int64
        var type: String
        var object: KubernetesObject
    }

    private struct State {
        /// By path: `/apis/batch/v1/namespaces/ml/jobs/run42`.
        var objects: [String: KubernetesObject] = [:]
        var version: Int64 = 1
        var changes: [Change] = []
        /// Lines by pod.
        var logs: [String: [String]] = [:]
        /// Grows when all streams are cut.
        var cuts = 0
        var isStopping = false
        var requests: [Request] = []
        var refuses: @Sendable (Request) -> Int? = { _ in nil }
        var onJob: @Sendable (KubernetesObject) -> [KubernetesObject] = { _ in [] }
        var keepsPods = false
        var indexedJobs = IndexedJobs.Support()
        /// Seconds that the server's clock is ahead.
        var ahead: Int64 = 0
        /// Log streams that have been opened.
        var followers = 0
    }

    private static let kinds: [Kind] = [
        Kind(group: "", version: "v1", kind: "Namespace", plural: "namespaces", isNamespaced: false),
        Kind(group: "", version: "v1", kind: "Pod", plural: "pods"),
        Kind(group: "", version: "v1", kind: "Secret", plural: "secrets"),
        Kind(group: "", version: "v1", kind: "Event", plural: "events"),
        Kind(group: "", version: "v1", kind: "ServiceAccount", plural: "serviceaccounts"),
        Kind(group: "", version: "v1", kind: "PersistentVolumeClaim", plural: "persistentvolumeclaims"),
        Kind(
            group: "", version: "v1", kind: "PersistentVolume", plural: "persistentvolumes", isNamespaced: false),
        Kind(group: "batch", version: "v1", kind: "Job", plural: "jobs"),
        Kind(group: "apps", version: "v1", kind: "StatefulSet", plural: "statefulsets"),
        Kind(group: "apps", version: "v1", kind: "ReplicaSet", plural: "replicasets"),
        Kind(group: "coordination.k8s.io", version: "v1", kind: "Lease", plural: "leases"),
        Kind(group: "inference.networking.k8s.io", version: "v1", kind: "InferencePool", plural: "inferencepools"),
        Kind(group: "gateway.networking.k8s.io", version: "v1", kind: "HTTPRoute", plural: "httproutes"),
        Kind(
            group: "storage.k8s.io", version: "v1", kind: "StorageClass", plural: "storageclasses",
            isNamespaced: false),
        Kind(
            group: "storage.k8s.io", version: "v1", kind: "VolumeAttachment", plural: "volumeattachments",
            isNamespaced: false),
    ]

    private let state = Monitor(State())
    private let server = Mutex<ScriptedServer?>(nil)

    init() throws {
        let state = state
        let made = try ScriptedServer { request in Self.answer(request, state) }
        server.withLock { $0 = made }
    }

    deinit { state.signal { $0.isStopping = true } }

    /// A client that gives up soon.
    var client: KubernetesClient { client(patience: 0.05) }

    /// A client that waits so many seconds for a server that is away.
    func client(patience seconds: Double) -> KubernetesClient {
        let url = server.withLock { $0?.url ?? "" }
        return KubernetesClient(
            KubernetesConfiguration(server: url), patience: .init(totalSeconds: seconds, baseSeconds: 0.01))
    }

    // MARK: The test's hands

    /// Puts an object there, over what is there.
    func put(_ object: KubernetesObject) { state.signal { _ = Self.store(object, &$0) } }

    /// Takes an object away; `last` is what it was at the end, which nobody was told of before.
    func remove(_ object: KubernetesObject, last: KubernetesObject? = nil) {
        state.signal { state in
            if let last { state.objects[Self.path(object)] = last }
            Self.remove(Self.path(object), &state)
        }
    }

    /// All objects of a kind, by name.
    func all(_ kind: String) -> [KubernetesObject] {
        state.withLock { $0.objects.values.filter { $0.kind == kind }.sorted { $0.name < $1.name } }
    }

    /// What was asked so far.
    var requests: [Request] { state.withLock { $0.requests } }

    /// The server's clock goes on so far.
    func wait(seconds: Int64) { state.signal { $0.ahead += seconds } }

    /// Has requests refused with the status that is answered; `closed` closes the connection, `lost` does what is asked
    /// first.
    func refuse(_ body: @escaping @Sendable (Request) -> Int?) { state.signal { $0.refuses = body } }

    /// What comes into being with each Job.
    func onJob(_ body: @escaping @Sendable (KubernetesObject) -> [KubernetesObject]) {
        state.signal { $0.onJob = body }
    }

    /// Has Jobs be what they are on such a server, which drops what it does not know: at first one that has no indexes.
    func serve(_ support: IndexedJobs.Support) { state.signal { $0.indexedJobs = support } }

    static let closed = 0, lost = -1

    /// Has pods stay when their Job goes.
    func keepPods(_ keeps: Bool) { state.signal { $0.keepsPods = keeps } }

    /// Has a pod say something.
    func say(_ line: String, pod: String) { state.signal { $0.logs[pod, default: []].append(line) } }

    /// Cuts every stream that is open.
    func cut() { state.signal { $0.cuts += 1 } }

    /// Waits until `body` answers something to the objects of a kind.
    func wait<R: Sendable>(for kind: String, _ body: @escaping @Sendable ([KubernetesObject]) -> R?) async throws -> R {
        let state = state
        return try await BlockingBridge.offload(name: "test-wait") {
            .success(state.wait { state in body(state.objects.values.filter { $0.kind == kind }) })
        }
    }

    /// Waits until a Job is there.
    func job() async throws -> KubernetesObject { try await wait(for: "Job") { $0.first } }

    /// Waits until so many requests have come.
    func waitForRequests(_ count: Int) async throws {
        let state = state
        try await BlockingBridge.offload(name: "test-wait") {
            .success(state.wait { $0.requests.count >= count ? () : nil })
        }
    }

    /// Waits until so many requests that are meant have come behind the first one that `begins`.
    func waitForRequests(
        _ count: Int, after begins: @escaping @Sendable (Request) -> Bool,
        where isMeant: @escaping @Sendable (Request) -> Bool
    ) async throws {
        let state = state
        try await BlockingBridge.offload(name: "test-wait") {
            .success(state.wait { $0.requests.drop { !begins($0) }.count(where: isMeant) >= count ? () : nil })
        }
    }

    /// Waits until so many log streams have been opened.
    func waitForFollowers(_ count: Int) async throws {
        let state = state
        try await BlockingBridge.offload(name: "test-wait") {
            .success(state.wait { $0.followers >= count ? () : nil })
        }
    }

    /// A pod of a Job; of an Indexed one with its `index`.
    static func pod(
        of job: KubernetesObject, _ suffix: String = "a", index: Int? = nil, phase: String = "Pending",
        state: JSONValue = .null, conditions: JSONValue = [], minute: Int = 0
    ) -> KubernetesObject {
        var labels = JSONObject()
        for (key, value) in job.labels { labels[key] = .string(value) }
        labels["job-name"] = .string(job.name)
        let json: JSONValue = [
            "apiVersion": "v1", "kind": "Pod",
            "metadata": [
                "name": .string("\(job.name)-\(suffix)"), "namespace": .string(job.namespace),
                "creationTimestamp": .string("2026-01-01T00:0\(minute):00Z"), "labels": .object(labels),
                "ownerReferences": [
                    [
                        "apiVersion": "batch/v1", "controller": true, "kind": "Job", "name": .string(job.name),
                        "uid": .string(job.uid),
                    ]
                ],
            ],
            "status": [
                "phase": .string(phase), "conditions": conditions,
                "containerStatuses": [["name": "mover", "state": state]],
            ],
        ]
        guard var pod = try? KubernetesObject(json) else { preconditionFailure("a pod is an object") }
        if let index {
            pod.name = "\(job.name)-\(index)-\(suffix)"
            pod.setAnnotation("batch.kubernetes.io/job-completion-index", "\(index)")
        }
        return pod
    }

    // MARK: Answers

    private static func answer(_ request: ScriptedServer.Request, _ state: Monitor<State>) -> [ScriptedServer.Step] {
        let (path, query) = parts(request.target)
        let refusal = state.signal { state -> Int? in
            let asked = Request(method: request.method, path: path, isTrial: query["dryRun"] == "All")
            state.requests.append(asked)
            return state.refuses(asked)
        }
        let now = SystemWallClock().now().seconds + state.withLock { $0.ahead }
        let headers = [("Content-Type", "application/json"), ("Date", httpDate(now))]
        switch refusal {
        case nil: break
        case closed: return [.close]
        case lost:
            _ = state.signal { act(request, path, query, &$0) }
            return [.close]
        case let code?: return [.answer(code, headers, status(code, "Refused").1)]
        }
        if request.method == "GET", query["watch"] == "true" {
            return [.take { watch(path, query, state, $0) }]
        }
        if request.method == "GET", path.hasSuffix("/log"), query["follow"] == "true" {
            return [.take { follow(path, state, $0) }]
        }
        let (code, body) = state.signal { act(request, path, query, &$0) }
        return [.answer(code, headers, body)]
    }

    /// As RFC 9110, section 5.6.7, has it.
    private static func httpDate(_ seconds: Int64) -> String {
        let time = CalendarTime(Timestamp(seconds: seconds))
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let day = "\(days[Int((seconds / 86_400) % 7)]), \(two(time.day)) \(months[time.month - 1]) \(time.year)"
        return "\(day) \(two(time.hour)):\(two(time.minute)):\(two(time.second)) GMT"
    }

    private static let head = Array("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n".utf8)

    /// Tells of changes until streams are cut.
    private static func watch(
        _ path: String, _ query: [String: String], _ state: Monitor<State>, _ connection: ScriptedServer.Connection
    ) {
        connection.send(head)
        var seen = Int64(query["resourceVersion"] ?? "") ?? 0
        let cuts = state.withLock { $0.cuts }
        while true {
            let change = state.wait { state -> Change?? in
                if state.isStopping || state.cuts != cuts { return .some(nil) }
                return state.changes.first { $0.version > seen }.map { .some($0) }
            }
            guard let change else { return }
            seen = change.version
            guard self.path(change.object).hasPrefix(path + "/"), isMeant(change.object, query) else { continue }
            connection.send(Array("\(text(["type": .string(change.type), "object": change.object.json]))\n".utf8))
        }
    }

    /// Tells what a pod says from its last line on, until streams are cut.
    private static func follow(_ path: String, _ state: Monitor<State>, _ connection: ScriptedServer.Connection) {
        let pod = path.split(separator: "/").dropLast().last.map(String.init) ?? ""
        connection.send(head)
        let (start, cuts) = state.signal { state in
            state.followers += 1
            return (max(0, (state.logs[pod]?.count ?? 0) - 1), state.cuts)
        }
        var next = start
        while true {
            let position = next
            let line = state.wait { state -> String?? in
                if state.isStopping || state.cuts != cuts { return .some(nil) }
                guard let lines = state.logs[pod], position < lines.count else { return nil }
                return .some(lines[position])
            }
            guard let line else { return }
            next += 1
            connection.send(Array("\(line)\n".utf8))
        }
    }

    private static func act(
        _ request: ScriptedServer.Request, _ path: String, _ query: [String: String], _ state: inout State
    ) -> (Int, String) {
        if request.method == "GET", let found = discovery(path) { return (200, found) }
        switch request.method {
        case "GET":
            if let object = state.objects[path] { return (200, text(object.json)) }
            guard let kind = kinds.first(where: { path.hasPrefix($0.prefix + "/") && path.hasSuffix("/" + $0.plural) })
            else { return status(404, "NotFound") }
            // Without a namespace, those of all.
            let isOfAll = !path.contains("/namespaces/")
            let items = state.objects.filter {
                $0.value.kind == kind.kind && $0.value.group == kind.group
                    && (isOfAll || $0.key.hasPrefix(path + "/")) && isMeant($0.value, query)
            }
            let list: JSONValue = [
                "kind": "List", "apiVersion": "v1", "metadata": ["resourceVersion": .string("\(state.version)")],
                "items": .array(items.map(\.value).sorted { $0.name < $1.name }.map(\.json)),
            ]
            return (200, text(list))
        case "POST":
            guard var object = try? KubernetesObject(parsing: request.body) else { return status(400, "BadRequest") }
            if state.objects[self.path(object)] != nil { return status(409, "AlreadyExists") }
            if object.kind == "Job" { drop(state.indexedJobs, &object) }
            if query["dryRun"] == "All" { return (201, text(object.json)) }
            let stored = store(object, &state)
            if object.kind == "Job" { for made in state.onJob(stored) { _ = store(made, &state) } }
            return (201, text(stored.json))
        case "PUT":
            guard let object = try? KubernetesObject(parsing: request.body) else { return status(400, "BadRequest") }
            guard let old = state.objects[path] else { return status(404, "NotFound") }
            guard old.resourceVersion == object.resourceVersion else { return status(409, "Conflict") }
            return (200, text(store(object, &state).json))
        case "PATCH":
            guard var object = state.objects[path], let patch = try? JSONValue(parsing: request.body) else {
                return status(404, "NotFound")
            }
            // Annotations are all that is patched here.
            for member in patch["metadata", "annotations"]?.object?.members ?? [] {
                object.setAnnotation(member.key, member.value.string)
            }
            return (200, text(store(object, &state).json))
        case "DELETE":
            guard state.objects[path] != nil else { return status(404, "NotFound") }
            remove(path, &state)
            return (200, "{}")
        default: return status(405, "MethodNotAllowed")
        }
    }

    // MARK: Objects

    /// Drops what a server of this kind does not know of a Job.
    private static func drop(_ support: IndexedJobs.Support, _ job: inout KubernetesObject) {
        if !support.isServed { _ = job.remove(at: ["spec", "completionMode"]) }
        guard !support.limitsEachIndex else { return }
        for key in ["backoffLimitPerIndex", "maxFailedIndexes"] { _ = job.remove(at: ["spec", .key(key)]) }
    }

    private static func path(_ object: KubernetesObject) -> String {
        guard let kind = kinds.first(where: { $0.kind == object.kind && $0.group == object.group }) else {
            return "/unknown/\(object.kind)/\(object.name)"
        }
        let place = kind.isNamespaced ? "/namespaces/\(object.namespace)" : ""
        return "\(kind.prefix)\(place)/\(kind.plural)/\(object.name)"
    }

    private static func store(_ object: KubernetesObject, _ state: inout State) -> KubernetesObject {
        var object = object
        let path = path(object)
        state.version += 1
        if object.uid.isEmpty { object.uid = state.objects[path]?.uid ?? "uid-\(state.version)" }
        object.resourceVersion = "\(state.version)"
        let type = state.objects[path] == nil ? "ADDED" : "MODIFIED"
        state.objects[path] = object
        state.changes.append(Change(version: state.version, type: type, object: object))
        return object
    }

    private static func remove(_ path: String, _ state: inout State) {
        guard var object = state.objects.removeValue(forKey: path) else { return }
        state.version += 1
        object.resourceVersion = "\(state.version)"
        state.changes.append(Change(version: state.version, type: "DELETED", object: object))
        guard object.kind == "Job" else { return }
        for (path, other) in state.objects {
            let isPod = other.kind == "Pod" && other.labels["job-name"] == object.name
            guard isPod ? !state.keepsPods : other.ownerReferences.contains(where: { $0.uid == object.uid }) else {
                continue
            }
            remove(path, &state)
        }
    }

    private static func status(_ code: Int, _ reason: String) -> (Int, String) {
        (code, #"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"\#(reason)","code":\#(code)}"#)
    }

    private static func text(_ json: JSONValue) -> String { String(decoding: json.serialized(), as: UTF8.self) }

    /// Whether selectors of a list or watch fit: labels `KEY=VALUE` and fields `PATH=VALUE`, with commas between.
    private static func isMeant(_ object: KubernetesObject, _ query: [String: String]) -> Bool {
        func terms(_ key: String) -> [(String, String)] {
            (query[key] ?? "").split(separator: ",").map { term in
                let words = term.split(separator: "=", maxSplits: 1).map(String.init)
                return (words[0], words.count > 1 ? words[1] : "")
            }
        }
        return terms("labelSelector").allSatisfy { object.labels[$0.0] == $0.1 }
            && terms("fieldSelector").allSatisfy { term in
                let way = term.0.split(separator: ".").map { JSONPath.Element.key(String($0)) }
                return object[JSONPath(way)]?.string == term.1
            }
    }

    private static func parts(_ target: String) -> (path: String, query: [String: String]) {
        let parts = target.split(separator: "?", maxSplits: 1).map(String.init)
        var query: [String: String] = [:]
        for item in (parts.count > 1 ? parts[1] : "").split(separator: "&") {
            let words = item.split(separator: "=", maxSplits: 1).map { decoded(String($0)) }
            query[words[0]] = words.count > 1 ? words[1] : ""
        }
        return (parts[0], query)
    }

    /// Without percent encoding (RFC 3986, section 2.1).
    private static func decoded(_ text: String) -> String {
        var bytes: [UInt8] = []
        var rest = Substring(text)
        while let first = rest.utf8.first {
            if first == UInt8(ascii: "%"), let byte = UInt8(rest.dropFirst().prefix(2), radix: 16) {
                bytes.append(byte)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(first)
                rest = rest.dropFirst()
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func discovery(_ path: String) -> String? {
        switch path {
        case "/version": return #"{"major":"1","minor":"31","gitVersion":"v1.31.0"}"#
        case "/api": return #"{"versions":["v1"]}"#
        case "/apis":
            let groups = Set(kinds.map(\.group)).subtracting([""]).sorted().map {
                #"{"name":"\#($0)","versions":[{"version":"v1"}],"preferredVersion":{"version":"v1"}}"#
            }
            return #"{"groups":[\#(groups.joined(separator: ","))]}"#
        default:
            let served = kinds.filter { $0.prefix == path }
            guard !served.isEmpty else { return nil }
            let resources = served.map {
                #"{"name":"\#($0.plural)","kind":"\#($0.kind)","namespaced":\#($0.isNamespaced),"verbs":["get"]}"#
            }
            return #"{"resources":[\#(resources.joined(separator: ","))]}"#
        }
    }
}
