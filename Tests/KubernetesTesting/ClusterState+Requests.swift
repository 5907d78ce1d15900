internal import HTTPTestServer
internal import Kubernetes

/// What the API's verbs do.
extension ClusterState {
    /// What a request asks for.
    struct Query {
        /// Without the query.
        var path: String
        var terms: [String: String] = [:]
        /// Whether it is about the status subresource of the object at `path`.
        var isStatus = false

        init(_ target: String) {
            let parts = target.split(separator: "?", maxSplits: 1).map(String.init)
            path = parts[0]
            for item in (parts.count > 1 ? parts[1] : "").split(separator: "&") {
                let words = item.split(separator: "=", maxSplits: 1).map { Self.decoded(String($0)) }
                terms[words[0]] = words.count > 1 ? words[1] : ""
            }
            isStatus = path.hasSuffix("/status")
            if isStatus { path.removeLast("/status".count) }
        }

        var isWatch: Bool { terms["watch"] == "true" || terms["watch"] == "1" }
        var isTrial: Bool { terms["dryRun"] == "All" }
        /// Whether a pod is to answer it.
        var isProxied: Bool { path.contains("/proxy/") }

        /// Whether selectors of a list or watch fit: labels `KEY=VALUE` or `KEY`, fields `PATH=VALUE`, with commas between.
        func means(_ object: KubernetesObject) -> Bool {
            selection("labelSelector").allSatisfy { key, value in
                value.map { object.labels[key] == $0 } ?? (object.labels[key] != nil)
            }
                && selection("fieldSelector").allSatisfy { key, value in
                    let way = key.split(separator: ".").map { JSONPath.Element.key(String($0)) }
                    return object[JSONPath(way)]?.string == value ?? ""
                }
        }

        private func selection(_ key: String) -> [(String, String?)] {
            (terms[key] ?? "").split(separator: ",").map { term in
                let words = term.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(
                    String.init)
                return (words[0], words.count > 1 ? words[1] : nil)
            }
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
    }

    static func status(_ code: Int, _ reason: String, _ message: String = "") -> (Int, String) {
        (
            code,
            #"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"\#(reason)","message":"\#(message)","code":\#(code)}"#
        )
    }

    static func text(_ json: JSONValue) -> String {
        String(decoding: json.serialized(), as: UTF8.self)
    }

    private static let verbs = [
        "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete",
    ]

    /// Whether the rules that are lacking forbid a request.
    func isForbidden(_ method: String, _ query: Query) -> Bool {
        guard let plural = kind(at: query.path)?.plural else { return false }
        let isList = method == "GET" && query.path.hasSuffix("/\(plural)")
        let verb = Self.verbs[method] ?? (isList ? query.isWatch ? "watch" : "list" : "get")
        return forbidden.contains("\(verb) \(plural)\(query.isProxied ? "/proxy" : "")")
    }

    /// Does what is asked, and answers status and body.
    mutating func act(_ request: ScriptedServer.Request, _ query: Query) -> (Int, String) {
        if request.method != "GET", query.isTrial {
            var trial = self
            trial.onJob = { _ in [] }
            return trial.serve(request, query)
        }
        let (code, body) = serve(request, query)
        if request.method != "GET", code < 300, kind(at: query.path) != nil, !query.isProxied {
            history.append("\(request.method) \(query.path)")
        }
        return (code, body)
    }

    private mutating func serve(_ request: ScriptedServer.Request, _ query: Query) -> (Int, String) {
        let path = query.path
        if request.method == "GET", let found = discovery(path) { return (200, found) }
        if path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" { return review(request) }
        if isForbidden(request.method, query) { return Self.status(403, "Forbidden") }
        if query.isProxied {
            asked.append("\(request.method) \(path)")
            history.append("\(request.method) \(path)")
            return podAnswer(path)
        }
        if request.method == "GET", path.hasSuffix("/log") { return logged(path) }
        // As Go's servers do for paths that they do not know.
        guard let kind = kind(at: path) else { return (404, "404 page not found\n") }
        switch request.method {
        case "GET":
            if query.isWatch { return (200, "") }
            if path.hasSuffix("/pods") { WorkloadControllers.look(&self) }
            if let object = objects[path] { return (200, Self.text(object.json)) }
            return path.hasSuffix("/\(kind.plural)")
                ? (200, list(kind, query)) : Self.status(404, "NotFound")
        case "POST": return create(request)
        case "PUT": return replace(request, query, kind)
        case "PATCH": return patch(request, query)
        case "DELETE": return delete(request, query)
        default: return Self.status(405, "MethodNotAllowed")
        }
    }

    /// The kind that a path is about: `namespaces` stands in front of the others', and is a kind of its own.
    private func kind(at path: String) -> ClusterKind? {
        kinds.first { kind in
            guard path.hasPrefix(kind.prefix + "/") else { return false }
            let words = path.dropFirst(kind.prefix.count).split(separator: "/").map(String.init)
            return (words.count > 2 && words[0] == "namespaces" ? words[2] : words.first) == kind.plural
        }
    }

    private func logged(_ path: String) -> (Int, String) {
        let pod = path.split(separator: "/").dropLast().last.map(String.init) ?? ""
        if let lines = logs[pod] { return (200, lines.map { $0 + "\n" }.joined()) }
        return log.map { (200, $0) } ?? Self.status(404, "NotFound")
    }

    /// Whether who asks may do what the SelfSubjectAccessReview names.
    private func review(_ request: ScriptedServer.Request) -> (Int, String) {
        guard request.method == "POST", let review = try? JSONValue(parsing: request.body),
            let wanted = review["spec", "resourceAttributes"], let verb = wanted["verb"]?.string,
            let resource = wanted["resource"]?.string
        else { return Self.status(400, "BadRequest") }
        let part = wanted["subresource"]?.string.map { "/\($0)" } ?? ""
        return (201, Self.text(["status": ["allowed": .bool(!forbidden.contains("\(verb) \(resource)\(part)"))]]))
    }

    /// An object without what this server does not know of it.
    private func known(_ object: KubernetesObject) -> KubernetesObject {
        var object = object
        for field in unknownFields[object.kind] ?? [] { _ = object.remove(at: ["spec", .key(field)]) }
        guard object.kind == "Job", object.group == "batch" else { return object }
        for field in unknownJobFields { _ = object.remove(at: ["spec", .key(field)]) }
        return object
    }

    /// What this server warns of when a request that asks for warnings brings fields that it drops.
    func warnings(_ request: ScriptedServer.Request, _ query: Query) -> [String] {
        guard request.method == "POST", query.terms["fieldValidation"] == "Warn",
            let object = try? KubernetesObject(parsing: request.body)
        else { return [] }
        return (unknownFields[object.kind] ?? []).sorted().filter { object["spec", .key($0)] != nil }
            .map { #"299 - "unknown field \"spec.\#($0)\"""# }
    }

    /// Whether an object is among those at a collection's path.
    func isListed(_ object: KubernetesObject, at path: String) -> Bool {
        guard let kind = kinds.first(where: { $0.kind == object.kind && $0.group == object.group })
        else { return false }
        guard path.hasPrefix(kind.prefix + "/"), path.hasSuffix("/" + kind.plural) else { return false }
        let namespace = path.split(separator: "/").drop { $0 != "namespaces" }.dropFirst().first.map(
            String.init)
        return !kind.isNamespaced || namespace == nil || namespace == object.namespace
    }

    private func list(_ kind: ClusterKind, _ query: Query) -> String {
        let items = objects.values.filter { isListed($0, at: query.path) && query.means($0) }
        return Self.text([
            "kind": "List", "apiVersion": "v1", "metadata": ["resourceVersion": .string("\(version)")],
            "items": .array(items.sorted { $0.name < $1.name }.map(\.json)),
        ])
    }

    private mutating func create(_ request: ScriptedServer.Request) -> (Int, String) {
        guard let object = try? KubernetesObject(parsing: request.body) else {
            return Self.status(400, "BadRequest")
        }
        if objects[path(object)] != nil { return Self.status(409, "AlreadyExists") }
        let stored = store(known(object))
        if object.kind == "Job" { for made in onJob(stored) { store(made) } }
        return (201, Self.text(stored.json))
    }

    private mutating func replace(
        _ request: ScriptedServer.Request, _ query: Query, _ kind: ClusterKind
    ) -> (Int, String) {
        guard var object = try? KubernetesObject(parsing: request.body) else {
            return Self.status(400, "BadRequest")
        }
        guard let old = objects[query.path] else { return Self.status(404, "NotFound") }
        guard old.resourceVersion == object.resourceVersion else { return Self.status(409, "Conflict") }
        if statusGroups.contains(kind.group) {
            // A write to the one leaves the other alone.
            var kept = query.isStatus ? old : object
            let from = query.isStatus ? object : old
            kept.remove(at: ["status"])
            if let said = from["status"] { try? kept.set(said, at: ["status"]) }
            object = kept
        } else if query.isStatus {
            return Self.status(404, "NotFound")
        }
        return (200, Self.text(store(known(object)).json))
    }

    /// A merge patch (RFC 7386).
    private mutating func patch(_ request: ScriptedServer.Request, _ query: Query) -> (Int, String) {
        guard let old = objects[query.path], let patch = try? JSONValue(parsing: request.body) else {
            return Self.status(404, "NotFound")
        }
        let wanted = patch["metadata", "resourceVersion"]?.string
        guard wanted == nil || wanted == old.resourceVersion,
            let object = try? KubernetesObject(MergePatch.apply(patch, to: old.json))
        else { return Self.status(409, "Conflict") }
        return (200, Self.text(store(object).json))
    }

    private mutating func delete(_ request: ScriptedServer.Request, _ query: Query) -> (Int, String) {
        guard let object = objects[query.path] else { return Self.status(404, "NotFound") }
        let options = try? JSONValue(parsing: request.body)
        if let uid = options?["preconditions", "uid"]?.string, uid != object.uid {
            return Self.status(409, "Conflict")
        }
        delete(object)
        return (200, "{}")
    }

    private func discovery(_ path: String) -> String? {
        switch path {
        case "/version": return #"{"major":"1","minor":"31","gitVersion":"v1.31.0"}"#
        case "/api": return #"{"versions":["v1"]}"#
        case "/apis":
            let groups = Set(kinds.map { "\($0.group) \($0.version)" }).filter { !$0.hasPrefix(" ") }
                .sorted().map {
                    let words = $0.split(separator: " ")
                    return
                        #"{"name":"\#(words[0])","versions":[{"version":"\#(words[1])"}],"preferredVersion":{"version":"\#(words[1])"}}"#
                }
            return #"{"groups":[\#(groups.joined(separator: ","))]}"#
        default:
            let served = kinds.filter { $0.prefix == path }
            guard !served.isEmpty else { return nil }
            var resources = served.map {
                #"{"name":"\#($0.plural)","singularName":"\#($0.kind.lowercased())","kind":"\#($0.kind)","namespaced":\#($0.isNamespaced),"verbs":["get"]}"#
            }
            resources += served.filter { statusGroups.contains($0.group) }.map {
                #"{"name":"\#($0.plural)/status","kind":"\#($0.kind)","namespaced":true}"#
            }
            return #"{"resources":[\#(resources.joined(separator: ","))]}"#
        }
    }
}
