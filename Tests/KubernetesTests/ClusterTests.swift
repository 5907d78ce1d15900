import Basics
import Foundation
import HTTPTransport
import Synchronization
import Testing

@testable import Kubernetes

/// A namespace of its own on a real cluster, from `BECALM_TEST_KUBECONFIG` (not `KUBECONFIG`, so that nobody tests by
/// accident on the cluster that he works with). `BECALM_TEST_IMAGE` names an image with busybox's programs.
private struct TestCluster {
    static let path = ProcessInfo.processInfo.environment["BECALM_TEST_KUBECONFIG"]
    static let image = ProcessInfo.processInfo.environment["BECALM_TEST_IMAGE"] ?? "local/busybox:1"

    let client: KubernetesClient
    let namespace: String

    /// Runs `body` in a new namespace and removes that after.
    static func run(_ body: (TestCluster) async throws -> Void) async throws {
        let configuration = try await KubernetesConfiguration.load(
            path: path, environment: ProcessInfo.processInfo.environment)
        let client = KubernetesClient(configuration)
        let name = "becalm-test-\(UInt32.random(in: 0...UInt32.max))"
        let object = KubernetesObject(APIResource.namespaces.groupVersionKind, name: name)
        _ = try await client.create(.namespaces, object)
        do {
            // Pods need it, and the controller that makes it takes a moment.
            _ = try await client.wait(
                for: .serviceAccounts, namespace: name, name: "default", seconds: 60, what: "there"
            ) { $0 }
            try await body(TestCluster(client: client, namespace: name))
        } catch {
            try await client.delete(.namespaces, name: name)
            throw error
        }
        try await client.delete(.namespaces, name: name)
    }

    func configMap(_ name: String, labels: [String: String] = [:], data: JSONValue = [:]) throws -> KubernetesObject {
        var object = KubernetesObject(APIResource.configMaps.groupVersionKind, namespace: namespace, name: name)
        for (key, value) in labels { object.setLabel(key, value) }
        try object.set(data, at: ["data"])
        return object
    }

    /// A running pod with busybox in it.
    func pod(_ name: String, command: [String]) async throws -> KubernetesObject {
        var object = KubernetesObject(APIResource.pods.groupVersionKind, namespace: namespace, name: name)
        try object.set(
            [
                "terminationGracePeriodSeconds": 1, "restartPolicy": "Never",
                "containers": [
                    [
                        "name": "main", "image": .string(Self.image), "command": .array(command.map { .string($0) }),
                    ]
                ],
            ], at: ["spec"])
        _ = try await client.create(.pods, object)
        return try await client.wait(for: .pods, namespace: namespace, name: name, seconds: 120, what: "running") {
            pod in
            pod?["status", "phase"]?.string == "Running" ? pod : nil
        }
    }
}

@Suite("A real cluster", .enabled(if: TestCluster.path != nil), .timeLimit(.minutes(10)), .serialized)
struct ClusterTests {
    private func failure(_ body: () async throws -> Void) async -> KubernetesError? {
        do {
            try await body()
            return nil
        } catch {
            return error as? KubernetesError
        }
    }

    @Test("Discovery finds kinds by what people call them")
    func discovery() async throws {
        try await TestCluster.run { cluster in
            let client = cluster.client
            #expect(try await client.serverVersion() >= ServerVersion(major: 1, minor: 20))
            #expect(try await client.groups().first?.name == "")
            for name in ["po", "pods", "Pod", "pod"] {
                #expect(try await client.resource(named: name)?.plural == "pods")
            }
            let jobs = try await client.resource(named: "jobs.batch")
            #expect(jobs?.kind == "Job" && jobs?.verbs.contains("patch") == true && jobs?.subresources == ["status"])
            #expect(try await client.resource(named: "deployments.v1.apps")?.subresources.contains("scale") == true)
            #expect(try await client.resource(named: "deploy")?.group == "apps")
            #expect(try await client.resource(named: "nonsense") == nil)
            #expect(try await client.resource(GroupVersionKind(version: "v1", kind: "Node"))?.isNamespaced == false)
            let unknown = KubernetesObject(GroupVersionKind(group: "x.io", version: "v1", kind: "X"), name: "x")
            #expect(await failure { _ = try await client.resource(of: unknown) }?.code == .unsupported)
            #expect(try await client.reviewAccess("delete", .pods, namespace: cluster.namespace).isAllowed)
        }
    }

    @Test("Objects are created, changed in every way, guarded by preconditions, and deleted")
    func objects() async throws {
        try await TestCluster.run { cluster in
            let (client, namespace) = (cluster.client, cluster.namespace)
            let wanted = try cluster.configMap("a", data: ["k": "<1>\u{2028}"])
            _ = try await client.create(.configMaps, wanted, WriteOptions(isDryRun: true))
            #expect(try await client.find(.configMaps, namespace: namespace, name: "a") == nil)
            let made = try await client.create(.configMaps, wanted)
            #expect(!made.uid.isEmpty && made["data", "k"] == "<1>\u{2028}")
            #expect(await failure { _ = try await client.create(.configMaps, wanted) }?.code == .alreadyExists)

            // What the server wrote comes back byte for byte (but for the line's end).
            let call = APICall("get", .get, .configMaps, namespace: namespace, name: "a")
            let (_, bytes) = try await client.perform(call)
            #expect(try JSONValue(parsing: bytes).serialized() + [0x0a] == bytes)

            let merged = try await client.patch(
                .configMaps, namespace: namespace, name: "a", .merge(["data": ["k": .null, "m": "2"]]))
            #expect(merged["data"] == ["m": "2"])
            let stale = await failure { _ = try await client.update(.configMaps, made) }
            #expect(stale?.code == .conflict && stale?.reason == "Conflict")
            let test: JSONValue = [
                ["op": "test", "path": "/data/m", "value": "3"], ["op": "remove", "path": "/data/m"],
            ]
            let refused = await failure {
                _ = try await client.patch(.configMaps, namespace: namespace, name: "a", .json(test))
            }
            #expect(refused?.code == .invalid)
            var changes = 0
            let updated = try await client.updating(.configMaps, namespace: namespace, name: "a") { object in
                changes += 1
                object.setAnnotation("becalm.io/x", "y")
            }
            #expect(updated.annotations["becalm.io/x"] == "y" && changes == 1)
            let same = try await client.updating(.configMaps, namespace: namespace, name: "a") { _ in }
            #expect(same.resourceVersion == updated.resourceVersion)

            let applied = try await client.apply(.configMaps, try cluster.configMap("b", data: ["x": "1"]))
            #expect(applied["data", "x"] == "1")
            let other = WriteOptions(fieldManager: "other")
            let again = try cluster.configMap("b", data: ["x": "2"])
            #expect(await failure { _ = try await client.apply(.configMaps, again, other) }?.code == .conflict)
            #expect(try await client.apply(.configMaps, again, force: true, other)["data", "x"] == "2")

            let wrong = await failure {
                try await client.delete(
                    .configMaps, namespace: namespace, name: "a", DeleteOptions(uid: made.uid + "x"))
            }
            #expect(wrong?.code == .conflict)
            #expect(try await client.delete(.configMaps, namespace: namespace, name: "a", DeleteOptions(uid: made.uid)))
            #expect(try await !client.delete(.configMaps, namespace: namespace, name: "a"))
            #expect(
                await failure { _ = try await client.get(.configMaps, namespace: namespace, name: "a") }?.code
                    == .notFound)
        }
    }

    @Test("Lists come in pages, and watches tell what happens after")
    func listAndWatch() async throws {
        try await TestCluster.run { cluster in
            let (client, namespace) = (cluster.client, cluster.namespace)
            for number in 0..<7 {
                let labels = ["n": "\(number % 2)"]
                _ = try await client.create(.configMaps, try cluster.configMap("c\(number)", labels: labels))
            }
            let odd = ListOptions(labels: try LabelSelector(parsing: "n in (1)"), pageSize: 2)
            let list = try await client.list(.configMaps, namespace: namespace, odd)
            #expect(list.items.map(\.name) == ["c1", "c3", "c5"])
            #expect(list.items.allSatisfy { $0.kind == "ConfigMap" && $0.apiVersion == "v1" })
            let everywhere = try await client.list(.configMaps, ListOptions(fields: "metadata.name=c3"))
            #expect(everywhere.items.contains { $0.namespace == namespace })

            let watch = client.watch(.configMaps, namespace: namespace, odd)
            var events = watch.makeAsyncIterator()
            guard case .synced(let objects) = try await events.next() else {
                Issue.record("no state at the beginning")
                return
            }
            #expect(objects.count == 3)
            _ = try await client.create(.configMaps, try cluster.configMap("d", labels: ["n": "1"]))
            _ = try await client.patch(.configMaps, namespace: namespace, name: "d", .merge(["data": ["x": "y"]]))
            try await client.delete(.configMaps, namespace: namespace, name: "d")
            var told: [String] = []
            for _ in 0..<3 {
                switch try await events.next() {
                case .added(let object): told.append("added \(object.name)")
                case .modified(let object): told.append("modified \(object["data", "x"]?.string ?? "")")
                case .deleted(let object): told.append("deleted \(object.name)")
                default: told.append("?")
                }
            }
            #expect(told == ["added d", "modified y", "deleted d"])
            // From where the list was, the same is told again.
            var later = client.watch(.configMaps, namespace: namespace, odd, from: list.resourceVersion)
                .makeAsyncIterator()
            guard case .added(let object) = try await later.next() else {
                Issue.record("the watch does not go on from where it was")
                return
            }
            #expect(object.name == "d")
            let late = await failure {
                try await client.wait(
                    for: .configMaps, namespace: namespace, name: "never", seconds: 1, what: "there"
                ) { $0.map { _ in () } }
            }
            #expect(late?.code == .timedOut && late?.message.contains("never") == true)
        }
    }

    @Test("Commands run in containers: output, errors, input, exit codes, deadlines")
    func exec() async throws {
        try await TestCluster.run { cluster in
            let (client, namespace) = (cluster.client, cluster.namespace)
            _ = try await cluster.pod("p", command: ["sleep", "600"])
            func run(_ command: [String], input: [UInt8]? = nil, seconds: Double = 60) async throws -> ExecResult {
                try await client.execute(
                    ExecRequest(namespace: namespace, pod: "p", command: command, input: input, seconds: seconds))
            }
            var result = try await run(["sh", "-c", "echo out; echo err >&2; exit 3"])
            #expect(result.exitCode == 3)
            #expect(String(decoding: result.output, as: UTF8.self) == "out\n")
            #expect(String(decoding: result.errorOutput, as: UTF8.self) == "err\n")
            #expect(result.lastWords == "err")
            #expect(try await run(["true"]).exitCode == 0)
            let input = (0..<200_000).map { UInt8(truncatingIfNeeded: $0 / 3) }
            result = try await run(["head", "-c", "\(input.count)"], input: input)
            #expect(result.output == input && result.exitCode == 0 && !result.isTruncated)
            result = try await run(["sh", "-c", "head -c 3000000 /dev/zero"])
            #expect(result.output.count == 1 << 20 && result.isTruncated)
            let missing = await failure { _ = try await run(["no-such-program"]) }
            // Newer runtimes report the shell's code instead.
            #expect(missing == nil || missing?.message.contains("no-such-program") == true)
            let late = await failure { _ = try await run(["sleep", "60"], seconds: 2) }
            #expect(late?.code == .timedOut && late?.isAmbiguous == true)
            let absent = await failure {
                _ = try await client.execute(ExecRequest(namespace: namespace, pod: "q", command: ["true"]))
            }
            #expect(absent?.code == .notFound)
        }
    }

    @Test("Logs, the pod proxy, eviction")
    func pods() async throws {
        try await TestCluster.run { cluster in
            let (client, namespace) = (cluster.client, cluster.namespace)
            let script = "echo one; echo two; mkdir -p /w; echo hello >/w/a; exec busybox httpd -f -p 8080 -h /w"
            _ = try await cluster.pod("w", command: ["sh", "-c", script])
            var answer: (response: HTTPResponse, body: [UInt8])?
            // The server in the pod needs a moment after the pod runs; until then the proxy cannot reach it.
            for _ in 0..<100 where answer == nil {
                do {
                    answer = try await client.proxy(namespace: namespace, pod: "w", port: 8080, path: "/a")
                } catch let error as KubernetesError where error.code == .unavailable {
                    try await Task.sleep(for: .milliseconds(100))
                }
            }
            #expect(answer?.response.status == 200)
            #expect(answer.map { String(decoding: $0.body, as: UTF8.self) } == "hello\n")
            let missing = try await client.proxy(namespace: namespace, pod: "w", port: 8080, path: "/b")
            #expect(missing.response.status == 404)
            #expect(try await client.logText(namespace: namespace, pod: "w") == "one\ntwo\n")
            #expect(try await client.logText(namespace: namespace, pod: "w", LogOptions(tailLines: 1)) == "two\n")
            let followed = try await client.logs(namespace: namespace, pod: "w", LogOptions(follows: true))
            var text: [UInt8] = []
            while text.count < 8, let piece = try await followed.next() { text += piece }
            #expect(String(decoding: text, as: UTF8.self) == "one\ntwo\n")
            #expect(try await client.evict(namespace: namespace, pod: "w", gracePeriodSeconds: 0) == .evicted)
            // The pod's end ends its log.
            while let piece = try await followed.next() { text += piece }
            _ = try await client.wait(for: .pods, namespace: namespace, name: "w", seconds: 60, what: "gone") { pod in
                pod == nil ? true : nil
            }
            #expect(try await client.evict(namespace: namespace, pod: "w") == .gone)
        }
    }

    @Test("One of many gets a lease; it is renewed, released, and taken over when its time is over")
    func leases() async throws {
        try await TestCluster.run { cluster in
            let lease = KubernetesLease(cluster.client, namespace: cluster.namespace, name: "l")
            let winners = await withTaskGroup(of: String?.self) { group in
                for number in 0..<8 {
                    group.addTask {
                        guard case .acquired? = try? await lease.acquire(holder: "h\(number)", seconds: 600) else {
                            return nil
                        }
                        return "h\(number)"
                    }
                }
                return await group.reduce(into: [String]()) { if let name = $1 { $0.append(name) } }
            }
            #expect(winners.count == 1)
            let holder = try #require(winners.first)
            guard case .held(let state) = try await lease.acquire(holder: "other", seconds: 1) else {
                Issue.record("two hold the lease")
                return
            }
            #expect(state.holder == holder && state.durationSeconds == 600)
            _ = try await lease.renew(holder: holder, seconds: 600)
            #expect(await failure { _ = try await lease.renew(holder: "other", seconds: 1) }?.code == .conflict)
            try await lease.release(holder: "other")
            #expect(KubernetesLease.state(try #require(try await lease.read().lease)).holder == holder)
            try await lease.release(holder: holder)
            guard case .acquired(_, previous: nil) = try await lease.acquire(holder: "second", seconds: 1) else {
                Issue.record("a released lease is not to be had")
                return
            }
            // Ends after a second of the server's clock, which is told in whole seconds.
            var taken: KubernetesLease.State?
            while taken == nil {
                if case .acquired(_, let previous) = try await lease.acquire(
                    holder: "third", seconds: 60, annotations: ["a": "b"])
                {
                    taken = previous
                    #expect(previous?.holder == "second")
                } else {
                    try await Task.sleep(for: .milliseconds(200))
                }
            }
            let last = try #require(try await lease.read().lease)
            #expect(last.annotations["a"] == "b" && KubernetesLease.state(last).transitions == 2)
            try await lease.release(holder: "third", deletes: true)
            #expect(try await lease.read().lease == nil)
        }
    }

    @Test("What is forbidden is told with the rule that would allow it, and a bad token as such")
    func access() async throws {
        try await TestCluster.run { cluster in
            let (client, namespace) = (cluster.client, cluster.namespace)
            let account = KubernetesObject(
                APIResource.serviceAccounts.groupVersionKind, namespace: namespace, name: "nobody")
            _ = try await client.create(.serviceAccounts, account)
            let answer = try await client.create(
                .serviceAccounts, namespace: namespace, name: "nobody", subresource: "token",
                ["apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": ["expirationSeconds": 600]])
            var configuration = client.configuration
            configuration.clientCertificate = nil
            configuration.clientKey = nil
            configuration.authentication = .token(try #require(answer["status", "token"]?.string))
            let nobody = KubernetesClient(configuration)
            let forbidden = await failure { _ = try await nobody.list(.jobs, namespace: namespace) }
            #expect(forbidden?.code == .forbidden)
            #expect(
                forbidden?.message.hasSuffix(
                    "; grant it by a Role in the namespace \(namespace): apiGroups [\"batch\"], resources [\"jobs\"], "
                        + "verbs [\"list\"]") == true)
            #expect(forbidden?.message.contains("nobody") == true)
            #expect(try await !nobody.reviewAccess("list", .jobs, namespace: namespace).isAllowed)
            let exec = await failure {
                _ = try await nobody.execute(ExecRequest(namespace: namespace, pod: "p", command: ["true"]))
            }
            #expect(exec?.code == .forbidden && exec?.message.contains("pods/exec") == true)
            configuration.authentication = .token("nonsense")
            let stranger = await failure {
                _ = try await KubernetesClient(configuration).list(.pods, namespace: namespace)
            }
            #expect(stranger?.code == .unauthorized)
        }
    }
}
