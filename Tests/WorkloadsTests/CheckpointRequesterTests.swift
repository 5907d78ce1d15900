import Basics
import HTTPTestServer
import Kubernetes
import KubernetesTesting
import Testing

@testable import HTTPTransport
@testable import Workloads

/// Which pods are asked for a checkpoint, and how.
@Suite("Asking for a checkpoint", .timeLimit(.minutes(5)))
struct CheckpointRequesterTests {
    private static func pod(
        _ name: String, _ labels: [String: String] = [:], phase: String = "Running", ending: Bool = false,
        spec: Kubernetes.JSONValue = ["containers": [["name": "c"]]]
    ) throws -> KubernetesObject {
        var pod = try KubernetesObject([
            "apiVersion": "v1", "kind": "Pod", "metadata": ["name": .string(name), "namespace": "ml"], "spec": spec,
            "status": ["phase": .string(phase)],
        ])
        for (key, value) in labels { pod.setLabel(key, value) }
        if ending { try pod.set("2026-01-01T00:00:00Z", at: ["metadata", "deletionTimestamp"]) }
        return pod
    }

    private static func policy(_ ranks: QuiescePolicy.Ranks) -> QuiescePolicy {
        var policy = QuiescePolicy()
        policy.ranks = ranks
        return policy
    }

    /// Asks pods by HTTP, and answers who was asked and what goes into the record.
    private static func ask(
        _ pods: [KubernetesObject], _ ranks: QuiescePolicy.Ranks
    ) async throws -> (asked: [String], record: [String]) {
        let cluster = try FakeCluster()
        let requester = CheckpointRequester(client: cluster.client, policy: policy(ranks))
        let answers = try await requester.ask(
            .http(method: "POST", port: 80, path: "/save"), pods: pods, of: "Job ml/w", seconds: 60)
        let asked = cluster.asked.map { String($0.split(separator: "/")[6].split(separator: "%")[0]) }
        return (asked.sorted(), answers.map { "\($0.pod) \($0.text)" })
    }

    @Test("Of several Jobs or groups the one with the lowest index has the first rank, whatever its pods are called")
    func groups() async throws {
        for (group, index) in [
            ("jobset.sigs.k8s.io/job-global-index", "batch.kubernetes.io/job-completion-index"),
            ("leaderworkerset.sigs.k8s.io/group-index", "leaderworkerset.sigs.k8s.io/worker-index"),
        ] {
            let pods = [
                try Self.pod("w-b-0-0", [group: "1", index: "0"]),
                try Self.pod("w-trainer-0-1", [group: "0", index: "1"]),
                try Self.pod("w-trainer-0-0", [group: "0", index: "0"]),
            ]
            #expect(try await Self.ask(pods, .first).asked == ["w-trainer-0-0"])
        }
    }

    @Test("Ranks that could not be asked are in the record; those that are done, or were replaced, are not missing")
    func missing() async throws {
        let index = "batch.kubernetes.io/job-completion-index"
        let pods = [
            try Self.pod("w-0-a", [index: "0"]), try Self.pod("w-0-b", [index: "0"], ending: true),
            try Self.pod("w-1", [index: "1"], phase: "Pending"), try Self.pod("w-2", [index: "2"], phase: "Succeeded"),
            try Self.pod("w-3", [index: "3"], phase: "Failed"), try Self.pod("w-4", [index: "4"], ending: true),
        ]
        let (asked, record) = try await Self.ask(pods, .all)
        #expect(asked == ["w-0-a"])
        #expect(record == ["w-0-a 200", "w-1 not asked: it is Pending", "w-4 not asked: it is ending"])
    }

    @Test("When the first rank does not run, no other is asked in its place; without ranks any pod is the first")
    func firstMissing() async throws {
        let index = "apps.kubernetes.io/pod-index"
        let pods = [
            try Self.pod("w-0", [index: "0"], phase: "Pending"), try Self.pod("w-1", [index: "1"]),
        ]
        let error = await #expect(throws: QuiesceError.self) { try await Self.ask(pods, .first) }
        #expect(error?.code == .checkpoint && error?.message.contains("its first rank, Pod ml/w-0, is Pending") == true)
        let plain = [try Self.pod("w-a", phase: "Pending"), try Self.pod("w-b")]
        #expect(try await Self.ask(plain, .first).record == ["w-b 200"])
        // Another role's index is another rank.
        let type = "training.kubeflow.org/replica-type"
        let number = "training.kubeflow.org/replica-index"
        let mixed = [
            try Self.pod("w-ps-0", [type: "ps", number: "0"], phase: "Pending"),
            try Self.pod("w-worker-0", [type: "worker", number: "0"]),
        ]
        #expect(try await Self.ask(mixed, .all).record == ["w-ps-0 not asked: it is Pending", "w-worker-0 200"])
    }

    // MARK: Signals

    /// A server whose containers answer a command as the test says: a `Status`, with what goes to the error output first.
    private static func server(
        _ answer: @escaping @Sendable (_ command: String) -> (status: String, error: String)
    ) throws -> ScriptedServer {
        try ScriptedServer { request in
            guard let key = request.headers["sec-websocket-key"], request.target.contains("/exec?") else {
                return [.answer(404)]
            }
            let proof =
                WebSocketHandshake(HTTPRequest(.get, "http://x/"), protocols: [], key: key)?.expectedProof ?? ""
            let head =
                "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: \(proof)\r\n"
                + "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n"
            func frame(_ channel: UInt8, _ text: String) -> [UInt8] {
                let count = text.utf8.count + 1
                return [0x82, 126, UInt8(count >> 8), UInt8(count & 255), channel] + Array(text.utf8)
            }
            let command = request.target.contains("command=sh") ? "sh" : "kill"
            let (status, error) = answer(command)
            return [.send(Array(head.utf8) + frame(2, error) + frame(3, status)), .stall]
        }
    }

    private static let success = #"{"status":"Success"}"#

    private static func exit(_ code: Int) -> String {
        #"{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"\#(code)"}]}}"#
    }

    private static func signal(_ server: ScriptedServer, _ pod: KubernetesObject) async throws -> [String] {
        let client = KubernetesClient(KubernetesConfiguration(server: server.url), patience: .init(totalSeconds: 0))
        let answers = try await CheckpointRequester(client: client, policy: policy(.all))
            .ask(.signal("SIGUSR1"), pods: [pod], of: "Job ml/w", seconds: 60)
        return answers.map(\.text)
    }

    private static let crun = "crun: executable file `kill` not found in $PATH: No such file or directory"

    @Test(
        "A container without `kill` is asked through its shell, however its runtime says that there is none",
        arguments: [
            (#"{"status":"Failure","code":500,"message":"\#(crun)"}"#, ""), (exit(127), ""), (exit(126), ""),
            (exit(255), crun),
        ])
    func shell(status: String, words: String) async throws {
        let server = try Self.server { $0 == "sh" ? (Self.success, "") : (status, words) }
        #expect(try await Self.signal(server, Self.pod("p")) == ["exit 0"])
        #expect(server.requests.count == 2)
        let bare = try Self.server { _ in (status, words) }
        let error = await #expect(throws: QuiesceError.self) { try await Self.signal(bare, Self.pod("p")) }
        #expect(error?.code == .checkpoint && error?.message.contains("neither `kill` nor `sh`") == true)
    }

    @Test("A `kill` that fails is not tried again")
    func failingKill() async throws {
        let server = try Self.server { _ in (Self.exit(1), "kill: not permitted") }
        let error = await #expect(throws: QuiesceError.self) { try await Self.signal(server, Self.pod("p")) }
        #expect(error?.message.contains("`kill` failed with 1: kill: not permitted") == true)
        #expect(server.requests.count == 1)
    }

    @Test(
        "No signal goes to process 1 of the node or of a pod whose containers share theirs, and it is said what to use",
        arguments: ["hostPID", "shareProcessNamespace"])
    func foreignInit(field: String) async throws {
        let server = try Self.server { _ in (Self.success, "") }
        let spec = try Kubernetes.JSONValue(
            parsing: #"{"\#(field)":true,"containers":[{"name":"c","securityContext":{"privileged":true}}]}"#)
        let pod = try Self.pod("p", spec: spec)
        let error = await #expect(throws: QuiesceError.self) { try await Self.signal(server, pod) }
        #expect(error?.code == .checkpoint && error?.message.contains(field) == true)
        #expect(error?.message.contains("becalm.io/checkpoint-command") == true)
        #expect(server.requests.isEmpty)
    }
}
