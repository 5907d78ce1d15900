package import Basics

/// Why the API, or the way to it, did not do what was asked.
package struct KubernetesError: Error, Sendable, CustomStringConvertible {
    /// The kind of failure.
    package struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Kind: String {
            case configuration, unauthorized, forbidden, notFound, alreadyExists, conflict, expired, invalid
            case tooManyRequests, unavailable, unreachable, untrusted, timedOut, cancelled, unsupported, malformed,
                failed
        }
        private let kind: Kind
        /// No usable configuration: no file, no such context, a field that makes no sense.
        package static let configuration = Code(kind: .configuration)
        /// The server does not know who asks (401).
        package static let unauthorized = Code(kind: .unauthorized)
        /// Who asks may not (403).
        package static let forbidden = Code(kind: .forbidden)
        /// No such object, as the API itself says (404 with a `Status`).
        package static let notFound = Code(kind: .notFound)
        /// An object of that name is there (409 AlreadyExists).
        package static let alreadyExists = Code(kind: .alreadyExists)
        /// The object has changed since it was read, or a precondition does not hold (409).
        package static let conflict = Code(kind: .conflict)
        /// What was to be continued is too old: list again (410).
        package static let expired = Code(kind: .expired)
        /// The server does not take what was sent (400, 422, 413, 415).
        package static let invalid = Code(kind: .invalid)
        /// The server, or a disruption budget, wants to be asked later (429).
        package static let tooManyRequests = Code(kind: .tooManyRequests)
        /// The server is there but cannot (5xx).
        package static let unavailable = Code(kind: .unavailable)
        /// No connection, or it broke.
        package static let unreachable = Code(kind: .unreachable)
        /// No secure connection: certificate, name or protocol.
        package static let untrusted = Code(kind: .untrusted)
        /// Not within the time that was given.
        package static let timedOut = Code(kind: .timedOut)
        /// The caller gave up.
        package static let cancelled = Code(kind: .cancelled)
        /// The server does not serve it: no such kind, no such verb.
        package static let unsupported = Code(kind: .unsupported)
        /// What came back is not what the API answers.
        package static let malformed = Code(kind: .malformed)
        /// Anything else.
        package static let failed = Code(kind: .failed)

        package var description: String { kind.rawValue }
    }

    package var code: Code
    /// One line: what was done to what, what happened, and what the user can do.
    package var message: String
    /// The HTTP status, if there was an answer.
    package var status: Int?
    /// The API's own word: `NotFound`, `AlreadyExists`, …
    package var reason: String
    /// Seconds after which the server wants to be asked again.
    package var retryAfterSeconds: Double?
    /// Whether the server may have done what was asked all the same.
    package var isAmbiguous: Bool
    /// Whether the server answered as it does for a path that it does not serve: a group, a version or a kind.
    var isUnservedPath = false
    /// When the server said so, by its clock.
    package var serverTime: Timestamp?
    package var cause: (any Error)?
    package var location: SourceLocation

    package init(
        _ code: Code, _ message: String, status: Int? = nil, reason: String = "", retryAfterSeconds: Double? = nil,
        isAmbiguous: Bool = false, cause: (any Error)? = nil, fileID: String = #fileID, line: UInt32 = #line
    ) {
        self.code = code
        self.message = message
        self.status = status
        self.reason = reason
        self.retryAfterSeconds = retryAfterSeconds
        self.isAmbiguous = isAmbiguous
        self.cause = cause
        location = SourceLocation(fileID: fileID, line: line)
    }

    package var description: String { message }
}
