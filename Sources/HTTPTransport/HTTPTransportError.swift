package import Basics

/// Why a request has no answer.
package struct HTTPTransportError: Error, Sendable, CustomStringConvertible {
    /// The kind of failure.
    package struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Kind: String {
            case unresolved, unreachable, timedOut, tls, interrupted, tooLarge, cancelled, invalidRequest
            case malformedResponse, failed
        }
        private let kind: Kind
        /// The host's name (or the proxy's) has no address.
        package static let unresolved = Code(kind: .unresolved)
        /// No connection: refused, no route, or no answer within the connect timeout.
        package static let unreachable = Code(kind: .unreachable)
        /// Connected, then no byte for too long, or longer in all than allowed.
        package static let timedOut = Code(kind: .timedOut)
        /// No secure connection: certificate, name or protocol.
        package static let tls = Code(kind: .tls)
        /// The connection broke before the answer was complete.
        package static let interrupted = Code(kind: .interrupted)
        /// The answer is larger than the caller would take.
        package static let tooLarge = Code(kind: .tooLarge)
        /// The caller gave up, or the transport was shut down.
        package static let cancelled = Code(kind: .cancelled)
        /// Address or headers are malformed; nothing was sent.
        package static let invalidRequest = Code(kind: .invalidRequest)
        /// What came back is no HTTP.
        package static let malformedResponse = Code(kind: .malformedResponse)
        /// Anything else.
        package static let failed = Code(kind: .failed)

        package var description: String { kind.rawValue }
    }

    package var code: Code
    /// One line: method, address without its query, and what happened.
    package var message: String
    /// Whether the server may have got the request, wholly or in part, and acted on it.
    package var isAmbiguous: Bool
    package var location: SourceLocation

    package init(
        _ code: Code, _ message: String, isAmbiguous: Bool = false, fileID: String = #fileID, line: UInt32 = #line
    ) {
        self.code = code
        self.message = message
        self.isAmbiguous = isAmbiguous
        location = SourceLocation(fileID: fileID, line: line)
    }

    package var description: String { message }
}
