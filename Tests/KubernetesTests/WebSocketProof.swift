@testable import HTTPTransport

/// A server's side of the handshake.
enum WebSocketProof {
    /// `Sec-WebSocket-Accept` for a client's key.
    static func accept(_ key: String) -> String {
        WebSocketHandshake(HTTPRequest(.get, "http://x/"), protocols: [], key: key)?.expectedProof ?? ""
    }
}
