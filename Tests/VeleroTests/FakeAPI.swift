import Basics
import Foundation
import HTTPTestServer
import Kubernetes
import Synchronization

/// An API server that holds the objects of movers, and plays no controller: what becomes of a Job's pod, the test says.
final class FakeAPI: Sendable {
    private struct State {
        /// By path: `/apis/batch/v1/namespaces/ml/jobs/run42`.
        var objects: [String: KubernetesObject] = [:]
        var version: Int64 = 1
        var log = ""
        var isAway = false
        /// Whether it serves VolumeSnapshots, and who asks may create them.
        var servesSnapshots = false
        var maySnapshot = true
        /// What it refuses, by method and path: the status, and why.
        var refuses: @Sendable (_ method: String, _ path: String) -> (Int, String)? = { _, _ in nil }
    }

    /// Where kinds are, beside the core group's.
    private static let plurals = [
        "Job": "/apis/batch/v1/jobs", "Lease": "/apis/coordination.k8s.io/v1/leases",
        "Pod": "/api/v1/pods", "Secret": "/api/v1/secrets", "PersistentVolumeClaim": "/api/v1/persistentvolumeclaims",
        "PersistentVolume": "/api/v1/persistentvolumes",
        "VolumeSnapshot": "/apis/snapshot.storage.k8s.io/v1/volumesnapshots",
        "VolumeSnapshotClass": "/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses",
        "VolumeSnapshotContent": "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents",
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

    /// Puts an object there, over what is there.
    func put(_ object: KubernetesObject) {
        state.withLock { state in
            _ = Self.store(object, &state)
        }
    }

    /// All objects of a kind.
    func all(_ kind: String) -> [KubernetesObject] {
        state.withLock { $0.objects.values.filter { $0.kind == kind } }
    }

    /// What pods have said.
    func say(_ log: String) { state.withLock { $0.log = log } }

    /// Has it serve VolumeSnapshots, which the client may create, or not.
    func serveSnapshots(mayCreate: Bool = true) {
        state.withLock { ($0.servesSnapshots, $0.maySnapshot) = (true, mayCreate) }
    }

    /// Has it refuse requests, with a status and why, by their method and path.
    func refuse(_ body: @escaping @Sendable (_ method: String, _ path: String) -> (Int, String)?) {
        state.withLock { $0.refuses = body }
    }

    /// Whether it answers that it cannot.
    func goAway(_ isAway: Bool) { state.withLock { $0.isAway = isAway } }

    private static func path(_ object: KubernetesObject) -> String {
        let words = (plurals[object.kind] ?? "/unknown").split(separator: "/").map(String.init)
        let place = object.namespace.isEmpty ? [] : ["namespaces", object.namespace]
        return "/" + (words.dropLast() + place + [words.last ?? "", object.name]).joined(separator: "/")
    }

    private static func store(_ object: KubernetesObject, _ state: inout State) -> KubernetesObject {
        var object = object
        state.version += 1
        if object.uid.isEmpty { object.uid = "uid-\(state.version)" }
        object.resourceVersion = "\(state.version)"
        state.objects[path(object)] = object
        return object
    }

    private static func status(_ code: Int, _ reason: String) -> (Int, String) {
        (code, #"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"\#(reason)","code":\#(code)}"#)
    }

    private static func text(_ json: JSONValue) -> String { String(decoding: json.serialized(), as: UTF8.self) }

    private func answer(_ request: ScriptedServer.Request) -> [ScriptedServer.Step] {
        let (code, body) = state.withLock { state in
            state.isAway ? Self.status(503, "ServiceUnavailable") : Self.act(request, &state)
        }
        return [.answer(code, [("Content-Type", "application/json")], body)]
    }

    /// Whether an object has the label that a list asks for, `KEY=VALUE` in percent encoding, if it asks for one.
    private static func isMeant(_ object: KubernetesObject, _ target: String) -> Bool {
        guard let start = target.firstRange(of: "labelSelector=") else { return true }
        let text = target[start.upperBound...].prefix { $0 != "&" }
        let words = (text.removingPercentEncoding ?? "").split(separator: "=").map(String.init)
        return words.count == 2 && object.labels[words[0]] == words[1]
    }

    private static func act(_ request: ScriptedServer.Request, _ state: inout State) -> (Int, String) {
        let path = String(request.target.prefix { $0 != "?" })
        if let (code, why) = state.refuses(request.method, path) {
            let text: JSONValue = [
                "apiVersion": "v1", "code": .integer(Int64(code)), "kind": "Status", "message": .string(why),
                "reason": "Forbidden", "status": "Failure",
            ]
            return (code, Self.text(text))
        }
        switch request.method {
        case "GET" where path == "/apis":
            let version = #"{"version":"v1"}"#
            let names = ["batch"] + (state.servesSnapshots ? ["snapshot.storage.k8s.io"] : [])
            let groups = names.map { #"{"name":"\#($0)","versions":[\#(version)],"preferredVersion":\#(version)}"# }
            return (200, #"{"groups":[\#(groups.joined(separator: ","))]}"#)
        case "GET" where path == "/apis/snapshot.storage.k8s.io/v1":
            let kinds = [("VolumeSnapshot", true), ("VolumeSnapshotClass", false), ("VolumeSnapshotContent", false)]
            let resources = kinds.map { kind, isNamespaced in
                let plural = plurals[kind]?.split(separator: "/").last ?? ""
                return #"{"name":"\#(plural)","kind":"\#(kind)","namespaced":\#(isNamespaced),"verbs":["get"]}"#
            }
            return (200, #"{"resources":[\#(resources.joined(separator: ","))]}"#)
        case "POST" where path.hasSuffix("/selfsubjectaccessreviews"):
            return (201, #"{"status":{"allowed":\#(state.maySnapshot)}}"#)
        case "GET" where path == "/apis/batch/v1":
            return (200, #"{"resources":[{"name":"jobs","kind":"Job","namespaced":true,"verbs":["get"]}]}"#)
        case "GET" where path == "/api/v1": return (200, #"{"resources":[]}"#)
        case "GET" where path == "/api": return (200, #"{"versions":["v1"]}"#)
        case "GET" where path.hasSuffix("/log"): return (200, state.log)
        case "GET":
            if let object = state.objects[path] { return (200, text(object.json)) }
            guard plurals.values.contains(where: { path.hasSuffix("/" + ($0.split(separator: "/").last ?? "")) }) else {
                return status(404, "NotFound")
            }
            let items = state.objects.filter { $0.key.hasPrefix(path + "/") && isMeant($0.value, request.target) }
                .map(\.value.json)
            return (200, text(["kind": "List", "metadata": ["resourceVersion": "1"], "items": .array(items)]))
        case "POST":
            guard var object = try? KubernetesObject(parsing: request.body) else { return status(400, "BadRequest") }
            if state.objects[Self.path(object)] != nil { return status(409, "AlreadyExists") }
            // It has no Indexed Jobs.
            _ = object.remove(at: ["spec", "completionMode"])
            if request.target.contains("dryRun=All") { return (201, text(object.json)) }
            return (201, text(store(object, &state).json))
        case "PUT":
            guard let object = try? KubernetesObject(parsing: request.body) else { return status(400, "BadRequest") }
            guard let old = state.objects[path] else { return status(404, "NotFound") }
            guard old.resourceVersion == object.resourceVersion else { return status(409, "Conflict") }
            return (200, text(store(object, &state).json))
        case "PATCH":
            guard var object = state.objects[path], let patch = try? JSONValue(parsing: request.body) else {
                return status(404, "NotFound")
            }
            object = (try? KubernetesObject(MergePatch.apply(patch, to: object.json))) ?? object
            return (200, text(store(object, &state).json))
        case "DELETE":
            guard state.objects.removeValue(forKey: path) != nil else { return status(404, "NotFound") }
            return (200, "{}")
        default: return status(405, "MethodNotAllowed")
        }
    }
}
