internal import HTTPTransport
internal import ObjectStorage

/// Turns the transport's errors into the store's, in this one place.
enum TransportErrorMapping {
    /// The error for a request that got no answer; `action` begins the message.
    static func error(
        _ error: HTTPTransportError, _ action: String, endpoint: S3Endpoint?, fileID: String = #fileID,
        line: UInt32 = #line
    ) -> ObjectStorageError {
        let at = endpoint.map { " \($0)" } ?? ""
        let code: ObjectStorageError.Code
        let remedy: String
        switch error.code {
        case .unresolved: (code, remedy) = (.unreachable, "; check the endpoint\(at), the region and the name server")
        case .unreachable: (code, remedy) = (.unreachable, "; check the endpoint\(at) and the network")
        case .tls:
            (code, remedy) = (.unreachable, "; check the endpoint\(at), or name its authority's file by AWS_CA_BUNDLE")
        case .timedOut: (code, remedy) = (.timedOut, "; check the network to the endpoint\(at)")
        case .interrupted, .malformedResponse: (code, remedy) = (.unavailable, "")
        case .tooLarge: (code, remedy) = (.tooLarge, "")
        case .cancelled: (code, remedy) = (.cancelled, "")
        case .invalidRequest: (code, remedy) = (.invalidArgument, "")
        default: (code, remedy) = (.failed, "")
        }
        return ObjectStorageError(
            code, "\(action): \(error.message)\(remedy)", cause: error, isAmbiguous: error.isAmbiguous, fileID: fileID,
            line: line)
    }
}
