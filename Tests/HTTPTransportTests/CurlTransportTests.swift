import Basics
import Foundation
import HTTPTestServer
import HTTPTransport
import Testing

@Suite("HTTP over libcurl", .timeLimit(.minutes(5)))
struct CurlTransportTests {
    private static func pattern(_ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 2) }
    }

    private func failure(_ body: () async throws -> Void) async -> HTTPTransportError? {
        do {
            try await body()
            return nil
        } catch {
            return error as? HTTPTransportError
        }
    }

    @Test("A body in pieces arrives as one, and an answer lies behind what the buffer holds")
    func bodiesBothWays() async throws {
        let server = try ScriptedServer { request in
            [.answer(200, [("X-Length", String(request.body.count))], request.method + request.target)]
        }
        let transport = try CurlTransport()
        let bytes = Self.pattern(5 << 20)
        let whole = Buffer(bytes)
        let body = HTTPBody(pieces: [
            .init(whole, 0..<1), .init(whole, 1..<1), .init(whole, 1..<(3 << 20)), .init(whole, (3 << 20)..<(5 << 20)),
        ])
        var request = HTTPRequest(.put, "\(server.url)/a/../b?x=%20", body: body)
        request.headers.add("X-Empty", "")
        request.headers.add("X-Twice", "1")
        let buffer = Buffer([1, 2])
        let response = try await transport.perform(request, into: buffer, maximumBytes: 100)
        #expect(response.status == 200)
        #expect(response.headers["x-length"] == String(bytes.count))
        #expect(buffer.array() == [1, 2] + Array("PUT/a/../b?x=%20".utf8))
        let seen = server.requests[0]
        #expect(seen.body == bytes)
        #expect(seen.headers["expect"] == nil)
        #expect(seen.headers["x-empty"] == "")
        #expect(seen.headers["content-length"] == String(bytes.count))
    }

    @Test("Methods without a body, and an empty body", arguments: [HTTPMethod.get, .head, .delete, .put, .post])
    func smallMethods(method: HTTPMethod) async throws {
        let server = try ScriptedServer { request in
            request.method == "HEAD"
                ? [.send(Array("HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n".utf8))] : [.answer(204)]
        }
        let transport = try CurlTransport()
        let body = method == .put || method == .post ? HTTPBody([UInt8]()) : nil
        for _ in 0..<3 {
            let (response, bytes) = try await transport.perform(
                HTTPRequest(method, server.url + "/", body: body), maximumBytes: 0)
            #expect(response.isSuccess)
            #expect(bytes.isEmpty)
        }
        let requests = server.requests
        #expect(requests.map(\.method) == [String](repeating: method.rawValue, count: 3))
        #expect(requests.allSatisfy { $0.connection == 0 }, "one connection serves all")
        #expect(requests.allSatisfy { $0.headers["content-length"] == (body == nil ? nil : "0") })
    }

    @Test("The body of a failure is kept apart, its beginning")
    func failureBody() async throws {
        let server = try ScriptedServer { request in
            [
                .answer(
                    request.target == "/small" ? 404 : 500, [],
                    String(repeating: "e", count: request.target == "/small" ? 10 : 200_000))
            ]
        }
        let transport = try CurlTransport()
        let small = try await transport.perform(HTTPRequest(.get, server.url + "/small"), maximumBytes: 0)
        #expect(small.response.failureBody == [UInt8](repeating: 0x65, count: 10))
        #expect(small.body.isEmpty)
        let large = try await transport.perform(HTTPRequest(.get, server.url + "/large"), maximumBytes: 0)
        #expect(large.response.failureBody.count == 64 << 10)
    }

    @Test("An answer that is too large is refused, announced or not", arguments: [true, false])
    func tooLarge(announced: Bool) async throws {
        let text = String(repeating: "x", count: 100_000)
        let server = try ScriptedServer { _ in
            announced
                ? [.answer(200, [], text)]
                : [.send(Array("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\(text)".utf8)), .close]
        }
        let transport = try CurlTransport()
        let buffer = Buffer([7])
        let error = await failure {
            _ = try await transport.perform(HTTPRequest(.get, server.url), into: buffer, maximumBytes: 99_999)
        }
        #expect(error?.code == .tooLarge)
        #expect(buffer.array() == [7], "a failure leaves the buffer as it was")
        #expect(buffer.capacity <= 100_000)
        _ = try await transport.perform(HTTPRequest(.get, server.url), into: buffer, maximumBytes: 100_000)
        #expect(buffer.count == 100_001)
    }

    @Test(
        "Of a whole sent in spite of a range only the range is kept",
        arguments: [0..<10, 5..<5000, 99_990..<100_000, 99_990..<200_000] as [Range<UInt64>])
    func cutsWhole(window: Range<UInt64>) async throws {
        let bytes = (0..<100_000).map { Character(UnicodeScalar(UInt8(0x61 + $0 * 7 % 26))) }
        let server = try ScriptedServer { _ in [.answer(200, [], String(bytes))] }
        let transport = try CurlTransport()
        var request = HTTPRequest(.get, server.url)
        request.window = window
        let (response, body) = try await transport.perform(request, maximumBytes: 200_000)
        let whole = Array(String(bytes).utf8)
        let expected =
            window.count >= whole.count
            ? whole : Array(whole[Int(window.lowerBound)..<min(Int(window.upperBound), whole.count)])
        #expect(body == expected || (!response.isCut && body == whole))
        #expect(response.isCut == (window.upperBound - window.lowerBound < 100_000))
    }

    @Test("A stream ends when its receiver says so")
    func stream() async throws {
        let server = try ScriptedServer { _ in
            [.send(Array("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcde".utf8)), .stall]
        }
        let transport = try CurlTransport()
        let seen = Monitor<[UInt8]>([])
        let response = try await transport.stream(HTTPRequest(.get, server.url)) { bytes in
            seen.withLock { seen in
                seen += Array(bytes)
                return seen.count < 5
            }
        }
        #expect(response.bodyCount == 5)
        #expect(seen.withLock { $0 } == Array("abcde".utf8))
    }

    @Test("A stalled answer times out; a change may have happened")
    func stall() async throws {
        let server = try ScriptedServer { _ in [.stall] }
        let transport = try CurlTransport(CurlTransportConfiguration(stallSeconds: 1))
        let read = await failure { _ = try await transport.perform(HTTPRequest(.get, server.url), maximumBytes: 1) }
        #expect(read?.code == .timedOut)
        #expect(read?.isAmbiguous == false)
        let write = await failure {
            _ = try await transport.perform(HTTPRequest(.put, server.url, body: HTTPBody([1])), maximumBytes: 1)
        }
        #expect(write?.code == .timedOut)
        #expect(write?.isAmbiguous == true)
    }

    @Test("A limit on the whole request holds")
    func totalLimit() async throws {
        let server = try ScriptedServer { _ in [.stall] }
        let transport = try CurlTransport()
        var request = HTTPRequest(.get, server.url)
        request.totalMilliseconds = 100
        let error = await failure { _ = try await transport.perform(request, maximumBytes: 1) }
        #expect(error?.code == .timedOut)
    }

    @Test(
        "A connection that breaks in the answer is an interruption",
        arguments: [
            "", "HTTP/1.1 200 OK\r\nContent-Len", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        ])
    func brokenAnswer(text: String) async throws {
        let server = try ScriptedServer { _ in [.send(Array(text.utf8)), .close] }
        let transport = try CurlTransport()
        let buffer = Buffer(capacity: 0)
        let error = await failure {
            _ = try await transport.perform(
                HTTPRequest(.put, server.url, body: HTTPBody([1])), into: buffer, maximumBytes: 100)
        }
        #expect(error?.code == .interrupted)
        #expect(error?.isAmbiguous == true)
        #expect(buffer.count == 0)
    }

    @Test("What must not be sent twice is not, when a kept connection turns out dead", arguments: [0, 1, 100_000])
    func noSilentRepeat(bodySize: Int) async throws {
        let server = try ScriptedServer { request in request.target == "/first" ? [.answer(200)] : [.close] }
        let transport = try CurlTransport()
        _ = try await transport.perform(HTTPRequest(.get, server.url + "/first"), maximumBytes: 1)
        var request = HTTPRequest(.put, server.url + "/second", body: HTTPBody([UInt8](repeating: 1, count: bodySize)))
        request.isReplayable = false
        let error = await failure { _ = try await transport.perform(request, maximumBytes: 1) }
        #expect(error?.code == .interrupted)
        #expect(error?.isAmbiguous == true)
        #expect(server.requests.map(\.target) == ["/first", "/second"])
    }

    @Test("What may be sent twice is, on a new connection")
    func silentRepeat() async throws {
        let server = try ScriptedServer { request in request.number == 1 ? [.close] : [.answer(200)] }
        let transport = try CurlTransport()
        _ = try await transport.perform(HTTPRequest(.get, server.url), maximumBytes: 1)
        let body = Self.pattern(100_000)
        _ = try await transport.perform(HTTPRequest(.put, server.url, body: HTTPBody(body)), maximumBytes: 1)
        #expect(server.requests.map(\.body.count) == [0, 100_000, 100_000])
        #expect(server.requests[2].body == body)
    }

    @Test("A server that refuses early spares the body")
    func expectContinue() async throws {
        let server = try ScriptedServer(early: { _ in [.answer(412, [("Connection", "close")]), .close] }) { _ in
            [.answer(200)]
        }
        let transport = try CurlTransport()
        var request = HTTPRequest(.put, server.url, body: HTTPBody(Self.pattern(2 << 20)))
        request.expectsContinue = true
        let (response, _) = try await transport.perform(request, maximumBytes: 1)
        #expect(response.status == 412)
        #expect(server.requests[0].headers["expect"] == "100-continue")
        let willing = try ScriptedServer { _ in [.answer(200)] }
        request.url = willing.url
        _ = try await transport.perform(request, maximumBytes: 1)
        #expect(willing.requests[0].body.count == 2 << 20)
    }

    @Test("No connection is no ambiguity")
    func unreachable() async throws {
        let port = try ScriptedServer { _ in [.close] }.port
        let transport = try CurlTransport()
        let refused = await failure {
            _ = try await transport.perform(
                HTTPRequest(.put, "http://127.0.0.1:\(port)/", body: HTTPBody([1])), maximumBytes: 1)
        }
        #expect(refused?.code == .unreachable)
        #expect(refused?.isAmbiguous == false)
        let nameless = await failure {
            _ = try await transport.perform(HTTPRequest(.get, "http://no-such-host.invalid/"), maximumBytes: 1)
        }
        #expect(nameless?.code == .unresolved)
    }

    @Test("A name that is not known fails so each time, and what comes after is none the worse")
    func unknownNames() async throws {
        let server = try ScriptedServer { _ in [.answer(200)] }
        let transport = try CurlTransport(CurlTransportConfiguration(maximumConnections: 1))
        for _ in 0..<3 {
            let error = await failure {
                _ = try await transport.perform(HTTPRequest(.get, "http://no-such-host.invalid/"), maximumBytes: 1)
            }
            #expect(error?.code == .unresolved, "\(String(describing: error))")
        }
        #expect(try await transport.perform(HTTPRequest(.get, server.url), maximumBytes: 1).response.status == 200)
    }

    @Test("An answer that is no HTTP")
    func noHTTP() async throws {
        let server = try ScriptedServer { _ in [.send(Array("SSH-2.0-x\r\n".utf8)), .close] }
        let transport = try CurlTransport()
        let plain = await failure { _ = try await transport.perform(HTTPRequest(.get, server.url), maximumBytes: 100) }
        #expect(plain?.code == .malformedResponse)
    }

    @Test(
        "TLS is verified: authority and name",
        .enabled(if: ServerProcess.find("openssl") != nil, "needs the openssl command"))
    func tls() async throws {
        let server = try await TLSServer.start()
        let url = "https://127.0.0.1:\(server.process.port)/"
        let stranger = await failure {
            _ = try await CurlTransport().perform(HTTPRequest(.get, url), maximumBytes: 1 << 20)
        }
        #expect(stranger?.code == .tls)
        #expect(stranger?.isAmbiguous == false)
        let byFile = try CurlTransport(CurlTransportConfiguration(authorities: .file(server.certificate)))
        #expect(try await byFile.perform(HTTPRequest(.get, url), maximumBytes: 1 << 20).response.status == 200)
        let text = Array(try String(contentsOfFile: server.certificate, encoding: .utf8).utf8)
        let byText = try CurlTransport(CurlTransportConfiguration(authorities: .pem(text)))
        #expect(try await byText.perform(HTTPRequest(.get, url), maximumBytes: 1 << 20).response.status == 200)
        let beside = try CurlTransport(CurlTransportConfiguration(authorities: .systemAnd(pem: text)))
        #expect(try await beside.perform(HTTPRequest(.get, url), maximumBytes: 1 << 20).response.status == 200)
        let other = try await TLSServer.start()
        let stillStranger = await failure {
            let url = "https://127.0.0.1:\(other.process.port)/"
            _ = try await beside.perform(HTTPRequest(.get, url), maximumBytes: 1 << 20)
        }
        #expect(stillStranger?.code == .tls)
        let anyone = try CurlTransport(CurlTransportConfiguration(authorities: .anyone))
        for host in ["127.0.0.1", "localhost"] {
            let url = "https://\(host):\(server.process.port)/"
            #expect(try await anyone.perform(HTTPRequest(.get, url), maximumBytes: 1 << 20).response.status == 200)
        }
        let otherName = await failure {
            let url = "https://localhost:\(server.process.port)/"
            _ = try await byFile.perform(HTTPRequest(.get, url), maximumBytes: 1 << 20)
        }
        #expect(otherName?.code == .tls)
        let missing = try CurlTransport(CurlTransportConfiguration(authorities: .file("/nowhere.pem")))
        let unreadable = await failure { _ = try await missing.perform(HTTPRequest(.get, url), maximumBytes: 1 << 20) }
        #expect(unreadable?.code == .tls)
    }

    @Test(
        "Malformed requests are refused before anything is sent",
        arguments: ["ftp://h/", "http://h/a b", "file:///etc/passwd", "", "http://h/\r\nX: y"])
    func malformedAddress(url: String) async throws {
        let transport = try CurlTransport()
        let error = await failure { _ = try await transport.perform(HTTPRequest(.get, url), maximumBytes: 1) }
        #expect(error?.code == .invalidRequest)
        let server = try ScriptedServer { _ in [.answer(200)] }
        for (name, value) in [("X", "a\r\nY: b"), ("X:", "a"), ("", "a"), ("X Y", "b")] {
            var request = HTTPRequest(.get, server.url)
            request.headers.add(name, value)
            let refused = await failure { _ = try await transport.perform(request, maximumBytes: 1) }
            #expect(refused?.code == .invalidRequest)
        }
        #expect(server.requests.isEmpty)
    }

    @Test("Messages hold neither the query nor user and password")
    func labels() {
        #expect(HTTPRequest(.get, "https://u:p@host:1/path?X-Amz-Signature=abc#f").label == "GET https://host:1/path")
        #expect(HTTPRequest(.put, "http://host/a@b").label == "PUT http://host/a@b")
    }

    @Test("Sixty requests share four connections")
    func boundedConnections() async throws {
        let server = try ScriptedServer { request in [.answer(200, [], request.target)] }
        let transport = try CurlTransport(CurlTransportConfiguration(maximumConnections: 4))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<60 {
                group.addTask {
                    let (_, body) = try await transport.perform(
                        HTTPRequest(.get, "\(server.url)/\(index)"), maximumBytes: 100)
                    #expect(body == Array("/\(index)".utf8))
                }
            }
            try await group.waitForAll()
        }
        #expect(server.requests.count == 60)
        #expect(Set(server.requests.map(\.connection)).count <= 4)
    }

    @Test("A cancelled request ends at once, waiting ones too, and the others go on")
    func cancellation() async throws {
        let server = try ScriptedServer { request in request.target == "/stall" ? [.stall] : [.answer(200)] }
        let transport = try CurlTransport(CurlTransportConfiguration(maximumConnections: 1))
        let running = Task {
            try await transport.perform(HTTPRequest(.put, server.url + "/stall", body: HTTPBody([1])), maximumBytes: 1)
        }
        try await server.waitForRequests(1)
        let waiting = Task { try await transport.perform(HTTPRequest(.get, server.url + "/waiting"), maximumBytes: 1) }
        let late = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await transport.perform(HTTPRequest(.get, server.url + "/late"), maximumBytes: 1)
        }
        let lateFailure = await failure { _ = try await late.value }
        #expect(lateFailure?.code == .cancelled)
        let last = Task { try await transport.perform(HTTPRequest(.get, server.url + "/last"), maximumBytes: 1) }
        waiting.cancel()
        let waited = await failure { _ = try await waiting.value }
        #expect(waited?.code == .cancelled)
        #expect(waited?.isAmbiguous == false)
        running.cancel()
        let ran = await failure { _ = try await running.value }
        #expect(ran?.code == .cancelled)
        #expect(ran?.isAmbiguous == true)
        #expect(try await last.value.response.status == 200)
        #expect(server.requests.map(\.target) == ["/stall", "/last"])
    }

    @Test("A request of a cancelled task never starts", arguments: [true, false])
    func cancelledBefore(byItself: Bool) async throws {
        let server = try ScriptedServer { _ in [.stall] }
        let transport = try CurlTransport(CurlTransportConfiguration(stallSeconds: 2))
        for _ in 0..<50 {
            let task = Task {
                if byItself { withUnsafeCurrentTask { $0?.cancel() } }
                return try await transport.perform(HTTPRequest(.get, server.url), maximumBytes: 1)
            }
            task.cancel()
            let error = await failure { _ = try await task.value }
            #expect(error?.code == .cancelled)
        }
        #expect(!byItself || server.requests.isEmpty)
    }

    @Test("Shutting down ends what runs and refuses what comes")
    func shutdown() async throws {
        let server = try ScriptedServer { _ in [.stall] }
        let transport = try CurlTransport()
        let running = Task { try await transport.perform(HTTPRequest(.get, server.url), maximumBytes: 1) }
        try await server.waitForRequests(1)
        await transport.shutdown()
        let first = await failure { _ = try await running.value }
        #expect(first?.code == .cancelled)
        let second = await failure { _ = try await transport.perform(HTTPRequest(.get, server.url), maximumBytes: 1) }
        #expect(second?.code == .cancelled)
        await transport.shutdown()
    }
}
