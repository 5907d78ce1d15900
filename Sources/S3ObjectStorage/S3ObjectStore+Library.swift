internal import HTTPTransport

extension S3ObjectStore {
    /// What carries the requests, with its version; for `doctor`.
    package static var transportVersion: String { CurlLibrary.version }
}
