package import Basics

/// A decorator: a store in front of another that passes on whatever it does not define itself.
package protocol ForwardingObjectStore: ObjectStore {
    /// The store that does the work.
    var base: any ObjectStore { get }
}

extension ForwardingObjectStore {
    /// The base's location.
    package var location: String { base.location }

    /// The base's capabilities.
    package var capabilities: StoreCapabilities { base.capabilities }

    /// Passed on; throws what the base throws.
    package func put(
        _ key: String, _ body: ObjectBody, options: PutOptions
    ) async throws(ObjectStorageError) -> PutReceipt {
        try await base.put(key, body, options: options)
    }

    /// Passed on; throws what the base throws.
    package func get(
        _ key: String, range: Range<UInt64>?, into buffer: Buffer, maximumBytes: Int
    ) async throws(ObjectStorageError) -> ObjectAttributes {
        try await base.get(key, range: range, into: buffer, maximumBytes: maximumBytes)
    }

    /// Passed on; throws what the base throws.
    package func head(_ key: String) async throws(ObjectStorageError) -> ObjectAttributes {
        try await base.head(key)
    }

    /// Passed on; throws what the base throws.
    package func list(prefix: String, token: String?) async throws(ObjectStorageError) -> ObjectPage {
        try await base.list(prefix: prefix, token: token)
    }

    /// Passed on; throws what the base throws.
    package func delete(_ key: String, ifTag: String?) async throws(ObjectStorageError) {
        try await base.delete(key, ifTag: ifTag)
    }

    /// Passed on; throws what the base throws.
    package func extendRetention(_ key: String, _ retention: Retention) async throws(ObjectStorageError) {
        try await base.extendRetention(key, retention)
    }

    /// Passed on; throws what the base throws.
    package func serverTime() async throws(ObjectStorageError) -> Timestamp {
        try await base.serverTime()
    }
}
