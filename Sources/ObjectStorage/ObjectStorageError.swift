package import Basics

/// What went wrong with a store, told so that it stands alone: operation, object, reason, remedy.
package struct ObjectStorageError: Error, Sendable, CustomStringConvertible {
    /// The kind of failure; callers switch on it, and only `isTemporary` decides whether a retry makes sense.
    package struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Kind: String {
            case notFound, preconditionFailed, conflict, accessDenied, expiredCredentials
            case throttled, unavailable, timedOut, unreachable, noSuchBucket, noSpace, corrupted, unsupported
            case invalidArgument, locked, tooLarge, cancelled, failed
        }
        private let kind: Kind
        /// No object of that name.
        package static let notFound = Code(kind: .notFound)
        /// A condition on the request did not hold: the object exists already, or its tag is another (HTTP 412).
        package static let preconditionFailed = Code(kind: .preconditionFailed)
        /// Another conditional request on the same object was under way (HTTP 409); temporary.
        package static let conflict = Code(kind: .conflict)
        /// The store knows who asks and refuses.
        package static let accessDenied = Code(kind: .accessDenied)
        /// The credentials are out of date or cannot be had.
        package static let expiredCredentials = Code(kind: .expiredCredentials)
        /// The store asks to go slower (503 SlowDown, 429); temporary.
        package static let throttled = Code(kind: .throttled)
        /// The store failed on its side (5xx); temporary.
        package static let unavailable = Code(kind: .unavailable)
        /// No progress for too long; temporary. The request may have taken effect.
        package static let timedOut = Code(kind: .timedOut)
        /// The store cannot be connected to (DNS, refused, TLS); temporary.
        package static let unreachable = Code(kind: .unreachable)
        /// The bucket or root directory does not exist.
        package static let noSuchBucket = Code(kind: .noSuchBucket)
        /// The disk or the quota is full.
        package static let noSpace = Code(kind: .noSpace)
        /// What came back is not what was asked for: wrong length or checksum; temporary, for the wire may be to blame.
        package static let corrupted = Code(kind: .corrupted)
        /// The store cannot do this at all.
        package static let unsupported = Code(kind: .unsupported)
        /// The request itself makes no sense.
        package static let invalidArgument = Code(kind: .invalidArgument)
        /// The object is under retention.
        package static let locked = Code(kind: .locked)
        /// The object is larger than the caller would take.
        package static let tooLarge = Code(kind: .tooLarge)
        /// The caller gave up.
        package static let cancelled = Code(kind: .cancelled)
        /// Anything else; permanent.
        package static let failed = Code(kind: .failed)

        package var description: String { kind.rawValue }

        /// Whether the same request may succeed later without anybody's doing.
        package var isTemporary: Bool {
            switch kind {
            case .conflict, .throttled, .unavailable, .timedOut, .unreachable, .corrupted: true
            default: false
            }
        }
    }

    package var code: Code
    /// One line: what was tried on which object, why it failed, what to do.
    package var message: String
    package var cause: (any Error)?
    package var location: SourceLocation
    /// Whether the request may have taken effect in spite of the error (a PUT whose answer was lost).
    package var isAmbiguous: Bool
    /// Seconds the store asked to wait before a retry (`Retry-After`).
    package var retryAfterSeconds: Double?

    package init(
        _ code: Code, _ message: String, cause: (any Error)? = nil, isAmbiguous: Bool = false,
        retryAfterSeconds: Double? = nil, fileID: String = #fileID, line: UInt32 = #line
    ) {
        self.code = code
        self.message = message
        self.cause = cause
        self.isAmbiguous = isAmbiguous
        self.retryAfterSeconds = retryAfterSeconds
        location = SourceLocation(fileID: fileID, line: line)
    }

    package var description: String { message }
}
