package import Basics

/// What went wrong with a file tree, told so that it stands alone: operation, path, reason, remedy.
package struct SnapshotError: Error, Sendable, CustomStringConvertible {
    /// The kind of failure; callers switch on it.
    package struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Kind: String {
            case sourceMissing, sourceUnreadable, changedWhileRead, notADirectory, refusedPath, noSpace
            case permissionDenied, targetMissing, targetNotEmpty, targetUnwritable, alreadyExists, tooManyOpenFiles
            case damaged, checkpointTorn, cancelled, failed, invalidArgument
        }
        private let kind: Kind
        /// What was to be read is not there, or not any more.
        package static let sourceMissing = Code(kind: .sourceMissing)
        /// The file system could not deliver what it holds.
        package static let sourceUnreadable = Code(kind: .sourceUnreadable)
        /// A file became another, or of another type, between two looks.
        package static let changedWhileRead = Code(kind: .changedWhileRead)
        /// A directory was expected.
        package static let notADirectory = Code(kind: .notADirectory)
        /// A name or path that must not be used: it could lead out of the directory, or no file system takes it.
        package static let refusedPath = Code(kind: .refusedPath)
        /// The disk or the quota is full.
        package static let noSpace = Code(kind: .noSpace)
        /// The system does not let this user do it.
        package static let permissionDenied = Code(kind: .permissionDenied)
        /// Something to be written to is not there, or not any more.
        package static let targetMissing = Code(kind: .targetMissing)
        /// A directory that must be empty is not.
        package static let targetNotEmpty = Code(kind: .targetNotEmpty)
        /// The file system could not take what was written.
        package static let targetUnwritable = Code(kind: .targetUnwritable)
        /// Something of that name is there already.
        package static let alreadyExists = Code(kind: .alreadyExists)
        /// The process or the system has no descriptors left.
        package static let tooManyOpenFiles = Code(kind: .tooManyOpenFiles)
        /// What a snapshot holds makes no sense.
        package static let damaged = Code(kind: .damaged)
        /// A checkpoint that was asked for is torn or empty, or none is complete.
        package static let checkpointTorn = Code(kind: .checkpointTorn)
        /// The caller gave up.
        package static let cancelled = Code(kind: .cancelled)
        /// Anything else.
        package static let failed = Code(kind: .failed)
        /// The request itself makes no sense.
        package static let invalidArgument = Code(kind: .invalidArgument)

        package var description: String { kind.rawValue }
    }

    package var code: Code
    /// One line: what was tried on which path, why it failed, what to do. Paths are shown by `PathText`.
    package var message: String
    package var cause: (any Error)?
    package var location: SourceLocation
    /// The path concerned, raw; empty when there is none.
    package var path: [UInt8]

    package init(
        _ code: Code, _ message: String, path: [UInt8] = [], cause: (any Error)? = nil, fileID: String = #fileID,
        line: UInt32 = #line
    ) {
        self.code = code
        self.message = message
        self.path = path
        self.cause = cause
        location = SourceLocation(fileID: fileID, line: line)
    }

    package var description: String { message }
}
