import Basics
import HTTPTestServer
import HTTPTransport
import Synchronization
import Testing

@testable import Kubernetes

/// Answers that a real server gives too seldom to wait for.
@Suite("Client", .timeLimit(.minutes(10)))
struct ClientTests {
    /// A failure as the API tells it.
    static func status(
        _ code: Int, _ reason: String, _ message: String = "no", headers: [(String, String)] = []
    ) -> ScriptedServer.Step {
        .answer(
            code, headers + [("Content-Type", "application/json")],
            """
            {"kind":"Status","apiVersion":"v1","status":"Failure","message":"\(message)","reason":"\(reason)","code":\(code)}
            """)
    }

    static let pod = #"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"n","resourceVersion":"7"}}"#

    static func client(_ server: ScriptedServer, seconds: Double = 600) -> KubernetesClient {
        KubernetesClient(
            KubernetesConfiguration(server: server.url),
            patience: .init(totalSeconds: seconds, baseSeconds: 0.01, maximumDelaySeconds: 0.05))
    }

    private func failure(_ body: () async throws -> Void) async -> KubernetesError? {
        do {
            try await body()
            return nil
        } catch {
            return error as? KubernetesError
        }
    }

    @Test("A server that is gone for a while, busy or overloaded is waited for")
    func patience() async throws {
        let server = try ScriptedServer { request in
            switch request.number {
            case 0..<5: [.close]
            case 5: [Self.status(503, "ServiceUnavailable")]
            case 6: [Self.status(429, "TooManyRequests", headers: [("Retry-After", "1")])]
            case 7: [Self.status(500, "InternalError")]
            case 8: [.answer(504, [], "<html>a proxy</html>")]
            default: [.answer(200, [], Self.pod)]
            }
        }
        let clock = ContinuousClock()
        let start = clock.now
        let pod = try await Self.client(server).get(.pods, namespace: "n", name: "p")
        #expect(pod.name == "p" && server.requests.count == 10)
        #expect(start.duration(to: clock.now) >= .seconds(1))
        #expect(server.requests.allSatisfy { $0.target == "/api/v1/namespaces/n/pods/p" })
    }

    @Test(
        "A server that wants to be asked in an age is not waited for",
        arguments: ["1e300", "inf", "99999999999999999999"])
    func endlessWait(seconds: String) async throws {
        let server = try ScriptedServer { _ in
            [Self.status(503, "ServiceUnavailable", headers: [("Retry-After", seconds)])]
        }
        let error = await failure { _ = try await Self.client(server).get(.pods, namespace: "n", name: "p") }
        #expect(error?.code == .unavailable && server.requests.count == 1)
    }

    @Test("A lease beyond all time ends at the end of time")
    func endlessLease() throws {
        let lease = try KubernetesObject([
            "spec": ["leaseDurationSeconds": 9_223_372_036_854_775_807, "renewTime": "2261-12-31T23:59:59+23:59"]
        ])
        #expect(KubernetesLease.state(lease).end >= Timestamp(seconds: 9_000_000_000))
        let odd = try KubernetesObject(["spec": ["renewTime": "2026-01-01T00:00:00+99999999999999999:00"]])
        #expect(KubernetesLease.state(odd).renewed == nil)
    }

    @Test("Neither tokens nor keys show when a configuration is printed")
    func printing() {
        var configuration = KubernetesConfiguration(server: "https://x", source: "the context c")
        configuration.authentication = .token("s3cr3t")
        configuration.clientKey = .bytes(Array("s3cr3t".utf8))
        var text = ""
        dump(configuration, to: &text)
        dump(configuration.authentication, to: &text)
        text += "\(configuration) \(configuration.authentication) \(String(describing: configuration.clientKey))"
        #expect(!text.contains("s3cr3t") && !text.contains("115") && text.contains("https://x"))
    }

    @Test("Patience ends")
    func impatience() async throws {
        let server = try ScriptedServer { _ in [Self.status(503, "ServiceUnavailable", "etcd is down")] }
        let error = await failure {
            _ = try await Self.client(server, seconds: 0.2).get(.pods, namespace: "n", name: "p")
        }
        #expect(error?.code == .unavailable && error?.status == 503)
        #expect(error?.message.hasPrefix("cannot get Pod n/p: etcd is down; ") == true)
        var configuration = KubernetesConfiguration(server: "http://127.0.0.1:1", source: "the context x")
        configuration.namespace = "n"
        let gone = KubernetesClient(configuration, patience: .init(totalSeconds: 0.2, baseSeconds: 0.01))
        let unreachable = await failure { _ = try await gone.list(.pods) }
        #expect(unreachable?.code == .unreachable && unreachable?.message.contains("the context x") == true)
    }

    @Test("A creation whose answer is lost is not repeated, a deletion is, and counts as done when nothing is left")
    func lostAnswers() async throws {
        let server = try ScriptedServer { request in
            switch (request.method, request.number) {
            case ("DELETE", 1): [.close]
            case ("DELETE", _): [Self.status(404, "NotFound")]
            default: [.close]
            }
        }
        let client = Self.client(server)
        let object = try KubernetesObject(parsing: Array(Self.pod.utf8))
        let error = await failure { _ = try await client.create(.pods, object) }
        #expect(error?.isAmbiguous == true && server.requests.count == 1)
        #expect(
            try await client.delete(.pods, namespace: "n", name: "p", DeleteOptions(propagation: .foreground, uid: "u"))
        )
        #expect(server.requests.count == 3)
        let body = try JSONValue(parsing: server.requests[2].body)
        #expect(body["propagationPolicy"] == "Foreground" && body["preconditions"] == ["uid": "u"])
        #expect(try await !client.delete(.pods, namespace: "n", name: "p"))
    }

    @Test("A token that ran out is read again, once")
    func expiredToken() async throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write("token", "old")
        let server = try ScriptedServer { request in
            if request.headers["authorization"] == "Bearer new" { return [.answer(200, [], Self.pod)] }
            _ = try? directory.write("token", "new")
            return [Self.status(401, "Unauthorized")]
        }
        var configuration = KubernetesConfiguration(server: server.url)
        configuration.authentication = .tokenFile(path)
        configuration.impersonatedUser = "jane"
        configuration.impersonatedGroups = ["a"]
        #expect(try await KubernetesClient(configuration).get(.pods, namespace: "n", name: "p").name == "p")
        #expect(server.requests.count == 2)
        #expect(server.requests[1].headers["impersonate-user"] == "jane")
        #expect(server.requests[1].headers["impersonate-group"] == "a")
        configuration.authentication = .token("old")
        let error = await failure {
            _ = try await KubernetesClient(configuration).get(.pods, namespace: "n", name: "p")
        }
        #expect(error?.code == .unauthorized && server.requests.count == 3)
    }

    @Test("Names that would lead elsewhere are refused, and odd ones encoded")
    func names() async throws {
        let server = try ScriptedServer { _ in [.answer(200, [], Self.pod)] }
        let client = Self.client(server)
        for (namespace, name) in [("n", ""), ("", "p"), ("n", ".."), ("n", "a/b"), ("..", "p")] {
            let error = await failure { _ = try await client.get(.pods, namespace: namespace, name: name) }
            #expect(error?.code == .invalid, "\(namespace) \(name)")
        }
        #expect(server.requests.isEmpty)
        let roles = APIResource(
            group: "rbac.authorization.k8s.io", version: "v1", kind: "ClusterRole", plural: "clusterroles",
            isNamespaced: false)
        _ = try await client.get(roles, name: "system:a b?é")
        #expect(
            server.requests[0].target == "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Aa%20b%3F%C3%A9")
    }

    @Test("A list that grows too old while it is fetched is begun anew, and whole at last")
    func expiredList() async throws {
        let server = try ScriptedServer { request in
            if request.target.contains("continue=") { return [Self.status(410, "Expired")] }
            let more = request.target.contains("limit=") ? #","continue":"c+/""# : ""
            return [
                .answer(
                    200, [],
                    #"{"kind":"PodList","metadata":{"resourceVersion":"9"\#(more)},"items":[{"metadata":{"name":"p"}}]}"#
                )
            ]
        }
        let list = try await Self.client(server).list(
            .pods, namespace: "n", ListOptions(labels: LabelSelector(matching: ["a": "b"]), fields: "x=y", pageSize: 1))
        #expect(list.items.count == 1 && list.items[0].kind == "Pod" && list.resourceVersion == "9")
        #expect(server.requests.count == 5)
        #expect(
            server.requests[0].target == "/api/v1/namespaces/n/pods?labelSelector=a%3Db&fieldSelector=x%3Dy&limit=1")
        #expect(server.requests[1].target.hasSuffix("&continue=c%2B%2F"))
    }

    @Test("Somebody who was faster is not overwritten")
    func updating() async throws {
        let version = Mutex(1)
        let server = try ScriptedServer { request in
            let now = version.withLock { $0 }
            if request.method == "PUT" {
                let sent = try? KubernetesObject(parsing: request.body)
                if sent?.resourceVersion != "3" {
                    version.withLock { $0 += 1 }
                    return [Self.status(409, "Conflict")]
                }
                return [.answer(200, [], String(decoding: request.body, as: UTF8.self))]
            }
            return [.answer(200, [], Self.pod.replacing("\"7\"", with: "\"\(now)\""))]
        }
        let client = Self.client(server)
        let stored = try await client.updating(.pods, namespace: "n", name: "p") { $0.setLabel("a", "b") }
        #expect(stored.labels == ["a": "b"] && stored.resourceVersion == "3" && server.requests.count == 6)
        struct Refusal: Error {}
        await #expect(throws: Refusal.self) {
            try await client.updating(.pods, namespace: "n", name: "p") { _ throws(Refusal) in throw Refusal() }
        }
        version.withLock { $0 = 100 }
        let error = await failure {
            _ = try await client.updating(.pods, namespace: "n", name: "p", attempts: 3) { $0.setLabel("a", "b") }
        }
        #expect(error?.code == .conflict)
    }

    private static func event(_ type: String, _ name: String, _ version: Int) -> String {
        #"{"type":"\#(type)","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"\#(name)","resourceVersion":"\#(version)"}}}"#
            + "\n"
    }

    /// Tells `text` and breaks off, or ends well.
    private static func stream(_ text: String, ends: Bool = true) -> [ScriptedServer.Step] {
        let chunk = "\(String(text.utf8.count, radix: 16))\r\n\(text)\r\n" + (ends ? "0\r\n\r\n" : "")
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        return [.send(Array((head + chunk).utf8))] + (ends ? [] : [.close])
    }

    @Test("A watch goes on where it was after every kind of end, and lists anew when that is forgotten")
    func watch() async throws {
        let server = try ScriptedServer { request in
            switch request.number {
            case 0: [.answer(200, [], #"{"kind":"PodList","metadata":{"resourceVersion":"1"},"items":[]}"#)]
            case 1: Self.stream(Self.event("ADDED", "a", 2) + Self.event("BOOKMARK", "", 5))
            case 2: Self.stream(Self.event("MODIFIED", "a", 6), ends: false)
            case 3: [Self.status(503, "ServiceUnavailable")]
            case 4: Self.stream(Self.event("DELETED", "a", 7).replacing("\n", with: "\r\n\n"))
            case 5: Self.stream(#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}"# + "\n")
            case 6:
                [
                    .answer(
                        200, [],
                        #"{"kind":"PodList","metadata":{"resourceVersion":"20"},"items":[{"metadata":{"name":"b"}}]}"#)
                ]
            case 7: [Self.status(410, "Gone")]
            case 8: [.answer(200, [], #"{"kind":"PodList","metadata":{"resourceVersion":"30"},"items":[]}"#)]
            case 9: [Self.status(403, "Forbidden")]
            default: [.close]
            }
        }
        var told: [String] = []
        let error = await failure {
            for try await event in Self.client(server).watch(.pods, namespace: "n") {
                switch event {
                case .synced(let objects): told.append("synced \(objects.map(\.name))")
                case .added(let object): told.append("added \(object.name)")
                case .modified(let object): told.append("modified \(object.name)")
                case .deleted(let object): told.append("deleted \(object.name)")
                }
            }
        }
        #expect(told == ["synced []", "added a", "modified a", "deleted a", "synced [\"b\"]", "synced []"])
        #expect(error?.code == .forbidden && error?.message.contains("verbs [\"watch\"]") == true)
        let versions = server.requests.map { request in
            request.target.split(separator: "&").first { $0.hasPrefix("resourceVersion=") }.map {
                String($0.dropFirst(16))
            } ?? "-"
        }
        #expect(versions == ["-", "1", "5", "6", "6", "7", "-", "20", "-", "30"])
    }

    @Test(
        "A watch that is told nonsense says so", arguments: ["{}\n", "nonsense\n", "{\"type\":\"X\",\"object\":{}}\n"])
    func badWatch(text: String) async throws {
        let server = try ScriptedServer { _ in Self.stream(text) }
        let error = await failure {
            for try await _ in Self.client(server).watch(.pods, from: "1") { Issue.record("an event") }
        }
        #expect(error?.code == .malformed)
    }

    @Test("Kinds are found in the preferred version, a group that is down hides nothing, and answers are remembered")
    func discovery() async throws {
        let isInstalled = Mutex(false)
        let server = try ScriptedServer { request in
            switch request.target {
            case "/api": [.answer(200, [], #"{"versions":["v1"]}"#)]
            case "/apis":
                [
                    .answer(
                        200, [],
                        #"""
                        {"groups":[{"name":"metrics.k8s.io","versions":[{"version":"v1"}]},{"name":"x.io",
                        "versions":[{"version":"v2beta1"},{"version":"v1"}],"preferredVersion":{"version":"v1"}}]}
                        """#)
                ]
            case "/api/v1": [.answer(200, [], #"{"resources":[{"name":"pods","kind":"Pod","namespaced":true}]}"#)]
            case "/apis/metrics.k8s.io/v1": [Self.status(503, "ServiceUnavailable")]
            case "/apis/x.io/v1", "/apis/x.io/v2beta1":
                [
                    .answer(
                        200, [],
                        #"""
                        {"resources":[{"name":"things","singularName":"thing","kind":"Thing","namespaced":false,
                        "shortNames":["th"],"verbs":["get"]},{"name":"things/scale","kind":"Scale"}]}
                        """#)
                ]
            default: isInstalled.withLock { $0 } ? [.answer(200, [], "{}")] : [Self.status(404, "NotFound")]
            }
        }
        let client = Self.client(server, seconds: 0.05)
        for name in ["th", "Thing", "thing.x.io", "things.v2beta1.x.io"] {
            let thing = try await client.resource(named: name)
            #expect(
                thing?.kind == "Thing" && thing?.isNamespaced == false && thing?.subresources == ["scale"], "\(name)")
            #expect(thing?.version == (name.contains("v2") ? "v2beta1" : "v1"))
        }
        #expect(try await client.resource(group: "x.io", kind: "Thing")?.version == "v1")
        let count = server.requests.count
        #expect(
            try await client.resource(GroupVersionKind(group: "x.io", version: "v1", kind: "Thing"))?.verbs == ["get"])
        #expect(server.requests.count == count)
        #expect(try await client.resource(GroupVersionKind(group: "y.io", version: "v1", kind: "Y")) == nil)
    }

    @Test(
        "Only the API's own word says that an object is not there; a path that is not served is no kind's, a page nothing"
    )
    func foreignNotFound() async throws {
        let page = Mutex("404 page not found\n")
        let server = try ScriptedServer { request in
            request.target.hasSuffix("/pods/gone")
                ? [Self.status(404, "NotFound")] : [.answer(404, [], page.withLock { $0 })]
        }
        let client = Self.client(server)
        #expect(try await client.find(.pods, namespace: "n", name: "gone") == nil)
        for text in ["404 page not found\n", "<html>no such\nhost</html>", ""] {
            page.withLock { $0 = text }
            let error = await failure { _ = try await client.find(.pods, namespace: "n", name: "p") }
            #expect(error?.code == .unavailable && error?.status == 404, "\(text) \(String(describing: error))")
            #expect(error?.message.contains("\n") == false)
            let lease = await failure { _ = try await KubernetesLease(client, namespace: "n", name: "l").read() }
            #expect(lease?.code == .unavailable)
        }
        page.withLock { $0 = "404 page not found\n" }
        let kind = GroupVersionKind(group: "y.io", version: "v1", kind: "Y")
        #expect(try await client.resource(kind) == nil)
        page.withLock { $0 = "<html>no such host</html>" }
        let other = GroupVersionKind(group: "z.io", version: "v1", kind: "Z")
        #expect(await failure { _ = try await client.resource(other) }?.code == .unavailable)
    }

    @Test(
        "A word that no kind is called by is told soon while an aggregated API is down, and that API's kinds not at all",
        .timeLimit(.minutes(2)), arguments: [503, 504])
    func deadGroup(status: Int) async throws {
        let server = try ScriptedServer { request in
            switch request.target {
            case "/api": [.answer(200, [], #"{"versions":["v1"]}"#)]
            case "/apis":
                [
                    .answer(
                        200, [],
                        #"{"groups":[{"name":"metrics.k8s.io","versions":[{"version":"v1"},{"version":"v1beta1"}]}]}"#)
                ]
            case "/api/v1": [.answer(200, [], #"{"resources":[{"name":"pods","kind":"Pod","namespaced":true}]}"#)]
            default: [Self.status(status, "ServiceUnavailable")]
            }
        }
        let patient = KubernetesClient(
            KubernetesConfiguration(server: server.url), patience: .init(totalSeconds: 3600, maximumDelaySeconds: 0.5))
        #expect(try await patient.resource(named: "pots") == nil)
        let client = Self.client(server, seconds: 0.05)
        let error = await failure { _ = try await client.resource(named: "nodes.metrics.k8s.io") }
        #expect(error?.status == status)
    }

    @Test("Fields that a server does not know are told of when it says so, and other warnings are none of them")
    func unknownFields() async throws {
        let server = try ScriptedServer { _ in
            [
                .answer(
                    201,
                    [
                        ("Warning", #"299 - "unknown field \"spec.a\"""#),
                        ("Warning", #"299 - "batch/v1beta1 is old""#),
                        ("Warning", #"299 - "would violate \"x\", y", 299 - "unknown field \"spec.b[0].c\"""#),
                        ("Warning", #"299 - "unknown"#),
                    ], Self.pod)
            ]
        }
        let pod = try KubernetesObject(parsing: Array(Self.pod.utf8))
        let (made, unknown) = try await Self.client(server).createTelling(.pods, pod)
        #expect(made.name == "p" && unknown == ["spec.a", "spec.b[0].c"])
        #expect(server.requests[0].target == "/api/v1/namespaces/n/pods?fieldValidation=Warn&fieldManager=becalm")
    }

    @Test("Whom to act as is told with all that is said of him, keys spelled as client-go does")
    func impersonation() async throws {
        let server = try ScriptedServer { _ in [.answer(200, [], Self.pod)] }
        var configuration = KubernetesConfiguration(server: server.url)
        configuration.impersonatedUser = "jane"
        configuration.impersonatedExtra = ["acme.com/Pro%ject é": ["a"], "scopes": ["view"]]
        _ = try await KubernetesClient(configuration).get(.pods, namespace: "n", name: "p")
        let headers = server.requests[0].headers
        #expect(headers["impersonate-extra-acme.com%2fpro%25ject%20%c3%a9"] == "a")
        #expect(headers["impersonate-extra-scopes"] == "view")
    }

    @Test("A pod's own refusals are answers, the API server's are errors")
    func proxy() async throws {
        let server = try ScriptedServer { request in
            request.number == 0 ? [.answer(503, [], "loading")] : [Self.status(503, "ServiceUnavailable", "no route")]
        }
        let client = Self.client(server)
        let (response, body) = try await client.proxy(
            namespace: "n", pod: "p", port: 8000, isSecure: true, method: .post, path: "/save?x=1", body: [1])
        #expect(response.status == 503 && body == Array("loading".utf8))
        #expect(server.requests[0].target == "/api/v1/namespaces/n/pods/https%3Ap%3A8000/proxy/save?x=1")
        #expect(server.requests[0].body == [1])
        let error = await failure { _ = try await client.proxy(namespace: "n", pod: "p", port: 8000) }
        #expect(error?.code == .unavailable && server.requests.count == 2)
    }

    @Test("An eviction that a disruption budget forbids is no error and not repeated")
    func eviction() async throws {
        let server = try ScriptedServer { request in
            request.method == "POST" ? [Self.status(429, "TooManyRequests", "budget")] : [Self.status(404, "NotFound")]
        }
        guard case .refused(let words) = try await Self.client(server).evict(namespace: "n", pod: "p") else {
            Issue.record("not refused")
            return
        }
        #expect(words.contains("budget"))
        #expect(server.requests.count { $0.method == "POST" } == 1)
        #expect(try JSONValue(parsing: server.requests[1].body)["apiVersion"] == "policy/v1beta1")
    }
}
