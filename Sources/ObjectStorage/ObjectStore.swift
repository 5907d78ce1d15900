package import Basics

/// A place that keeps named, immutable blocks of bytes: an S3 bucket with a prefix, a directory, memory.
///
/// What a conforming store guarantees, and the conformance suite checks:
/// - **Durability**: when `put` returns, the object survives a crash of the machine that holds it.
/// - **Atomicity**: a reader sees a whole object or none, whatever happens to the writer.
/// - **Read after write**: `get`, `head` and `list` see a `put` or `delete` that has returned.
/// - **Create-if-absent** (where `capabilities.createIfAbsent`): of any number of `put`s with `.ifAbsent` for one key,
///   exactly one succeeds and the others fail with `.preconditionFailed`.
/// - **Tags**: an object's tag changes whenever its bytes are put anew under the same key.
/// - **Dates** are the store's own clock, not the caller's.
/// - **Cancellation**: after the calling task is cancelled no new request starts; the call throws `.cancelled`.
///
/// Stores do not retry; `RetryingObjectStore` does. Keys are relative, `/`-separated, at most 512 bytes of
/// `[A-Za-z0-9._/-]`, without empty, `.` or `..` components. All members may be called from any task at once.
package protocol ObjectStore: Sendable {
    /// The store as a user would name it, for messages: `s3://bucket/prefix`, `/srv/backups`. Never a secret.
    var location: String { get }

    /// Stores `body` under `key`.
    ///
    /// Idempotent without a condition. Throws `.preconditionFailed` when `options.condition` does not hold,
    /// `.noSpace`, or any temporary code; an error with `isAmbiguous` may have stored the object.
    func put(_ key: String, _ body: ObjectBody, options: PutOptions) async throws(ObjectStorageError) -> PutReceipt

    /// Reads the object's bytes, or the part `range` of them, into `buffer`, whose `count` is set to what was read.
    ///
    /// The buffer grows when it must, up to `maximumBytes`; beyond that the call throws `.tooLarge`. The buffer belongs
    /// to the call until it returns. A range that reaches past the end yields what there is; one that is empty, or begins
    /// at or past the end, throws `.invalidArgument`. Throws `.notFound` when there is no such object.
    func get(
        _ key: String, range: Range<UInt64>?, into buffer: Buffer, maximumBytes: Int
    ) async throws(ObjectStorageError) -> ObjectAttributes

    /// The object's attributes without its bytes. Throws `.notFound`.
    func head(_ key: String) async throws(ObjectStorageError) -> ObjectAttributes

    /// One page of at most 1000 objects whose keys begin with `prefix`, in ascending byte order of the keys where
    /// `capabilities.listIsOrdered`. `token` continues where an earlier page ended.
    func list(prefix: String, token: String?) async throws(ObjectStorageError) -> ObjectPage

    /// Removes the object; with `ifTag`, only if its tag is still that one, else `.preconditionFailed`.
    ///
    /// Removing what is not there succeeds without a tag and throws `.notFound` or `.preconditionFailed` with one.
    /// Throws `.locked` where retention forbids. A store without `capabilities.conditionalDelete` compares the tag by
    /// a `head` first and says so in its capabilities.
    func delete(_ key: String, ifTag: String?) async throws(ObjectStorageError)

    /// Prolongs the object's retention; never shortens it. Throws `.unsupported` where the store keeps none.
    func extendRetention(_ key: String, _ retention: Retention) async throws(ObjectStorageError)

    /// The store's present time, by its own clock.
    func serverTime() async throws(ObjectStorageError) -> Timestamp

    /// What the store can be trusted with; probed by `CapabilityProbe`, not assumed.
    var capabilities: StoreCapabilities { get }
}

extension ObjectStore {
    /// Stores a small object.
    @discardableResult
    package func put(
        _ key: String, bytes: [UInt8], options: PutOptions = PutOptions()
    ) async throws(ObjectStorageError) -> PutReceipt {
        try await put(key, ObjectBody([Buffer(bytes)]), options: options)
    }

    /// Reads a whole small object of at most `maximumBytes`.
    package func get(_ key: String, maximumBytes: Int) async throws(ObjectStorageError) -> [UInt8] {
        let buffer = Buffer(capacity: min(maximumBytes, 64 << 10))
        _ = try await get(key, range: nil, into: buffer, maximumBytes: maximumBytes)
        return buffer.array()
    }

    /// Every object whose key begins with `prefix`, page after page, ordered by key whatever the store's order.
    package func listAll(prefix: String) async throws(ObjectStorageError) -> [ObjectAttributes] {
        var objects: [ObjectAttributes] = []
        var token: String?
        repeat {
            let page = try await list(prefix: prefix, token: token)
            objects += page.objects
            token = page.next
        } while token != nil
        return objects.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
    }
}
