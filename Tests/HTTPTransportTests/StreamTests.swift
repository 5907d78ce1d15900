import Basics
import Foundation
import HTTPTestServer
import HTTPTransport
import Synchronization
import Testing

@Suite("Streams, certificates, names")
struct StreamTests {
    private static func chunk(_ text: String) -> [UInt8] {
        Array("\(String(text.utf8.count, radix: 16))\r\n\(text)\r\n".utf8)
    }

    private static let head = Array("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".utf8)

    private func failure(_ body: () async throws -> Void) async -> HTTPTransportError? {
        do {
            try await body()
            return nil
        } catch {
            return error as? HTTPTransportError
        }
    }

    @Test("The head is there before the body, and pieces as they come")
    func pieces() async throws {
        let mayGoOn = Monitor(false)
        let server = try ScriptedServer { _ in
            [
                .take { connection in
                    connection.send(Self.head)
                    _ = mayGoOn.wait { $0 ? true : nil }
                    connection.send(Self.chunk("one"))
                    connection.send(Self.chunk("two") + Array("0\r\n\r\n".utf8))
                    _ = connection.receive()
                }
            ]
        }
        let transport = try CurlTransport()
        let stream = try await transport.open(HTTPRequest(.get, server.url), bufferedBytes: 1 << 20)
        #expect(stream.response.status == 200)
        mayGoOn.signal { $0 = true }
        var body: [UInt8] = []
        for try await piece in stream { body += piece }
        #expect(String(decoding: body, as: UTF8.self) == "onetwo")
        #expect(try await stream.next() == nil)
    }

    @Test("A failure comes with its body and without pieces")
    func failedStream() async throws {
        let server = try ScriptedServer { _ in [.answer(410, [], "gone")] }
        let transport = try CurlTransport()
        let stream = try await transport.open(HTTPRequest(.get, server.url), bufferedBytes: 1 << 20)
        #expect(stream.response.status == 410)
        #expect(stream.response.failureBody == Array("gone".utf8))
        #expect(try await stream.next() == nil)
    }

    @Test("A reader that is slow makes the server wait, and loses nothing")
    func backpressure() async throws {
        let sent = Monitor(0)
        let total = 48 << 20
        let server = try ScriptedServer { _ in
            [
                .take { connection in
                    connection.send(Array("HTTP/1.1 200 OK\r\nContent-Length: \(total)\r\n\r\n".utf8))
                    var block = [UInt8](repeating: 0, count: 1 << 20)
                    for number in 0..<48 {
                        block[0] = UInt8(number)
                        connection.send(block)
                        sent.signal { $0 += block.count }
                    }
                }
            ]
        }
        let transport = try CurlTransport()
        let stream = try await transport.open(HTTPRequest(.get, server.url), bufferedBytes: 1 << 20)
        // While nobody reads, the loop goes round often enough to take in everything if it were let.
        let other = try ScriptedServer { _ in [.answer(200)] }
        for _ in 0..<200 { _ = try await transport.perform(HTTPRequest(.get, other.url), maximumBytes: 10) }
        var count = 0
        var numbers = 0
        while let piece = try await stream.next() {
            // What the server has got rid of and we have not read lies in our buffer, libcurl's and the sockets'.
            let ahead = sent.withLock { $0 } - count
            #expect(ahead < 24 << 20, "\(ahead) bytes ahead")
            // Each MiB begins with its number.
            let next = ((count + (1 << 20) - 1) >> 20) << 20
            for place in stride(from: next, to: count + piece.count, by: 1 << 20) {
                #expect(piece[place - count] == UInt8(place >> 20))
                numbers += 1
            }
            count += piece.count
        }
        #expect(count == total && numbers == 48)
    }

    @Test("A stream that is cancelled, or dropped, or whose reader is cancelled, lets go of its connection")
    func cancellation() async throws {
        let ended = Monitor(0)
        let server = try ScriptedServer { _ in
            [
                .take { connection in
                    connection.send(Self.head + Self.chunk("x"))
                    while !connection.receive().isEmpty {}
                    ended.signal { $0 += 1 }
                }
            ]
        }
        let transport = try CurlTransport(CurlTransportConfiguration(maximumConnections: 1))
        var stream: HTTPResponseStream? = try await transport.open(HTTPRequest(.get, server.url), bufferedBytes: 1024)
        _ = try await stream?.next()
        stream?.cancel()
        let cancelled = await failure { _ = try await stream?.next() }
        #expect(cancelled?.code == .cancelled)
        stream = try await transport.open(HTTPRequest(.get, server.url), bufferedBytes: 1024)
        stream = nil
        let last = try await transport.open(HTTPRequest(.get, server.url), bufferedBytes: 1024)
        _ = try await last.next()
        let reader = Task { await failure { _ = try await last.next() } }
        reader.cancel()
        #expect(await reader.value?.code == .cancelled)
        try await ended.outcome(of: "the end of three connections") { $0 == 3 ? () : nil }
    }

    @Test("A broken stream ends with an error, behind all that came")
    func brokenStream() async throws {
        let server = try ScriptedServer { _ in [.send(Self.head + Self.chunk("one")), .close] }
        let transport = try CurlTransport()
        let stream = try await transport.open(HTTPRequest(.get, server.url), bufferedBytes: 1024)
        #expect(try await stream.next() == Array("one".utf8))
        let broken = await failure { _ = try await stream.next() }
        #expect(broken != nil && broken?.code != .cancelled)
    }

    @Test(
        "Certificates in memory are believed, and only they; names count",
        .enabled(if: ServerProcess.find("openssl") != nil))
    func authorities() async throws {
        let server = try await TLSServer.start(names: "DNS:api.example")
        let other = try await TLSServer.start(names: "DNS:api.example")
        let certificate = Array(try Data(contentsOf: URL(fileURLWithPath: server.certificate)))
        let wrong = Array(try Data(contentsOf: URL(fileURLWithPath: other.certificate)))
        let address = "https://127.0.0.1:\(server.process.port)/"
        func status(_ configuration: CurlTransportConfiguration) async throws -> Int {
            let transport = try CurlTransport(configuration)
            return try await transport.perform(HTTPRequest(.get, address), maximumBytes: 1 << 20).response.status
        }
        #expect(try await status(.init(authorities: .pem(certificate), serverName: "api.example")) == 200)
        #expect(try await status(.init(authorities: .anyone)) == 200)
        for configuration: CurlTransportConfiguration in [
            .init(authorities: .pem(certificate)), .init(authorities: .pem(wrong), serverName: "api.example"),
            .init(authorities: .pem(certificate), serverName: "other.example"), .init(serverName: "api.example"),
        ] {
            let refused = await failure { _ = try await status(configuration) }
            #expect(refused?.code == .tls)
        }
    }

    @Test("A client's certificate is shown", .enabled(if: ServerProcess.find("openssl") != nil))
    func identity() async throws {
        let server = try await TLSServer.start(asksClient: true)
        let certificate = Array(try Data(contentsOf: URL(fileURLWithPath: server.certificate)))
        let key = Array(try Data(contentsOf: URL(fileURLWithPath: server.key)))
        let request = HTTPRequest(.get, "https://127.0.0.1:\(server.process.port)/")
        let known = try CurlTransport(
            CurlTransportConfiguration(
                authorities: .pem(certificate), identity: .init(certificate: certificate, key: key)))
        #expect(try await known.perform(request, maximumBytes: 1 << 20).response.status == 200)
        let unknown = try CurlTransport(CurlTransportConfiguration(authorities: .pem(certificate)))
        let refused = await failure { _ = try await unknown.perform(request, maximumBytes: 1 << 20) }
        #expect(refused != nil)
    }

    @Test("A proxy is used whatever the environment says")
    func proxy() async throws {
        let proxy = try ScriptedServer { _ in [.answer(200, [], "by proxy")] }
        let transport = try CurlTransport(CurlTransportConfiguration(proxy: proxy.url))
        let (_, body) = try await transport.perform(HTTPRequest(.get, "http://127.0.0.1:1/x"), maximumBytes: 100)
        #expect(body == Array("by proxy".utf8))
        #expect(proxy.requests.first?.target == "http://127.0.0.1:1/x")
    }
}
