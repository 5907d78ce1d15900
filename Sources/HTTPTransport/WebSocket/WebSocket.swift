internal import Synchronization

/// A WebSocket connection as a client (RFC 6455, without extensions).
///
/// One task at a time receives; any number send. Cancelling one of them, or dropping the connection, closes it.
package final class WebSocket: Sendable {
    /// What comes of asking for one.
    package enum Opening: Sendable {
        case open(WebSocket)
        /// The server answered with something else than an upgrade; the beginning of its body is in `failureBody`.
        case refused(HTTPResponse)
    }

    /// What the peer sends.
    package enum Message: Hashable, Sendable {
        case text([UInt8])
        case binary([UInt8])
        /// Its last word, with a status of RFC 6455, section 7.4; 1005 when it gave none, 1006 when the connection ended
        /// without one.
        case close(code: Int, reason: String)
    }

    /// The one of the offered protocols that the server chose; empty when none was offered.
    package let chosenProtocol: String
    private let connection: CurlConnection
    private let label: String
    private let decoder: Mutex<WebSocketDecoder>

    /// Bytes of a message of the peer.
    private static let maximumMessageBytes = 16 << 20

    private init(_ connection: CurlConnection, _ chosen: String, label: String, early: ArraySlice<UInt8>) {
        self.connection = connection
        chosenProtocol = chosen
        self.label = label
        var decoder = WebSocketDecoder(maximumMessageBytes: Self.maximumMessageBytes)
        decoder.append(early)
        self.decoder = Mutex(decoder)
    }

    /// Connects and upgrades; `request` gives the address (`http` or `https`) and headers. Throws as a transport does.
    /// A server that is silent is waited for until the task is cancelled.
    package static func open(
        _ request: HTTPRequest, protocols: [String], configuration: CurlTransportConfiguration
    ) async throws(HTTPTransportError) -> Opening {
        var random = SystemRandomNumberGenerator()
        let nonce = (0..<16).map { _ in UInt8.random(in: 0...255, using: &random) }
        guard let handshake = WebSocketHandshake(request, protocols: protocols, nonce: nonce) else {
            throw HTTPTransportError(.invalidRequest, "cannot \(request.label): no http or https address")
        }
        let connection = try await CurlConnection.open(request, configuration)
        try await connection.send(handshake.text)
        var bytes: [UInt8] = []
        while true {
            if let (response, end) = WebSocketHandshake.parse(bytes) {
                guard response.status == 101 else {
                    return .refused(try await refusal(response, bytes[end...], connection))
                }
                if let fault = handshake.fault(response, protocols: protocols) {
                    throw HTTPTransportError(.malformedResponse, "\(request.label): \(fault)")
                }
                let chosen = response.headers["Sec-WebSocket-Protocol"] ?? ""
                return .open(WebSocket(connection, chosen, label: request.label, early: bytes[end...]))
            }
            guard bytes.count <= WebSocketHandshake.maximumHeadBytes else {
                throw HTTPTransportError(.malformedResponse, "\(request.label): more than 64 KiB of headers")
            }
            guard let more = try await connection.receive() else {
                throw HTTPTransportError(.interrupted, "\(request.label): the connection closed within the upgrade")
            }
            bytes += more
        }
    }

    /// Reads the body of an answer that is no upgrade, as far as it is announced and worth it.
    private static func refusal(
        _ response: HTTPResponse, _ early: ArraySlice<UInt8>, _ connection: CurlConnection
    ) async throws(HTTPTransportError) -> HTTPResponse {
        var response = response
        var body = Array(early)
        let announced = min(Int(response.headers["Content-Length"] ?? "") ?? 0, 64 << 10)
        while body.count < announced, let more = try await connection.receive() { body += more }
        response.failureBody = Array(body.prefix(64 << 10))
        return response
    }

    /// Sends a binary message; returns once it is queued.
    package func send(_ payload: [UInt8]) async throws(HTTPTransportError) { try await send(.binary, payload) }

    /// Sends a ping, so that what lies between does not take the connection for dead. The answer is not waited for.
    package func ping() async throws(HTTPTransportError) { try await send(.ping, []) }

    private func send(_ opcode: WebSocketOpcode, _ payload: [UInt8]) async throws(HTTPTransportError) {
        try await connection.send(WebSocketEncoder.frame(opcode, payload, mask: .random(in: 0...UInt32.max)))
    }

    /// Asks the peer to close, with status 1000; it answers by its own close.
    package func close() async throws(HTTPTransportError) {
        try await send(.close, WebSocketEncoder.closePayload(code: 1000))
    }

    /// Closes the connection without a word.
    package func disconnect() { connection.close() }

    /// The next message. Pings are answered on the way. After `.close` there is nothing more to ask for.
    package func receive() async throws(HTTPTransportError) -> Message {
        while true {
            let event: WebSocketDecoder.Event?
            do throws(WebSocketDecoder.Violation) {
                event = try decoder.withLock { decoder throws(WebSocketDecoder.Violation) in try decoder.next() }
            } catch {
                connection.close()
                throw HTTPTransportError(.malformedResponse, "\(label): the server sends \(error)", isAmbiguous: true)
            }
            switch event {
            case .message(let isText, let bytes): return isText ? .text(bytes) : .binary(bytes)
            case .ping(let payload): try await send(.pong, payload)
            case .pong: break
            case .close(let code, let reason):
                // The answer that section 5.5.1 demands; if it gets lost, the peer closes all the same.
                try? await send(.close, code.map { WebSocketEncoder.closePayload(code: $0) } ?? [])
                connection.close()
                return .close(code: code ?? 1005, reason: reason)
            case nil:
                guard let bytes = try await connection.receive() else { return .close(code: 1006, reason: "") }
                decoder.withLock { $0.append(bytes) }
            }
        }
    }
}
