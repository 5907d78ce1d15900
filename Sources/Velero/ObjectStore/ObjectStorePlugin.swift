/// Where Velero keeps its backups: the calls of its ObjectStore, after `Init`. All members may be called at once.
///
/// Errors say bucket and key. What is not there is `notFound`, and `false` for `exists`.
package protocol ObjectStorePlugin: Sendable {
    /// Begins an object, which appears when its upload is finished, and not before.
    func beginUpload(bucket: String, key: String) async throws(VeleroError) -> any ObjectUpload

    /// Opens an object for reading from its beginning.
    func beginDownload(bucket: String, key: String) async throws(VeleroError) -> any ObjectDownload

    func exists(bucket: String, key: String) async throws(VeleroError) -> Bool

    /// What stands between `prefix` and the next `delimiter` of each key, with both: all of it, sorted.
    func commonPrefixes(bucket: String, delimiter: String, prefix: String) async throws(VeleroError) -> [String]

    /// Every key that begins with `prefix`, the last one first, as the AWS plugin gives them.
    func keys(bucket: String, prefix: String) async throws(VeleroError) -> [String]

    /// Succeeds for what is not there.
    func delete(bucket: String, key: String) async throws(VeleroError)

    /// A URL that anybody may fetch the object from with GET, for `seconds`.
    func signedURL(bucket: String, key: String, seconds: Int) async throws(VeleroError) -> String
}

/// An object that is being stored. Used by one task; ends with `finish` or `abandon`, once.
package protocol ObjectUpload: Sendable {
    /// Appends; returns when there is room for more, so that memory is bounded.
    func write(_ bytes: [UInt8]) async throws(VeleroError)

    /// Stores it under its key: all that was written, or nothing.
    func finish() async throws(VeleroError)

    /// Leaves nothing behind, as far as the store can be reached.
    func abandon() async
}

/// An object that is being read. Used by one task.
package protocol ObjectDownload: Sendable {
    /// The next piece, never empty; nil at the end.
    func next() async throws(VeleroError) -> [UInt8]?

    /// Lets go of it; allowed at any time.
    func close() async
}
