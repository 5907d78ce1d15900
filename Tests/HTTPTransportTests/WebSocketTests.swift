import Basics
import HTTPTestServer
import Synchronization
import Testing

@testable import HTTPTransport

@Suite("WebSocket")
struct WebSocketTests {
    /// A server's side of a connection: frames that are not masked, masked ones taken apart.
    private struct Peer {
        let connection: ScriptedServer.Connection
        var bytes: [UInt8] = []

        init(_ connection: ScriptedServer.Connection) {
            self.connection = connection
            bytes = connection.early
        }

        func send(_ first: UInt8, _ payload: [UInt8]) {
            let length: [UInt8] =
                payload.count < 126
                ? [UInt8(payload.count)] : [126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
            connection.send([first] + length + payload)
        }

        /// The next frame's first byte and payload; nil at the end.
        mutating func receive() -> (UInt8, [UInt8])? {
            func fill(_ count: Int, _ bytes: inout [UInt8]) -> Bool {
                while bytes.count < count {
                    let more = connection.receive()
                    if more.isEmpty { return false }
                    bytes += more
                }
                return true
            }
            guard fill(2, &bytes), bytes[1] & 0x80 != 0 else { return nil }
            var length = Int(bytes[1] & 0x7f)
            var head = 2
            if length >= 126 {
                head += length == 126 ? 2 : 8
                guard fill(head, &bytes) else { return nil }
                length = bytes[2..<head].reduce(0) { $0 << 8 | Int($1) }
            }
            guard fill(head + 4 + length, &bytes) else { return nil }
            let mask = Array(bytes[head..<head + 4])
            let payload = bytes[(head + 4)..<(head + 4 + length)].enumerated().map { $1 ^ mask[$0 & 3] }
            let first = bytes[0]
            bytes.removeFirst(head + 4 + length)
            return (first, payload)
        }
    }

    /// The example of RFC 6455, section 1.3, and what a server computes for any other key.
    private static func upgrade(_ request: ScriptedServer.Request, _ chosen: String = "v4.test") -> [UInt8] {
        let handshake = WebSocketHandshake(
            HTTPRequest(.get, "http://x/"), protocols: [], key: request.headers["sec-websocket-key"] ?? "")
        return Array(
            ("HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
                + "Sec-WebSocket-Accept: \(handshake?.expectedProof ?? "")\r\nSec-WebSocket-Protocol: \(chosen)\r\n\r\n")
                .utf8)
    }

    private func open(_ server: ScriptedServer, _ path: String = "/exec?a=b") async throws -> WebSocket.Opening {
        try await WebSocket.open(
            HTTPRequest(.get, server.url + path, headers: HTTPHeaders([("Authorization", "Bearer t")])),
            protocols: ["v4.test", "v3.test"], configuration: CurlTransportConfiguration())
    }

    private func socket(_ server: ScriptedServer) async throws -> WebSocket {
        guard case .open(let socket) = try await open(server) else { throw HTTPTransportError(.failed, "refused") }
        return socket
    }

    @Test("SHA-1 and the proof are what the standards' examples say")
    func proof() {
        #expect(Hex.encode(SHA1.digest(Array("abc".utf8))) == "a9993e364706816aba3e25717850c26c9cd0d89d")
        #expect(
            Hex.encode(SHA1.digest(Array("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".utf8)))
                == "84983e441c3bd26ebaae4aa1f95129e5e54670f1")
        let handshake = WebSocketHandshake(
            HTTPRequest(.get, "http://x/"), protocols: [], key: "dGhlIHNhbXBsZSBub25jZQ==")
        #expect(handshake?.expectedProof == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    }

    @Test(
        "Messages go both ways, split ones are joined, pings are answered", arguments: [0, 125, 126, 70_000, 600_000])
    func echo(size: Int) async throws {
        let server = try ScriptedServer { request in
            [
                .send(Self.upgrade(request)),
                .take { connection in
                    var peer = Peer(connection)
                    peer.send(0x89, [1, 2])
                    // The message may be on its way before the ping is read.
                    guard let one = peer.receive(), let other = peer.receive() else { return }
                    let (pong, message) = one.0 == 0x8a ? (one, other) : (other, one)
                    guard pong == (0x8a, [1, 2]), message.0 == 0x82 else { return }
                    let payload = message.1
                    // In pieces with a ping between them.
                    peer.send(0x02, Array(payload.prefix(100)))
                    peer.send(0x89, [])
                    for start in stride(from: 100, to: payload.count, by: 1000) {
                        peer.send(0x00, Array(payload[start..<min(start + 1000, payload.count)]))
                    }
                    peer.send(0x80, [])
                    peer.send(0x88, [0x03, 0xe8] + Array("bye".utf8))
                    while peer.receive() != nil {}
                },
            ]
        }
        let socket = try await socket(server)
        #expect(socket.chosenProtocol == "v4.test")
        let payload = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let sending = Task { try await socket.send(payload) }
        #expect(try await socket.receive() == .binary(payload))
        try await sending.value
        #expect(try await socket.receive() == .close(code: 1000, reason: "bye"))
        #expect(server.requests[0].target == "/exec?a=b")
        #expect(server.requests[0].headers["authorization"] == "Bearer t")
        #expect(server.requests[0].headers["sec-websocket-protocol"] == "v4.test, v3.test")
    }

    @Test("A refusal comes with its body")
    func refusal() async throws {
        let server = try ScriptedServer { _ in [.answer(403, [("Content-Type", "application/json")], "{\"code\":403}")]
        }
        guard case .refused(let response) = try await open(server) else {
            Issue.record("not refused")
            return
        }
        #expect(response.status == 403)
        #expect(response.failureBody == Array("{\"code\":403}".utf8))
    }

    @Test("An answer to another handshake, with another protocol or none at all is refused", arguments: 0..<5)
    func wrongAnswers(which: Int) async throws {
        let server = try ScriptedServer { request in
            let good = String(decoding: Self.upgrade(request), as: UTF8.self)
            let bad =
                switch which {
                case 0: good.replacing("v4.test", with: "v9.test")
                case 1: good.replacing("Accept: ", with: "Accept: x")
                case 2: good.replacing("upgrade: WebSocket", with: "upgrade: h2c")
                case 3: good.replacing("\r\n\r\n", with: "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
                default: "HTTP/1.1 101"
                }
            return [.send(Array(bad.utf8)), .close]
        }
        await #expect(throws: HTTPTransportError.self) { _ = try await open(server) }
    }

    @Test("A peer that breaks off says so, and one that breaks the rules is cut off")
    func badPeers() async throws {
        let server = try ScriptedServer { request in
            [
                .send(Self.upgrade(request)),
                .take { connection in
                    if request.number == 1 { connection.send([0xf2, 0]) }
                },
            ]
        }
        #expect(try await socket(server).receive() == .close(code: 1006, reason: ""))
        let socket = try await socket(server)
        await #expect(throws: HTTPTransportError.self) { _ = try await socket.receive() }
        await #expect(throws: HTTPTransportError.self) { try await socket.send([1]) }
    }

    @Test("A cancelled task waits no longer, and the connection is closed")
    func cancellation() async throws {
        let ended = Monitor(false)
        let server = try ScriptedServer { request in
            [
                .send(Self.upgrade(request)),
                .take { connection in
                    while !connection.receive().isEmpty {}
                    ended.signal { $0 = true }
                },
            ]
        }
        let socket = try await socket(server)
        let task = Task { try await socket.receive() }
        task.cancel()
        await #expect(throws: HTTPTransportError.self) { _ = try await task.value }
        try await ended.outcome(of: "the connection's end") { $0 ? () : nil }
    }

    @Test("No connection is told as such")
    func unreachable() async throws {
        let error = await #expect(throws: HTTPTransportError.self) {
            _ = try await WebSocket.open(
                HTTPRequest(.get, "http://127.0.0.1:1/"), protocols: [], configuration: CurlTransportConfiguration())
        }
        #expect(error?.code == .unreachable)
    }

    @Test("Random bytes are taken apart or refused, however they are cut", arguments: 0..<200)
    func fuzz(seed: UInt64) throws {
        var state = seed
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        var bytes: [UInt8] = []
        for _ in 0..<random(12) {
            let first = [0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8a, 0x09, 0xc1, 0x83][random(12)]
            let payload = (0..<[0, 1, 2, 5, 125, 126, 300][random(7)]).map { _ in UInt8(random(128)) }
            bytes.append(UInt8(first))
            bytes +=
                payload.count < 126
                ? [UInt8(payload.count)] : [126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
            bytes += payload
        }
        if random(3) == 0, !bytes.isEmpty { bytes[random(bytes.count)] = UInt8(random(256)) }
        func events(_ cut: () -> Int) -> [String] {
            var decoder = WebSocketDecoder(maximumMessageBytes: 1000)
            var result: [String] = []
            var start = 0
            do throws(WebSocketDecoder.Violation) {
                while start < bytes.count {
                    let end = min(bytes.count, start + cut())
                    decoder.append(bytes[start..<end])
                    start = end
                    while let event = try decoder.next() { result.append("\(event)") }
                }
            } catch {
                result.append("\(error)")
            }
            return result
        }
        #expect(events { bytes.count } == events { 1 })
        #expect(events { bytes.count } == events { 1 + random(9) })
    }
}
