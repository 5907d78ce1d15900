internal import Basics
internal import HTTPTestServer
package import Kubernetes
internal import Synchronization

/// An API server that holds objects and plays the controllers of a few kinds, so that each request of a journey can be
/// the last one before its process dies. Real servers are asked in the end-to-end runs.
package final class FakeCluster: Sendable {
    private struct State {
        /// By path: `/apis/batch/v1/namespaces/ml/jobs/run42`.
        var objects: [String: KubernetesObject] = [:]
        var version: Int64 = 1
        /// Seconds that the server's clock is ahead.
        var ahead: Int64 = 0
        /// Writes that are still answered; nil for all.
        var writesLeft: Int?
        /// Whether the write that is one too many is done all the same, and only its answer lost.
        var doesLastWrite = false
        var isDead = false
        /// Whether pods of Deployments come and go; they are Ready after so many lists of pods.
        var playsDeployments = false
        var looksUntilReady = 0
        /// `PUT httproutes`, `GET proxy`: what is refused.
        var forbidden: Set<String> = []
        /// What pods answer.
        var podAnswer: @Sendable (String) -> (Int, String) = { _ in (200, "saved") }
        /// Writes that were done, and requests to pods: `PUT /apis/apps/v1/namespaces/ml/deployments/w`.
        var history: [String] = []
        /// Requests to pods: `POST /api/v1/namespaces/ml/pods/w:8080/proxy/save`.
        var asked: [String] = []
    }

    /// What is served, besides the core group's pods and claims and Leases.
    private static let kinds: [(group: String, version: String, kind: String, plural: String)] = [
        ("", "v1", "Pod", "pods"), ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
        ("batch", "v1", "Job", "jobs"), ("batch", "v1", "CronJob", "cronjobs"),
        ("apps", "v1", "StatefulSet", "statefulsets"), ("apps", "v1", "Deployment", "deployments"),
        ("apps", "v1", "ReplicaSet", "replicasets"), ("coordination.k8s.io", "v1", "Lease", "leases"),
        ("jobset.x-k8s.io", "v1alpha2", "JobSet", "jobsets"), ("kubeflow.org", "v1", "PyTorchJob", "pytorchjobs"),
        ("batch.volcano.sh", "v1alpha1", "Job", "jobs"), ("bus.volcano.sh", "v1alpha1", "Command", "commands"),
        ("kueue.x-k8s.io", "v1beta1", "Workload", "workloads"), ("kaito.sh", "v1beta1", "Workspace", "workspaces"),
        ("ray.io", "v1", "RayJob", "rayjobs"), ("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects"),
        ("inference.networking.k8s.io", "v1", "InferencePool", "inferencepools"),
        ("inference.networking.x-k8s.io", "v1alpha2", "InferencePool", "inferencepools"),
        ("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
        ("snapshot.storage.k8s.io", "v1", "VolumeSnapshot", "volumesnapshots"),
    ]

    private let state = Mutex(State())
    private let server = Mutex<ScriptedServer?>(nil)

    package init() throws {
        let made = try ScriptedServer { [weak self] request in self?.answer(request) ?? [.close] }
        server.withLock { $0 = made }
    }

    /// A client that gives up soon.
    package var client: KubernetesClient {
        let url = server.withLock { $0?.url ?? "" }
        return KubernetesClient(
            KubernetesConfiguration(server: url), patience: .init(totalSeconds: 0.05, baseSeconds: 0.01))
    }

    // MARK: The test's hands

    /// Puts an object there, as if it had always been.
    package func put(_ object: KubernetesObject) {
        state.withLock { state in
            var object = object
            state.version += 1
            if object.uid.isEmpty { object.uid = "uid-\(state.version)" }
            object.resourceVersion = "\(state.version)"
            state.objects[Self.path(object)] = object
        }
    }

    /// The object of that kind and name; nil when there is none.
    package func get(_ kind: String, _ name: String, namespace: String = "ml", group: String = "") -> KubernetesObject?
    {
        state.withLock { state in
            state.objects.values.first {
                $0.kind == kind && $0.name == name && $0.namespace == namespace && (group.isEmpty || $0.group == group)
            }
        }
    }

    /// All objects of a kind.
    package func all(_ kind: String) -> [KubernetesObject] {
        state.withLock { $0.objects.values.filter { $0.kind == kind } }
    }

    /// From now on, `count` writes are answered; then the client's process is as good as dead: nothing it asks is. With
    /// `afterDoing`, the write that kills it is done.
    package func die(afterWrites count: Int, afterDoing: Bool) {
        state.withLock { state in
            state.writesLeft = count
            state.doesLastWrite = afterDoing
        }
    }

    /// A new process comes, `seconds` later.
    package func revive(secondsLater seconds: Int64) {
        state.withLock { state in
            state.isDead = false
            state.writesLeft = nil
            state.ahead += seconds
        }
    }

    /// Has pods of Deployments come and go with their replicas, each Ready when pods have been listed `looks` times since.
    package func playDeployments(readyAfterLooks looks: Int = 0) {
        state.withLock { state in
            state.playsDeployments = true
            state.looksUntilReady = looks
            Self.control(&state)
        }
    }

    /// Refuses a method on a resource: `PUT httproutes`, `GET proxy`.
    package func forbid(_ request: String) { state.withLock { _ = $0.forbidden.insert(request) } }

    /// Has pods answer what is asked through the proxy, by the path.
    package func answerPods(_ answer: @escaping @Sendable (String) -> (Int, String)) {
        state.withLock { $0.podAnswer = answer }
    }

    /// Writes that were done and requests that pods got, in their order.
    package var history: [String] { state.withLock { $0.history } }

    /// Requests that pods got.
    package var asked: [String] { state.withLock { $0.asked } }

    package var isDead: Bool { state.withLock { $0.isDead } }

    // MARK: Answers

    private func answer(_ request: ScriptedServer.Request) -> [ScriptedServer.Step] {
        state.withLock { state in
            if state.isDead { return [.close] }
            let isWrite = request.method != "GET"
            if isWrite, let left = state.writesLeft {
                if left == 0 {
                    state.isDead = true
                    if state.doesLastWrite {
                        _ = Self.act(request, &state)
                        Self.control(&state)
                    }
                    return [.close]
                }
                state.writesLeft = left - 1
            }
            let (status, body) = Self.act(request, &state)
            if isWrite {
                if status < 300 { state.history.append("\(request.method) \(request.target.prefix { $0 != "?" })") }
                Self.control(&state)
            }
            let now = SystemWallClock().now().seconds + state.ahead
            let headers = [("Content-Type", "application/json"), ("Date", Self.httpDate(now))]
            return [.answer(status, headers, body)]
        }
    }

    private static func httpDate(_ seconds: Int64) -> String {
        let time = CalendarTime(Timestamp(seconds: seconds))
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let day = days[Int((seconds / 86_400) % 7)]
        return
            "\(day), \(two(time.day)) \(months[time.month - 1]) \(time.year) \(two(time.hour)):\(two(time.minute)):\(two(time.second)) GMT"
    }

    private static func status(_ code: Int, _ reason: String) -> (Int, String) {
        (code, #"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"\#(reason)","code":\#(code)}"#)
    }

    private static func act(_ request: ScriptedServer.Request, _ state: inout State) -> (Int, String) {
        let parts = request.target.split(separator: "?", maxSplits: 1).map(String.init)
        let path = parts[0]
        if let discovered = discovery(path) { return (200, discovered) }
        let query = parts.count > 1 ? parts[1] : ""
        let refused = state.forbidden.contains { refused in
            let words = refused.split(separator: " ")
            return request.method == words[0] && path.split(separator: "/").contains(words[1])
        }
        if refused { return status(403, "Forbidden") }
        if path.contains("/proxy/") {
            state.asked.append("\(request.method) \(path)")
            if request.method == "GET" { state.history.append("GET \(path)") }
            return state.podAnswer(path)
        }
        switch request.method {
        case "GET":
            if query.contains("watch=") { return (200, "") }
            if path.hasSuffix("/pods") { makeReady(&state) }
            if let object = state.objects[path] { return (200, text(object.json)) }
            guard let kind = kinds.first(where: { path.hasSuffix("/\($0.plural)") && path.contains(prefix($0)) }) else {
                return status(404, "NotFound")
            }
            let namespace = path.split(separator: "/").drop { $0 != "namespaces" }.dropFirst().first.map(String.init)
            let selector = query.split(separator: "&").first { $0.hasPrefix("labelSelector=") }.map(String.init)
            let items = state.objects.values.filter {
                $0.kind == kind.kind && $0.group == kind.group && (namespace == nil || $0.namespace == namespace)
                    && isMeant($0, selector)
            }
            let list: JSONValue = [
                "kind": "List", "apiVersion": "v1", "metadata": ["resourceVersion": .integer(state.version)],
                "items": .array(items.sorted { $0.name < $1.name }.map(\.json)),
            ]
            return (200, text(list))
        case "POST":
            guard var object = try? KubernetesObject(parsing: request.body) else { return status(400, "BadRequest") }
            if state.objects[Self.path(object)] != nil { return status(409, "AlreadyExists") }
            state.version += 1
            object.uid = "uid-\(state.version)"
            object.resourceVersion = "\(state.version)"
            state.objects[Self.path(object)] = object
            return (201, text(object.json))
        case "PUT":
            guard var object = try? KubernetesObject(parsing: request.body) else { return status(400, "BadRequest") }
            guard let old = state.objects[path] else { return status(404, "NotFound") }
            guard old.resourceVersion == object.resourceVersion else { return status(409, "Conflict") }
            state.version += 1
            object.resourceVersion = "\(state.version)"
            state.objects[path] = object
            return (200, text(object.json))
        case "DELETE":
            guard state.objects.removeValue(forKey: path) != nil else { return status(404, "NotFound") }
            return (200, "{}")
        default: return status(405, "MethodNotAllowed")
        }
    }

    /// Whether an object has the label that a list asks for, `KEY=VALUE` in percent encoding, if it asks for one.
    private static func isMeant(_ object: KubernetesObject, _ selector: String?) -> Bool {
        guard let selector else { return true }
        let plain = selector.dropFirst("labelSelector=".count)
            .replacing("%2F", with: "/").replacing("%3D", with: "=")
        let words = plain.split(separator: "=").map(String.init)
        return words.count == 2 && object.labels[words[0]] == words[1]
    }

    private static func text(_ json: JSONValue) -> String { String(decoding: json.serialized(), as: UTF8.self) }

    private static func prefix(_ kind: (group: String, version: String, kind: String, plural: String)) -> String {
        kind.group.isEmpty ? "/api/v1" : "/apis/\(kind.group)/\(kind.version)"
    }

    private static func path(_ object: KubernetesObject) -> String {
        let kind = kinds.first { $0.kind == object.kind && $0.group == object.group }
        return
            "\(kind.map(prefix) ?? "")/namespaces/\(object.namespace)/\(kind?.plural ?? "unknown")/\(object.name)"
    }

    private static func discovery(_ path: String) -> String? {
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
            let resources = served.map {
                #"{"name":"\#($0.plural)","singularName":"\#($0.kind.lowercased())","kind":"\#($0.kind)","namespaced":true,"verbs":["get"]}"#
            }
            return #"{"resources":[\#(resources.joined(separator: ","))]}"#
        }
    }

    // MARK: Controllers

    /// A list of pods brings them one look nearer to being Ready.
    private static func makeReady(_ state: inout State) {
        let waiting = state.objects.filter { $0.value["metadata", "annotations", "looks"] != nil }
        for (path, pod) in waiting {
            var pod = pod
            let left = (Int(pod.annotations["looks"] ?? "") ?? 0) - 1
            pod.setAnnotation("looks", left > 0 ? "\(left)" : nil)
            if left <= 0 { try? pod.set(.array([["type": "Ready", "status": "True"]]), at: ["status", "conditions"]) }
            state.objects[path] = pod
        }
    }

    /// The pods that a Deployment wants, and no others.
    private static func play(_ deployment: KubernetesObject, _ state: inout State) {
        let wanted = Int(deployment["spec", "replicas"]?.int64 ?? 1)
        for index in 0..<16 {
            var pod = KubernetesObject(
                GroupVersionKind(group: "", version: "v1", kind: "Pod"), namespace: deployment.namespace,
                name: "\(deployment.name)-\(index)")
            guard index < wanted else {
                state.objects.removeValue(forKey: path(pod))
                continue
            }
            guard state.objects[path(pod)] == nil else { continue }
            state.version += 1
            pod.uid = "uid-\(state.version)"
            pod.resourceVersion = "\(state.version)"
            for member in deployment["spec", "template", "metadata", "labels"]?.object?.members ?? [] {
                pod.setLabel(member.key, member.value.string)
            }
            try? pod.set(deployment["spec", "template", "spec"] ?? [:], at: ["spec"])
            let isReady = state.looksUntilReady == 0
            try? pod.set(
                [
                    "phase": "Running",
                    "conditions": .array([["type": "Ready", "status": isReady ? "True" : "False"]]),
                ], at: ["status"])
            if !isReady { pod.setAnnotation("looks", "\(state.looksUntilReady)") }
            state.objects[path(pod)] = pod
        }
    }

    /// Does what controllers would do at once: pods come and go with what is wanted.
    private static func control(_ state: inout State) {
        for (path, object) in state.objects {
            var object = object
            switch (object.group, object.kind) {
            case ("bus.volcano.sh", "Command"):
                state.objects.removeValue(forKey: path)
                guard let target = object["target", "name"]?.string,
                    let (jobPath, found) = state.objects.first(where: {
                        $0.value.group == "batch.volcano.sh" && $0.value.name == target
                    })
                else { continue }
                var job = found
                let phase = object["action"]?.string == "AbortJob" ? "Aborted" : "Running"
                try? job.set(.string(phase), at: ["status", "state", "phase"])
                state.version += 1
                job.resourceVersion = "\(state.version)"
                state.objects[jobPath] = job
                continue
            case ("batch", "Job"), ("jobset.x-k8s.io", "JobSet"):
                try? object.set(
                    .array([
                        ["type": "Suspended", "status": .string(object["spec", "suspend"] == true ? "True" : "False")]
                    ]),
                    at: ["status", "conditions"])
            case ("kubeflow.org", _):
                let isSuspended = object["spec", "runPolicy", "suspend"] == true
                try? object.set(
                    .array([["type": "Suspended", "status": .string(isSuspended ? "True" : "False")]]),
                    at: ["status", "conditions"])
            case ("apps", "StatefulSet"):
                guard object["spec", "replicas"]?.int64 == 0 else { continue }
                for (path, pod) in state.objects
                where pod.kind == "Pod" && pod.ownerReferences.contains(where: { $0.uid == object.uid }) {
                    state.objects.removeValue(forKey: path)
                }
                continue
            case ("apps", "Deployment") where state.playsDeployments:
                play(object, &state)
                continue
            case ("ray.io", "RayJob"):
                let isSuspended = object["spec", "suspend"] == true
                try? object.set(.string(isSuspended ? "Suspended" : "Running"), at: ["status", "jobDeploymentStatus"])
            default: continue
            }
            state.objects[path] = object
        }
    }
}
