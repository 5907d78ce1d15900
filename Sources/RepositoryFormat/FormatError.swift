package import Basics

/// Stored bytes that are not what they should be, or that this version cannot read.
package struct FormatError: Error, Sendable, CustomStringConvertible {
    /// The kind of failure.
    package struct Code: Hashable, Sendable {
        private enum Kind { case damaged, newerVersion, wrongKey, notPermitted }
        private let kind: Kind
        /// The bytes were changed, cut short, or belong to something else.
        package static let damaged = Code(kind: .damaged)
        /// Written by a later version of the format.
        package static let newerVersion = Code(kind: .newerVersion)
        /// No key slot opens with what was given.
        package static let wrongKey = Code(kind: .wrongKey)
        /// The key in use may not do this (a writer cannot decrypt).
        package static let notPermitted = Code(kind: .notPermitted)
    }

    package var code: Code
    /// One line: what is wrong with which structure.
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

    /// Runs `body` and tells what of `structure` was malformed when it was.
    static func reading<R>(
        _ structure: String, _ body: () throws -> R, fileID: String = #fileID, line: UInt32 = #line
    ) throws(FormatError) -> R {
        do {
            return try body()
        } catch let error as FormatError {
            throw error
        } catch {
            throw FormatError(.damaged, "\(structure) is damaged: \(error)", cause: error, fileID: fileID, line: line)
        }
    }
}
