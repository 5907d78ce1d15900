package import Basics

/// What a plugin tells Velero when a call fails.
///
/// Velero shows its users the message and nothing else, so it stands alone: what happened, to what, and what to do,
/// on one line. Where it was made goes along as the status's stack, which Velero logs.
package struct VeleroError: Error, Sendable, CustomStringConvertible {
    /// What kind of failure it is; new ones may come.
    package struct Code: Hashable, Sendable {
        private enum Kind { case invalidArgument, notFound, accessDenied, unavailable, cancelled, failed }
        private let kind: Kind

        /// What the caller or the configuration says makes no sense.
        package static let invalidArgument = Code(kind: .invalidArgument)
        /// What the call names is not there.
        package static let notFound = Code(kind: .notFound)
        /// Credentials, a key or a permission do not suffice.
        package static let accessDenied = Code(kind: .accessDenied)
        /// A service did not answer, or not in time; trying again may help.
        package static let unavailable = Code(kind: .unavailable)
        /// The caller went away.
        package static let cancelled = Code(kind: .cancelled)
        /// Anything else.
        package static let failed = Code(kind: .failed)
    }

    package var code: Code
    /// One line.
    package var message: String
    package var cause: (any Error)?
    package var location: SourceLocation

    package init(
        _ code: Code, _ message: String, cause: (any Error)? = nil, fileID: String = #fileID, line: UInt32 = #line
    ) {
        self.code = code
        self.message = message
        self.cause = cause
        location = SourceLocation(fileID: fileID, line: line)
    }

    package var description: String { message }
}
