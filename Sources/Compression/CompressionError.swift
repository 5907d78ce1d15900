package import Basics

/// A compression or decompression that did not succeed.
package struct CompressionError: Error, Sendable, CustomStringConvertible {
    /// The kind of failure.
    package struct Code: Hashable, Sendable {
        private enum Kind { case corrupted, tooLarge, baseMissing, invalidParameters, libraryFailure }
        private let kind: Kind
        /// The bytes are not one whole frame, or not what the frame says of itself.
        package static let corrupted = Code(kind: .corrupted)
        /// The frame holds more than there is room for.
        package static let tooLarge = Code(kind: .tooLarge)
        /// What is stored is the difference to a base that was not given, or is of another length.
        package static let baseMissing = Code(kind: .baseMissing)
        /// A parameter is outside what is allowed.
        package static let invalidParameters = Code(kind: .invalidParameters)
        /// The library refused, most likely for want of memory; the message holds its words.
        package static let libraryFailure = Code(kind: .libraryFailure)
    }

    package var code: Code
    /// One line.
    package var message: String
    package var location: SourceLocation

    package init(_ code: Code, _ message: String, fileID: String = #fileID, line: UInt32 = #line) {
        self.code = code
        self.message = message
        location = SourceLocation(fileID: fileID, line: line)
    }

    package var description: String { message }
}
