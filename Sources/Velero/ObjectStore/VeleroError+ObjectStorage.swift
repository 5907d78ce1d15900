package import ObjectStorage

extension VeleroError {
    /// A store's error in Velero's terms; the message, which names bucket and key, stays.
    package init(_ error: ObjectStorageError) {
        self.init(Self.code(error.code), error.message, cause: error)
        location = error.location
    }

    private static func code(_ code: ObjectStorageError.Code) -> Code {
        switch code {
        case .notFound, .noSuchBucket: .notFound
        case .accessDenied, .expiredCredentials, .locked: .accessDenied
        case .invalidArgument: .invalidArgument
        case .cancelled: .cancelled
        default: code.isTemporary ? .unavailable : .failed
        }
    }
}
