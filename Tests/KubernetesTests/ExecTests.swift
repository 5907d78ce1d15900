import Basics
import HTTPTestServer
import HTTPTransport
import Synchronization
import Testing

@testable import Kubernetes

/// Exec against a server that plays what a real one does seldom.
@Suite("Exec", .timeLimit(.minutes(10)))
struct ExecTests {
    /// A server's frame, not masked.
    static func frame(_ payload: [UInt8], _ first: UInt8 = 0x82) -> [UInt8] {
        [first]
            + (payload.count < 126
                ? [UInt8(payload.count)] : [126, UInt8(payload.count >> 8), UInt8(payload.count & 255)])
            + payload
    }

    /// The upgrade to the protocol at `index` of those offered.
    static func upgrade(_ request: ScriptedServer.Request, _ index: Int = 0) -> [UInt8] {
        let offered = (request.headers["sec-websocket-protocol"] ?? "").split(separator: ",").map {
            $0.filter { $0 != " " }
        }
        let proof = WebSocketProof.accept(request.headers["sec-websocket-key"] ?? "")
        return Array(
            ("HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: \(proof)\r\n"
                + "Sec-WebSocket-Protocol: \(offered[min(index, offered.count - 1)])\r\n\r\n").utf8)
    }

    static let success = frame([3] + Array(#"{"metadata":{},"status":"Success"}"#.utf8))

    private static func exit(_ code: Int) -> [UInt8] {
        let status =
            #"{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"\#(code)"}]}}"#
        return frame([3] + Array(status.utf8))
    }

    private func run(
        _ server: ScriptedServer, input: [UInt8]? = nil, seconds: Double = 60
    ) async throws -> ExecResult {
        try await ClientTests.client(server).execute(
            ExecRequest(
                namespace: "n", pod: "p", container: "c", command: ["sh", "-c", "a b&"], input: input, seconds: seconds)
        )
    }

    private func failure(_ body: () async throws -> Void) async -> KubernetesError? {
        do {
            try await body()
            return nil
        } catch {
            return error as? KubernetesError
        }
    }

    @Test("Output, error output and exit code come apart, in whatever frames")
    func channels() async throws {
        let server = try ScriptedServer { request in
            let frames =
                Self.frame([1]) + Self.frame([2]) + Self.frame([1] + Array("one ".utf8))
                + Self.frame([2] + Array("bad".utf8), 0x02) + Self.frame([], 0x89) + Self.frame(Array("ly".utf8), 0x80)
                + Self.frame([1] + Array("two".utf8)) + Self.frame([7, 7]) + Self.exit(42)
            return [.send(Self.upgrade(request) + frames), .stall]
        }
        let result = try await run(server)
        #expect(
            result
                == ExecResult(
                    exitCode: 42, output: Array("one two".utf8), errorOutput: Array("badly".utf8), isTruncated: false))
        #expect(
            server.requests[0].target
                == "/api/v1/namespaces/n/pods/p/exec?container=c&command=sh&command=-c&command=a%20b%26&stdout=true&stderr=true"
        )
        #expect(server.requests[0].headers["sec-websocket-protocol"] == "v5.channel.k8s.io, v4.channel.k8s.io")
    }

    @Test("A server that refuses the newer protocol is asked for the older one")
    func fallback() async throws {
        let server = try ScriptedServer { request in
            request.number == 0 ? [.answer(403, [], "")] : [.send(Self.upgrade(request) + Self.success), .stall]
        }
        #expect(try await run(server).exitCode == 0)
        #expect(server.requests.map { $0.headers["sec-websocket-protocol"] ?? "" }.last == "v4.channel.k8s.io")
    }

    @Test("Input is sent whole, and its end where the protocol can say it", arguments: [0, 1])
    func input(version: Int) async throws {
        let input = (0..<100_000).map { UInt8(truncatingIfNeeded: $0) }
        let got = Monitor<[[UInt8]]>([])
        let server = try ScriptedServer { request in
            [
                .send(Self.upgrade(request, version)),
                .take { connection in
                    var bytes = connection.early
                    var total = 0
                    while total < input.count || (version == 0 && got.withLock { $0.last } != [255, 0]) {
                        while let (payload, end) = Self.unmask(bytes) {
                            bytes.removeFirst(end)
                            got.withLock { $0.append(payload) }
                            if payload.first == 0 { total += payload.count - 1 }
                        }
                        if total >= input.count, version == 1 || got.withLock({ $0.last }) == [255, 0] { break }
                        let more = connection.receive()
                        if more.isEmpty { return }
                        bytes += more
                    }
                    connection.send(Self.success)
                    _ = connection.receive()
                },
            ]
        }
        #expect(try await run(server, input: input).exitCode == 0)
        let messages = got.withLock { $0 }
        #expect(messages.filter { $0.first == 0 }.flatMap { $0.dropFirst() } == input)
        #expect(messages.contains([255, 0]) == (version == 0))
    }

    /// The payload of the first frame in `bytes` and where it ends.
    private static func unmask(_ bytes: [UInt8]) -> ([UInt8], Int)? {
        guard bytes.count >= 2 else { return nil }
        var length = Int(bytes[1] & 0x7f)
        var head = 2
        if length == 126 {
            guard bytes.count >= 4 else { return nil }
            length = Int(bytes[2]) << 8 | Int(bytes[3])
            head = 4
        }
        guard bytes.count >= head + 4 + length else { return nil }
        let payload = (0..<length).map { bytes[head + 4 + $0] ^ bytes[head + $0 & 3] }
        return (payload, head + 4 + length)
    }

    @Test("A command that cannot be run is told with what is missing")
    func missingProgram() async throws {
        let status =
            #"{"status":"Failure","reason":"InternalError","code":500,"message":"exec: \"sh\": executable file not found in $PATH"}"#
        let server = try ScriptedServer { request in
            [.send(Self.upgrade(request) + Self.frame([3] + Array(status.utf8))), .stall]
        }
        let error = await failure { _ = try await run(server) }
        #expect(error?.code == .failed && error?.isAmbiguous == false && error?.status == 500)
        #expect(
            error?.message.hasPrefix("cannot run sh in Pod n/p (c): exec: \"sh\": executable file not found") == true)
    }

    @Test(
        "Every runtime's words for a program that is not there are understood, and others are not taken for them",
        arguments: [
            (#"exec: "kill": executable file not found in $PATH"#, true),
            ("crun: executable file `kill` not found in $PATH: No such file or directory", true),
            (#"error finding executable "kill" in PATH [/bin]: no such file or directory"#, true),
            ("OCI runtime exec failed: cannot exec in a stopped container", false), ("connection reset", false),
        ])
    func missingProgramWords(words: String, isMissing: Bool) async throws {
        let message = words.replacing("\"", with: "\\\"")
        let status = #"{"status":"Failure","reason":"InternalError","code":500,"message":"\#(message)"}"#
        let server = try ScriptedServer { request in
            [.send(Self.upgrade(request) + Self.frame([3] + Array(status.utf8))), .stall]
        }
        let error = await failure { _ = try await run(server) }
        #expect(error?.code == .failed && error?.isAmbiguous == !isMissing)
        func result(_ code: Int) -> ExecResult {
            ExecResult(exitCode: code, output: [], errorOutput: Array(words.utf8), isTruncated: false)
        }
        #expect(result(255).isProgramMissing == isMissing)
        #expect(result(126).isProgramMissing && result(127).isProgramMissing)
        #expect(!result(1).isProgramMissing && !result(0).isProgramMissing)
    }

    @Test("A connection that ends before the command is ambiguous, and nothing is run twice")
    func broken() async throws {
        let server = try ScriptedServer { request in [.send(Self.upgrade(request)), .close] }
        let error = await failure { _ = try await run(server) }
        #expect(error?.code == .unreachable && error?.isAmbiguous == true && server.requests.count == 1)
    }

    @Test("A command that takes too long is given up")
    func deadline() async throws {
        let server = try ScriptedServer { request in [.send(Self.upgrade(request)), .stall] }
        let error = await failure { _ = try await run(server, seconds: 0.3) }
        #expect(error?.code == .timedOut && error?.isAmbiguous == true)
        let silent = try ScriptedServer { _ in [.stall] }
        #expect(await failure { _ = try await run(silent, seconds: 0.3) }?.code == .timedOut)
    }

    @Test("Who may not is told so, and a server that is busy is waited for")
    func refusals() async throws {
        let server = try ScriptedServer { request in
            switch request.number {
            case 0: [ClientTests.status(503, "ServiceUnavailable")]
            case 1: [.send(Self.upgrade(request) + Self.success), .stall]
            default: [ClientTests.status(403, "Forbidden", "pods/exec is forbidden")]
            }
        }
        #expect(try await run(server).exitCode == 0)
        let error = await failure { _ = try await run(server) }
        #expect(error?.code == .forbidden && error?.message.contains("pods/exec") == true && server.requests.count == 3)
    }

    @Test("What receives the output ends the command's run by throwing")
    func receiver() async throws {
        struct Full: Error {}
        let server = try ScriptedServer { request in
            [.send(Self.upgrade(request) + Self.frame([1] + Array("x".utf8))), .stall]
        }
        await #expect(throws: Full.self) {
            _ = try await ClientTests.client(server).execute(
                ExecRequest(namespace: "n", pod: "p", command: ["cat"]), receive: { _, _ in throw Full() })
        }
    }
}
