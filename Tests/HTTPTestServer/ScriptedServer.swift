import Basics
import SystemPackage

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// An HTTP/1.1 server in the test's own process that answers as the test says, broken answers included.
///
/// It listens on a free port of the loopback interface; each connection has a thread. Nothing waits by the clock: a
/// stalled answer stalls until the client goes or the server is dropped.
package final class ScriptedServer: Sendable {
    /// A request as it came.
    package struct Request: Sendable {
        package let method: String
        /// Path and query.
        package let target: String
        /// Names in lower case.
        package let headers: [String: String]
        package let body: [UInt8]
        /// Counts requests from 0, over all connections.
        package let number: Int
        /// Counts connections from 0.
        package let connection: Int
    }

    /// A part of an answer.
    package enum Step: Sendable {
        /// These bytes.
        case send([UInt8])
        /// A whole answer with `Content-Length`.
        case answer(Int, [(String, String)] = [], String = "")
        /// Nothing more until the client goes away.
        case stall
        /// Closes the connection at once.
        case close
        /// Hands the connection over, with what has been read of it already, and closes it after.
        case take(@Sendable (Connection) -> Void)
    }

    /// A connection that is no HTTP any more. Its calls block the connection's thread.
    package struct Connection: Sendable {
        fileprivate let descriptor: Int32
        /// What came behind the request.
        package let early: [UInt8]

        /// Sends bytes.
        package func send(_ bytes: [UInt8]) { ScriptedServer.write(bytes, descriptor) }

        /// What comes next; empty at the end.
        package func receive() -> [UInt8] {
            var block = [UInt8](repeating: 0, count: 64 << 10)
            let count = recv(descriptor, &block, block.count, 0)
            return count > 0 ? Array(block[..<count]) : []
        }
    }

    /// Answers a request.
    package typealias Handler = @Sendable (Request) -> [Step]

    private struct State {
        var requests: [Request] = []
        var connections: [Int32] = []
        var isStopping = false
    }

    /// The port it listens on.
    package let port: Int
    private let listener: Int32
    private let state = Monitor(State())
    private let handler: Handler
    /// Asked with the body unread; an answer that is not nil goes out instead of reading it.
    private let early: @Sendable (Request) -> [Step]?

    /// A running server.
    package init(
        early: @escaping @Sendable (Request) -> [Step]? = { _ in nil }, handler: @escaping Handler
    ) throws {
        self.handler = handler
        self.early = early
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(listener, pointer, size) == 0 && listen(listener, 64) == 0
                    && getsockname(listener, pointer, &size) == 0
            }
        }
        guard bound else { throw Errno(rawValue: errno) }
        port = Int(UInt16(bigEndian: address.sin_port))
        let state = state
        WorkerThreads(count: 1, name: "test-server") { [handler, early] _ in
            Self.acceptAll(listener, state, handler, early)
        }.detach()
    }

    deinit { stop() }

    /// `http://127.0.0.1:PORT`
    package var url: String { "http://127.0.0.1:\(port)" }

    /// What has come so far.
    package var requests: [Request] { state.withLock { $0.requests } }

    /// Returns when `count` requests have come, their bodies included.
    package func waitForRequests(_ count: Int) async throws {
        try await state.outcome(of: "request \(count)") { $0.requests.count >= count ? () : nil }
    }

    /// Closes everything.
    package func stop() {
        state.signal { state in
            guard !state.isStopping else { return }
            state.isStopping = true
            shutdown(listener, Int32(SHUT_RDWR))
            for connection in state.connections { shutdown(connection, Int32(SHUT_RDWR)) }
        }
    }

    // MARK: Threads

    private static func acceptAll(
        _ listener: Int32, _ state: Monitor<State>, _ handler: @escaping Handler,
        _ early: @escaping @Sendable (Request) -> [Step]?
    ) {
        var number = 0
        while true {
            let connection = accept(listener, nil, nil)
            guard connection >= 0 else {
                if state.withLock({ $0.isStopping }) { break }
                // A client that gave up, or no descriptors for now: the next one may have more luck.
                poll(nil, 0, 10)
                continue
            }
            let index = number
            number += 1
            let isOpen = state.withLock { state in
                if !state.isStopping { state.connections.append(connection) }
                return !state.isStopping
            }
            guard isOpen else {
                close(connection)
                break
            }
            WorkerThreads(count: 1, name: "test-connection") { _ in
                var reader = Reader(connection: connection)
                serve(&reader, index, state, handler, early)
                state.withLock { $0.connections.removeAll { $0 == connection } }
                close(connection)
            }.detach()
        }
        close(listener)
    }

    private static func serve(
        _ reader: inout Reader, _ index: Int, _ state: Monitor<State>, _ handler: Handler,
        _ early: (Request) -> [Step]?
    ) {
        while let head = reader.head() {
            let lines = head.split(separator: "\r\n", omittingEmptySubsequences: false)
            let words = lines[0].split(separator: " ")
            guard words.count == 3 else { return }
            var headers: [String: String] = [:]
            for line in lines.dropFirst() {
                guard let colon = line.firstIndex(of: ":") else { continue }
                headers[line[..<colon].lowercased()] = line[line.index(after: colon)...].trimmingSpaces()
            }
            func request(_ body: [UInt8], _ number: Int) -> Request {
                Request(
                    method: String(words[0]), target: String(words[1]), headers: headers, body: body, number: number,
                    connection: index)
            }
            let known = state.withLock { $0.requests.count }
            if let steps = early(request([], known)) {
                state.signal { $0.requests.append(request([], $0.requests.count)) }
                guard perform(steps, reader) else { return }
                continue
            }
            if headers["expect"] == "100-continue" {
                write(Array("HTTP/1.1 100 Continue\r\n\r\n".utf8), reader.connection)
            }
            guard let body = reader.bytes(Int(headers["content-length"] ?? "0") ?? 0) else { return }
            let whole = state.signal { state in
                state.requests.append(request(body, state.requests.count))
                return state.requests[state.requests.count - 1]
            }
            guard perform(handler(whole), reader) else { return }
        }
    }

    /// False when the connection is to be closed.
    private static func perform(_ steps: [Step], _ reader: Reader) -> Bool {
        let connection = reader.connection
        for step in steps {
            switch step {
            case .send(let bytes): write(bytes, connection)
            case .answer(let status, let headers, let text):
                var head = "HTTP/1.1 \(status) X\r\n"
                for (name, value) in headers { head += "\(name): \(value)\r\n" }
                if !headers.contains(where: { $0.0 == "Content-Length" }) {
                    head += "Content-Length: \(text.utf8.count)\r\n"
                }
                write(Array("\(head)\r\n\(text)".utf8), connection)
            case .stall:
                var byte: UInt8 = 0
                while recv(connection, &byte, 1, 0) > 0 {}
                return false
            case .close: return false
            case .take(let body):
                body(Connection(descriptor: connection, early: reader.buffered))
                return false
            }
        }
        return true
    }

    fileprivate static func write(_ bytes: [UInt8], _ connection: Int32) {
        bytes.withUnsafeBytes { bytes in
            var offset = 0
            while offset < bytes.count {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
                let count = send(connection, rest.baseAddress, rest.count, Int32(MSG_NOSIGNAL))
                if count <= 0 { return }  // The client has gone, as clients do here.
                offset += count
            }
        }
    }

    private struct Reader {
        let connection: Int32
        private(set) var buffered: [UInt8] = []

        init(connection: Int32) { self.connection = connection }

        /// The next request's head without its blank line; nil at the end.
        mutating func head() -> String? {
            while true {
                if let end = buffered.firstIndex(ofSequence: [13, 10, 13, 10]) {
                    let head = String(decoding: buffered[..<end], as: UTF8.self)
                    buffered.removeFirst(end + 4)
                    return head
                }
                guard fill() else { return nil }
            }
        }

        mutating func bytes(_ count: Int) -> [UInt8]? {
            while buffered.count < count { guard fill() else { return nil } }
            defer { buffered.removeFirst(count) }
            return Array(buffered[..<count])
        }

        private mutating func fill() -> Bool {
            var block = [UInt8](repeating: 0, count: 64 << 10)
            let count = recv(connection, &block, block.count, 0)
            guard count > 0 else { return false }
            buffered += block.prefix(count)
            return true
        }
    }
}

extension Substring {
    fileprivate func trimmingSpaces() -> String {
        let start = drop { $0 == " " }
        guard let last = start.lastIndex(where: { $0 != " " }) else { return "" }
        return String(start[...last])
    }
}

extension [UInt8] {
    fileprivate func firstIndex(ofSequence needle: [UInt8]) -> Int? {
        guard count >= needle.count else { return nil }
        return (0...(count - needle.count)).first { start in
            (0..<needle.count).allSatisfy { self[start + $0] == needle[$0] }
        }
    }
}
