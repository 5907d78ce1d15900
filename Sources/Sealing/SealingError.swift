package import Basics

/// A cryptographic operation that did not succeed.
package struct SealingError: Error, Sendable, CustomStringConvertible {
    /// The kind of failure.
    package struct Code: Hashable, Sendable {
        private enum Kind { case authenticationFailed, invalidKey, invalidParameters, libraryFailure }
        private let kind: Kind
        /// The tag does not match: other key, other context, or changed bytes.
        package static let authenticationFailed = Code(kind: .authenticationFailed)
        /// A key or its encoding is not what the operation needs.
        package static let invalidKey = Code(kind: .invalidKey)
        /// A parameter is outside what is allowed.
        package static let invalidParameters = Code(kind: .invalidParameters)
        /// The library refused; the message holds its words.
        package static let libraryFailure = Code(kind: .libraryFailure)
    }

    package var code: Code
    /// One line; never holds a secret.
    package var message: String
    package var location: SourceLocation

    package init(_ code: Code, _ message: String, fileID: String = #fileID, line: UInt32 = #line) {
        self.code = code
        self.message = message
        location = SourceLocation(fileID: fileID, line: line)
    }

    package var description: String { message }
}
