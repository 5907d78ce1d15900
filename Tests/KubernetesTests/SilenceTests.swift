import Basics
import HTTPTestServer
import HTTPTransport
import Testing

@testable import Kubernetes

/// Servers that say nothing for longer than other calls may take.
@Suite("Silence", .timeLimit(.minutes(10)))
struct SilenceTests {
    /// Waits until it is released, sends, and waits for the client to go.
    private static func later(_ isReleased: Monitor<Bool>, _ bytes: [UInt8]) -> ScriptedServer.Step {
        .take { connection in
            _ = isReleased.wait { $0 ? true : nil }
            connection.send(bytes)
            _ = connection.receive()
        }
    }

    private static func answer(_ text: String) -> [UInt8] {
        Array("HTTP/1.1 200 OK\r\nContent-Length: \(text.utf8.count)\r\n\r\n\(text)".utf8)
    }

    /// A client that gives an attempt one second where nothing else is said.
    private static func client(
        _ server: ScriptedServer, attempt seconds: Double = 1, longSilence: Int = 1
    ) -> KubernetesClient {
        KubernetesClient(
            KubernetesConfiguration(server: server.url),
            patience: .init(
                totalSeconds: 0, attemptSeconds: seconds, silenceSeconds: 1, longSilenceSeconds: longSilence))
    }

    @Test("A pod that answers once it has saved and a command that says nothing have the time that they were given")
    func saving() async throws {
        let isReleased = Monitor(false)
        defer { isReleased.signal { $0 = true } }
        let server = try ScriptedServer { request in
            if request.target.contains("/proxy") { return [Self.later(isReleased, Self.answer("saved"))] }
            guard request.target.contains("/exec") else { return [.stall] }
            return [.send(ExecTests.upgrade(request)), Self.later(isReleased, ExecTests.success)]
        }
        let client = Self.client(server)
        async let answered = client.proxy(
            namespace: "n", pod: "p", port: 80, method: .post, path: "/save", seconds: 600)
        async let ran = client.execute(ExecRequest(namespace: "n", pod: "p", command: ["save"], seconds: 600))
        try await server.waitForRequests(2)
        // What began later is over: an attempt's time has passed for both.
        let late = await #expect(throws: KubernetesError.self) {
            try await client.get(.pods, namespace: "n", name: "p")
        }
        #expect(late?.code == .timedOut)
        isReleased.signal { $0 = true }
        #expect(try await answered.body == Array("saved".utf8))
        #expect(try await ran.exitCode == 0)
    }

    @Test("A pod that does not answer in the time it was given is told of, and by how much")
    func neverSaving() async throws {
        let server = try ScriptedServer { _ in [.stall] }
        let late = await #expect(throws: KubernetesError.self) {
            try await Self.client(server).proxy(namespace: "n", pod: "p", port: 80, seconds: 0.2)
        }
        #expect(late?.code == .timedOut && late?.message.contains("no answer within 0.2 s") == true)
    }

    @Test("A list and a creation whose first byte comes late are waited for longer than a single object")
    func slowLists() async throws {
        let isReleased = Monitor(false)
        defer { isReleased.signal { $0 = true } }
        let server = try ScriptedServer { request in
            if request.target.contains("/pods/p") { return [.stall] }
            let text = request.method == "POST" ? ClientTests.pod : #"{"kind":"PodList","metadata":{},"items":[]}"#
            return [Self.later(isReleased, Self.answer(text))]
        }
        let client = Self.client(server, attempt: 600, longSilence: 600)
        let pod = try KubernetesObject(parsing: Array(ClientTests.pod.utf8))
        async let list = client.list(.pods, namespace: "n")
        async let made = client.create(.pods, pod)
        try await server.waitForRequests(2)
        let late = await #expect(throws: KubernetesError.self) {
            try await client.get(.pods, namespace: "n", name: "p")
        }
        #expect(late?.code == .timedOut)
        isReleased.signal { $0 = true }
        #expect(try await list.items.isEmpty)
        #expect(try await made.name == "p")
    }
}
