/// Why an object cannot be read as the encrypted one that it is, or is not.
package struct SealedObjectError: Error, Sendable, CustomStringConvertible {
    /// What kind of failure it is.
    package struct Code: Hashable, Sendable {
        private enum Kind { case unknownKey, corrupted, unsupportedVersion, notEncrypted, weakKey }
        private let kind: Kind
        /// It is encrypted with a key that is not there.
        package static let unknownKey = Code(kind: .unknownKey)
        /// It was changed, cut short, or lies under another name than it was stored under.
        package static let corrupted = Code(kind: .corrupted)
        /// It is of a version that this program does not know.
        package static let unsupportedVersion = Code(kind: .unsupportedVersion)
        /// It is not encrypted where only encrypted objects are taken.
        package static let notEncrypted = Code(kind: .notEncrypted)
        /// What is given as a key is none.
        package static let weakKey = Code(kind: .weakKey)
    }

    package var code: Code
    /// One line, without the object's name.
    package var message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { message }
}

extension VeleroError {
    /// The error for the object `name`.
    package init(
        _ error: SealedObjectError, object name: String, fileID: String = #fileID, line: UInt32 = #line
    ) {
        let code: Code = error.code == .unknownKey || error.code == .notEncrypted ? .accessDenied : .failed
        self.init(code, "\(name) cannot be read: \(error.message)", cause: error, fileID: fileID, line: line)
    }
}
