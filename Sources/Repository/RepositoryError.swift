package import Basics
internal import ObjectStorage
internal import RepositoryFormat
internal import Sealing

/// What went wrong with a repository; each code has one exit code at the command line.
package struct RepositoryError: Error, Sendable, CustomStringConvertible {
    /// The kind of failure.
    package struct Code: Hashable, Sendable {
        private enum Kind {
            case noRepository, alreadyExists, busy, wrongKey, notPermitted, damaged, newerVersion
            case storage, collectedMeanwhile, notFound, noSuchName, ambiguous, invalidArgument, cancelled, failed
        }
        private let kind: Kind
        /// There is no repository at this place.
        package static let noRepository = Code(kind: .noRepository)
        /// There is one already.
        package static let alreadyExists = Code(kind: .alreadyExists)
        /// Somebody else is at work on what only one may do.
        package static let busy = Code(kind: .busy)
        /// No key slot opens.
        package static let wrongKey = Code(kind: .wrongKey)
        /// The key's role does not allow it.
        package static let notPermitted = Code(kind: .notPermitted)
        /// Stored bytes are not what they should be.
        package static let damaged = Code(kind: .damaged)
        /// Written by a later version.
        package static let newerVersion = Code(kind: .newerVersion)
        /// The store failed; `cause` is an `ObjectStorageError`.
        package static let storage = Code(kind: .storage)
        /// Data that a new snapshot relied on was collected while it was made: begin again.
        package static let collectedMeanwhile = Code(kind: .collectedMeanwhile)
        /// A chunk that should be there is in no pack.
        package static let notFound = Code(kind: .notFound)
        /// There is no snapshot, path or key of a name that the user gave.
        package static let noSuchName = Code(kind: .noSuchName)
        /// A name fits several snapshots.
        package static let ambiguous = Code(kind: .ambiguous)
        /// A parameter makes no sense.
        package static let invalidArgument = Code(kind: .invalidArgument)
        /// The caller gave up.
        package static let cancelled = Code(kind: .cancelled)
        /// Anything else.
        package static let failed = Code(kind: .failed)
    }

    package var code: Code
    /// One line: what happened, to what, what to do.
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

    /// The repository's view of an error from a layer below; the message stays, and is led by `doing` unless it begins
    /// with the same words.
    package init(_ error: any Error, doing: String = "", fileID: String = #fileID, line: UInt32 = #line) {
        let led = { (message: String) in
            doing.isEmpty || message.hasPrefix(doing) ? message : "\(doing): \(message)"
        }
        switch error {
        case let error as RepositoryError:
            self = error
            return
        case let error as ObjectStorageError:
            self.init(
                error.code == .cancelled ? .cancelled : .storage, led(error.message), cause: error, fileID: fileID,
                line: line)
        case let error as FormatError:
            let code: Code =
                switch error.code {
                case .newerVersion: .newerVersion
                case .wrongKey: .wrongKey
                case .notPermitted: .notPermitted
                default: .damaged
                }
            self.init(code, led(error.message), cause: error, fileID: fileID, line: line)
        case let error as SealingError:
            self.init(
                error.code == .authenticationFailed ? .damaged : .failed, led(error.message), cause: error,
                fileID: fileID, line: line)
        case is CancellationError: self.init(.cancelled, led("cancelled"), cause: error, fileID: fileID, line: line)
        default: self.init(.failed, led("\(error)"), cause: error, fileID: fileID, line: line)
        }
    }

    package var description: String { message }

    /// Whether the store says that there is no such object.
    package var isMissingObject: Bool { (cause as? ObjectStorageError)?.code == .notFound }
}
