internal import Orchestration

extension VeleroError {
    /// What Velero is told of an error from the journeys and the layers below them: `context` says what was being done, as
    /// in "cannot take a snapshot of /data/a". A `VeleroError` stays what it is.
    package init(
        _ error: any Error, doing context: String, fileID: String = #fileID, line: UInt32 = #line
    ) {
        if let error = error as? VeleroError {
            self = error
            return
        }
        let error = JourneyError(error, fileID: fileID, line: line)
        let code: Code =
            switch error.status {
            case .noRepository: .notFound
            case .wrongKey, .credentialsRefused: .accessDenied
            case .storageUnreachable, .busy: .unavailable
            case .usage: .invalidArgument
            case .interrupted, .terminated: .cancelled
            default: error.kind == "not_permitted" || error.kind == "permission_denied" ? .accessDenied : .failed
            }
        self.init(code, "\(context): \(error.message)", cause: error)
        location = error.location
    }
}
